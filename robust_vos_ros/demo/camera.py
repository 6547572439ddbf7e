"""A camera that plays a clip: `python -m robust_vos_ros.demo.camera [--video FILE] [--autoplay]`.

Without `--autoplay` it waits for two services, so that a client can prompt in the first frame:
`~/show_first` publishes the first frame, `~/play` the others. It publishes the header of every
image on `~/sent`, and at the end of the clip the number of images on `~/finished`.
"""

from __future__ import annotations

import argparse
import array
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, UInt32
from std_srvs.srv import Trigger

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.demo.clip import Clip, ClipFrame, generated_clip, video_clip
from robust_vos_ros.demo.depth_feed import DepthFeed
from robust_vos_ros.visualization import encode_jpeg

FRAME_ID = 'camera_optical_frame'
JPEG_QUALITY = 95
# Deeper than a clip has frames, so that a late subscriber gets all reports.
REPORT_QOS = QoSProfile(depth=10_000, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# Reliable, which is compatible with reliable and best-effort subscribers.
_IMAGE_QOS = QoSProfile(depth=5)
_SPIN_TIMEOUT_S = 0.2


def to_image(rgb: np.ndarray, header: Header) -> Image:
    """Return the message of an (H, W, 3) uint8 RGB image."""
    height, width, _ = rgb.shape
    message = Image(header=header, height=height, width=width, encoding='rgb8', step=3 * width)
    message.data = _to_array(np.ascontiguousarray(rgb))
    return message


def to_compressed_image(rgb: np.ndarray, header: Header) -> CompressedImage:
    """Return the JPEG message of an (H, W, 3) uint8 RGB image."""
    message = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
    message.data = _to_array(encode_jpeg(rgb, JPEG_QUALITY))
    return message


def _to_array(data: np.ndarray | bytes) -> array.array[int]:
    # Any other type is copied or checked byte by byte when assigned to a message.
    out = array.array('B')
    out.frombytes(memoryview(data).cast('B'))
    return out


class Camera(Node):
    """Publish a clip once, at a fixed rate, with the time of publishing as stamp.

    Args:
        clip: The clip to play.
        loop: Start the clip again at its end.
        topic: Topic of the images; `/compressed` is appended for JPEG.
        rate_hz: Images per second.
        compressed: Publish JPEG instead of raw images.
        autoplay: Play when the first subscriber appears, without waiting for the services.
        depth: Also publish depth and camera_info; the clip must have depth.
        context: ROS context; None = the default one.
    """

    def __init__(
        self,
        clip: Clip,
        *,
        topic: str,
        rate_hz: float,
        compressed: bool = False,
        autoplay: bool = False,
        loop: bool = False,
        depth: bool = False,
        context: rclpy.Context | None = None,
    ) -> None:
        super().__init__('camera', context=context, start_parameter_services=False)
        self._clip, self._loop = clip, loop
        self._frames: Iterator[ClipFrame] = clip.frames()
        self._first = next(self._frames)
        self._depth_feed = DepthFeed(self) if depth else None
        self._first_header: Header | None = None
        self._next: tuple[ClipFrame, Image | CompressedImage] | None = None
        self._convert = to_compressed_image if compressed else to_image
        kind = CompressedImage if compressed else Image
        name = f'{topic}/compressed' if compressed else topic
        self._images = self.create_publisher(kind, name, _IMAGE_QOS)
        self._sent = self.create_publisher(Header, '~/sent', REPORT_QOS)
        self._finished = self.create_publisher(UInt32, '~/finished', REPORT_QOS)
        self._num_sent = 0
        self._timer = self.create_timer(1.0 / rate_hz, self._tick)
        if not autoplay:
            self._timer.cancel()
        self.create_service(Trigger, '~/show_first', self._on_show_first)
        self.create_service(Trigger, '~/play', self._on_play)

    def _on_show_first(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._images.get_subscription_count() > 0
        response.message = 'published' if response.success else 'there is no subscriber yet'
        if response.success:
            self._show_first()
        return response

    def _on_play(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = self._first_header is not None
        response.message = 'playing' if response.success else 'call show_first before play'
        if response.success:
            self._timer.reset()
        return response

    def _show_first(self) -> None:
        """Publish the first frame; a second time with the same stamp, and it is counted once."""
        if self._first_header is None:
            self._first_header = self._stamped()
            self._report(self._first_header)
        self._publish_depth(self._first, self._first_header)
        self._images.publish(self._convert(self._first.rgb, self._first_header))

    def _tick(self) -> None:
        if self._first_header is None:
            if self._images.get_subscription_count():
                self._show_first()
            return
        # The image was prepared after the last tick, to publish it right after its stamp.
        made = self._next or self._make_next()
        if made is None:
            self._timer.cancel()
            self._finished.publish(UInt32(data=self._num_sent))
            self.get_logger().info(f'played {self._num_sent} images')
            return
        frame, message = made
        message.header = self._stamped()
        self._publish_depth(frame, message.header)
        self._images.publish(message)
        self._report(message.header)
        self._next = self._make_next()

    def _make_next(self) -> tuple[ClipFrame, Image | CompressedImage] | None:
        frame = next(self._frames, None)
        if frame is None and self._loop:
            self._frames = self._clip.frames()
            frame = next(self._frames)
        return None if frame is None else (frame, self._convert(frame.rgb, Header()))

    def _publish_depth(self, frame: ClipFrame, header: Header) -> None:
        if self._depth_feed is not None and frame.depth is not None:
            self._depth_feed.publish(frame.depth, header)

    def _stamped(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=FRAME_ID)

    def _report(self, header: Header) -> None:
        self._num_sent += 1
        self._sent.publish(header)


def main(args: list[str] | None = None) -> int:
    """Run a camera until it is stopped; return the exit code."""
    parser = argparse.ArgumentParser(prog='camera', description=__doc__.splitlines()[0])
    # A string, because a launch file passes an empty string for no video.
    parser.add_argument('--video', default='', help='video file; empty = a generated clip')
    parser.add_argument('--rate', type=float, default=15.0, help='images per second')
    parser.add_argument('--max-frames', type=int, default=300, help='images at most')
    parser.add_argument('--topic', default='/camera/image_raw', help='topic of the images')
    parser.add_argument(
        '--compressed', action='store_true', help='publish JPEG on TOPIC/compressed'
    )
    parser.add_argument(
        '--autoplay', action='store_true', help='play when the first subscriber appears'
    )
    parser.add_argument('--loop', action='store_true', help='start the clip again at its end')
    parser.add_argument(
        '--depth', action='store_true', help='publish depth and camera_info of the generated clip'
    )
    given = sys.argv[1:] if args is None else args
    options = parser.parse_args(remove_ros_args(['camera', *given])[1:])
    try:
        if options.video:
            limits = {'rate_hz': options.rate, 'max_frames': options.max_frames}
            clip = video_clip(Path(options.video), **limits)
        else:
            clip = generated_clip(options.max_frames, depth=options.depth)
    except ConfigError as error:
        parser.error(str(error))
    rclpy.init(args=['camera', *given], signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    camera = Camera(
        clip,
        topic=options.topic,
        rate_hz=options.rate,
        compressed=options.compressed,
        autoplay=options.autoplay,
        loop=options.loop,
        depth=options.depth,
    )
    try:
        while rclpy.ok():
            # With a timeout, because Python handles signals only between two waits.
            rclpy.spin_once(camera, timeout_sec=_SPIN_TIMEOUT_S)
    except KeyboardInterrupt:
        pass
    finally:
        camera.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
