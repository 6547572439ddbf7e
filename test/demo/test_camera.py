"""The demo's camera as its own process, seen by a subscriber over DDS."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy', reason='the camera is a ROS node')

from robust_vos_ros.demo.clip import generated_clip

pytestmark = pytest.mark.ros

NUM_FRAMES, RATE_HZ, TIMEOUT_S = 12, 30.0, 30.0


class Viewer:
    """A subscriber of the camera's images and reports, and a client of its services."""

    def __init__(self, domain, *, compressed):
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from sensor_msgs.msg import CompressedImage, Image
        from std_msgs.msg import Header, UInt32

        from robust_vos_ros.demo.camera import REPORT_QOS

        self.context = rclpy.Context()
        self.context.init(domain_id=domain)
        self.node = Node('viewer', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.images, self.sent, self.finished = [], [], []
        kind = CompressedImage if compressed else Image
        topic = '/camera/image_raw' + ('/compressed' if compressed else '')
        self.node.create_subscription(kind, topic, self.images.append, NUM_FRAMES)
        self.node.create_subscription(Header, '/camera/sent', self.sent.append, REPORT_QOS)
        self.node.create_subscription(UInt32, '/camera/finished', self.finished.append, REPORT_QOS)

    def wait(self, condition, what):
        end = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < end, f'waited in vain for {what}'
            self.executor.spin_once(timeout_sec=0.02)

    def call(self, name):
        from std_srvs.srv import Trigger

        client = self.node.create_client(Trigger, f'/camera/{name}')
        self.wait(client.service_is_ready, name)
        future, asked = client.call_async(Trigger.Request()), time.monotonic()

        def answered():
            nonlocal future, asked
            if not future.done() and time.monotonic() > asked + 5.0:
                # A server that does not know its new client yet loses the answer.
                future, asked = client.call_async(Trigger.Request()), time.monotonic()
            return future.done()

        self.wait(answered, f'an answer of {name}')
        return future.result()

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()


@contextlib.contextmanager
def running(domain, *arguments):
    """Yield a viewer of a running camera, which must end by SIGINT with code 0."""
    command = [sys.executable, '-m', 'robust_vos_ros.demo.camera', '--rate', str(RATE_HZ)]
    command += ['--max-frames', str(NUM_FRAMES), *arguments]
    camera = subprocess.Popen(command)
    viewer = None
    try:
        viewer = Viewer(domain, compressed='--compressed' in arguments)
        yield viewer
        camera.send_signal(signal.SIGINT)
        assert camera.wait(TIMEOUT_S) == 0
    finally:
        camera.kill()
        camera.wait()
        if viewer is not None:
            viewer.close()


def stamp_ns(header):
    return header.stamp.sec * 10**9 + header.stamp.nanosec


def decode(message):
    if hasattr(message, 'format'):
        assert message.format == 'rgb8; jpeg compressed bgr8'
        bgr = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    assert message.encoding == 'rgb8'
    assert message.step == 3 * message.width
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)


@pytest.mark.parametrize(
    ('arguments', 'tolerance'),
    [
        ((), 0),  # raw images are exact
        (('--compressed',), 12),  # JPEG is nearly so
    ],
)
def test_the_clip_arrives_as_it_is(domain, arguments, tolerance):
    with running(domain, *arguments) as viewer:
        # The frame that prompts are made on comes first, alone, and as often as asked for.
        viewer.wait(lambda: viewer.call('show_first').success, 'the camera to see the viewer')
        viewer.wait(lambda: viewer.images, 'the first image')
        known = len(viewer.images)
        assert viewer.call('show_first').success
        viewer.wait(lambda: len(viewer.images) > known, 'the first image again')
        assert len({stamp_ns(image.header) for image in viewer.images}) == 1
        first = viewer.images[0]
        viewer.images.clear()

        assert viewer.call('play').success
        viewer.wait(lambda: viewer.finished and len(viewer.sent) == NUM_FRAMES, 'the end')
        viewer.wait(lambda: len(viewer.images) == NUM_FRAMES - 1, 'all images')

        images = [first, *viewer.images]
        assert viewer.finished[0].data == NUM_FRAMES
        assert [image.header for image in images] == viewer.sent
        assert {image.header.frame_id for image in images} == {'camera_optical_frame'}
        stamps = [stamp_ns(image.header) for image in images]
        assert abs(stamps[0] - time.time_ns()) < 60e9
        steps_s = np.diff(stamps[1:]) / 1e9
        assert np.median(steps_s) > 0.8 / RATE_HZ  # a busy machine may be slower
        for image, frame in zip(images, generated_clip(NUM_FRAMES).frames(), strict=True):
            error = np.abs(decode(image).astype(int) - frame.rgb)
            assert np.percentile(error, 99) <= tolerance


def test_play_needs_the_first_frame(domain):
    with running(domain) as viewer:
        response = viewer.call('play')
        assert not response.success
        assert 'show_first' in response.message


def test_a_loop_has_no_end(domain):
    with running(domain, '--autoplay', '--loop') as viewer:
        viewer.wait(lambda: len(viewer.sent) > 2 * NUM_FRAMES, 'the third time')
        assert not viewer.finished
        stamps = [stamp_ns(header) for header in viewer.sent]
        assert stamps == sorted(set(stamps))


def test_autoplay_waits_for_a_subscriber_only(domain):
    with running(domain, '--autoplay') as viewer:
        viewer.wait(lambda: viewer.finished, 'the end of the clip')
        viewer.wait(lambda: len(viewer.sent) == NUM_FRAMES, 'the reports')
        assert [image.header for image in viewer.images][-1] == viewer.sent[-1]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--video', 'nothing.mp4'), 'no video at nothing.mp4'),
        (('--rate', 'fast'), 'invalid float value'),
    ],
)
def test_wrong_arguments_end_with_a_sentence(arguments, message):
    command = [sys.executable, '-m', 'robust_vos_ros.demo.camera', *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 2
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
