"""The demo's operator: prompts the node over its services and records what it publishes."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Point, PoseWithCovarianceStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from robust_vos.msg import ObjectPrompt, TrackedObjectArray, TrackEvent
from robust_vos.srv import AddObjects
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header, UInt32
from std_srvs.srv import Trigger

from robust_vos_ros.bags.reader import RawMessage
from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.types import ObjectState, Prompt
from robust_vos_ros.demo.camera import FRAME_ID, REPORT_QOS, encode_jpeg
from robust_vos_ros.demo.records import FrameRecord, ObjectRecord, Recording
from robust_vos_ros.node.position_publishers import topic_token

NODE, CAMERA = 'robust_vos', 'camera'
IMAGE_TOPIC = '/camera/image_raw'
OBJECTS, EVENTS = f'/{NODE}/objects', f'/{NODE}/events'
LABEL_PNG, OVERLAY = f'/{NODE}/label_mask/compressed', f'/{NODE}/overlay'
# A node that could not start says why in its diagnostics.
_STATE_KEY, _UNCONFIGURED = 'lifecycle state', 'unconfigured'
_NS_PER_S = 1_000_000_000
_QUEUE = 200  # results must not get lost while this process is busy for a while
_ANSWER_TIMEOUT_S = 30.0
_TRIGGER_TIMEOUT_S, _TRIGGER_ATTEMPTS = 5.0, 6
_FIRST_FRAME_RETRY_S = 5.0
# A last image lost on the way must not keep the demo waiting.
_QUIET_S = 3.0


class DemoError(RobustVosError):
    """The demo cannot go on."""


class Operator:
    """A client of the node and of the demo's camera, spun by its own methods.

    Args:
        context: An initialized ROS context.
        compressed: Whether the camera sends JPEG.
        check: Called all the time; raises when waiting has become pointless.
    """

    def __init__(
        self, context: rclpy.Context, *, compressed: bool, check: Callable[[], None]
    ) -> None:
        self._check = check
        self._image_topic = f'{IMAGE_TOPIC}/compressed' if compressed else IMAGE_TOPIC
        self._sent_ns: list[int] = []
        self._num_sent: int | None = None
        self._arrays: dict[int, TrackedObjectArray] = {}
        self._label_pngs: dict[int, bytes] = {}
        self._overlays: dict[int, bytes] = {}
        self._messages: list[RawMessage] = []
        self._positions: dict[str, dict[int, tuple[float, float, float]]] = {}
        self._problem = ''
        self._newest_s = time.monotonic()
        self._node = Node('demo_operator', context=context, start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._record(TrackedObjectArray, OBJECTS, self._on_objects)
        self._record(CompressedImage, LABEL_PNG, self._on_label_png)
        self._record(TrackEvent, EVENTS, None)
        create = self._node.create_subscription
        create(Image, OVERLAY, self._on_overlay, 10)
        create(Header, f'/{CAMERA}/sent', self._on_sent, REPORT_QOS)
        create(UInt32, f'/{CAMERA}/finished', self._on_finished, REPORT_QOS)
        create(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self._add = self._node.create_client(AddObjects, f'/{NODE}/add_objects')
        self._show = self._node.create_client(Trigger, f'/{CAMERA}/show_first')
        self._play = self._node.create_client(Trigger, f'/{CAMERA}/play')

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown(timeout_sec=0)
        self._node.destroy_node()

    def wait_for_node(self, timeout_s: float) -> None:
        """Wait until the node is active and the camera is there.

        Raises:
            DemoError: It reports a problem, or does not come.
        """

        def ready() -> bool:
            if self._problem:
                raise DemoError(f'the node has a problem: {self._problem}')
            listeners = self._node.get_subscriptions_info_by_topic(self._image_topic)
            clients = (self._add, self._show, self._play)
            # The node subscribes to images when it becomes active.
            return any(info.node_name == NODE for info in listeners) and all(
                client.service_is_ready() for client in clients
            )

        self._wait(ready, timeout_s, 'the node to become active')

    def show_first_frame(self, timeout_s: float) -> int:
        """Have the camera show its first frame and the node process it; return its stamp in ns.

        Raises:
            DemoError: The node does not see it.
        """
        end_s = time.monotonic() + timeout_s
        while not self._arrays:
            if time.monotonic() > end_s:
                raise DemoError(
                    f'the node published no objects within {timeout_s:.0f} s of frame 0'
                )
            if self._trigger(self._show).success:
                self._spin_until(lambda: bool(self._arrays), _FIRST_FRAME_RETRY_S)
        return min(self._arrays)

    def add_objects(
        self, prompts: tuple[Prompt, ...], stamp_ns: int, size_hw: tuple[int, int]
    ) -> None:
        """Point at objects in the frame with this stamp.

        Raises:
            DemoError: The node refuses.
        """
        request = AddObjects.Request(
            header=to_header(stamp_ns, FRAME_ID),
            prompts=[to_prompt_message(item, size_hw) for item in prompts],
        )
        response = self._call(self._add, request)
        if not response.success:
            raise DemoError(f'the node refused the prompts: {response.message}')

    def follow_positions(self, prompts: tuple[Prompt, ...]) -> None:
        """Keep the positions that the node publishes of these objects."""
        for prompt in prompts:
            found = self._positions.setdefault(prompt.object_id, {})
            self._node.create_subscription(
                PoseWithCovarianceStamped,
                f'/{NODE}/poses/{topic_token(prompt.object_id)}',
                functools.partial(_keep_position, found),
                _QUEUE,
            )

    def play(self, timeout_s: float) -> Recording:
        """Play the clip; return when all its frames are processed or dropped.

        Raises:
            DemoError: The camera does not play, or its clip does not end.
        """
        response = self._trigger(self._play)
        if not response.success:
            raise DemoError(f'the camera does not play: {response.message}')
        self._wait(self._is_complete, timeout_s, 'the end of the clip')
        # Pictures of the last frame are published after its objects.
        self._spin_until(lambda: len(self._overlays) >= len(self._arrays), 1.0)
        return self._make_recording()

    def _is_complete(self) -> bool:
        if self._num_sent is None or len(self._sent_ns) < self._num_sent:
            return False
        # The newest image wins, so all others are processed or dropped when the last one is.
        quiet_s = time.monotonic() - self._newest_s
        return self._sent_ns[-1] in self._arrays or quiet_s > _QUIET_S

    def _record(self, kind: Any, topic: str, handle: Callable[[int, Any], None] | None) -> None:
        """Keep the serialized messages of a topic, and hand the stamped message on."""
        msgtype = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'

        def receive(cdr: bytes) -> None:
            message = deserialize_message(cdr, kind)
            stamp_ns = to_ns(message.header)
            self._messages.append(RawMessage(topic, msgtype, cdr, stamp_ns))
            if handle is not None:
                handle(stamp_ns, message)

        self._node.create_subscription(kind, topic, receive, _QUEUE, raw=True)

    def _on_objects(self, stamp_ns: int, message: TrackedObjectArray) -> None:
        self._newest_s = time.monotonic()
        self._arrays[stamp_ns] = message

    def _on_label_png(self, stamp_ns: int, message: CompressedImage) -> None:
        self._label_pngs[stamp_ns] = message.data.tobytes()

    def _on_overlay(self, message: Image) -> None:
        pixels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
        rgb = pixels[:, : 3 * message.width].reshape(message.height, message.width, 3)
        self._overlays[to_ns(message.header)] = encode_jpeg(rgb)

    def _on_sent(self, header: Header) -> None:
        self._newest_s = time.monotonic()
        self._sent_ns.append(to_ns(header))

    def _on_finished(self, message: UInt32) -> None:
        self._num_sent = message.data

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            if status.level == DiagnosticStatus.ERROR and values.get(_STATE_KEY) == _UNCONFIGURED:
                self._problem = status.message

    def _call(self, client: Any, request: Any) -> Any:
        future = client.call_async(request)
        self._wait(future.done, _ANSWER_TIMEOUT_S, f'an answer of {client.srv_name}')
        return future.result()

    def _trigger(self, client: Any) -> Any:
        """Call a service that may be called twice, again while there is no answer.

        A server that does not know its new client yet loses the answer (rmw_fastrtps).
        """
        for _ in range(_TRIGGER_ATTEMPTS):
            future = client.call_async(Trigger.Request())
            if self._spin_until(future.done, _TRIGGER_TIMEOUT_S):
                return future.result()
        seconds = _TRIGGER_ATTEMPTS * _TRIGGER_TIMEOUT_S
        raise DemoError(
            f'waited {seconds:.0f} s for an answer of {client.srv_name}; the logs may say why'
        )

    def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        if not self._spin_until(condition, timeout_s):
            raise DemoError(f'waited {timeout_s:.0f} s for {what}; the logs may say why')

    def _spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        end_s = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if time.monotonic() > end_s:
                return False
            self._executor.spin_once(timeout_sec=0.05)
        return True

    def _make_recording(self) -> Recording:
        index = {stamp_ns: number for number, stamp_ns in enumerate(self._sent_ns)}
        stamps = sorted(set(self._arrays) & set(index))
        newest = self._arrays[stamps[-1]]
        return Recording(
            sent_ns=tuple(self._sent_ns),
            num_dropped=newest.frames_dropped,
            frames=tuple(self._make_frame(stamp_ns, index[stamp_ns]) for stamp_ns in stamps),
            messages=tuple(sorted(self._messages, key=lambda item: item.stamp_ns)),
            positions=self._positions,
        )

    def _make_frame(self, stamp_ns: int, index: int) -> FrameRecord:
        message = self._arrays[stamp_ns]
        objects = tuple(
            ObjectRecord(
                item.object_id, item.label, ObjectState(item.state), item.confidence, item.area_px
            )
            for item in message.objects
        )
        return FrameRecord(
            index=index,
            stamp_ns=stamp_ns,
            latency_ms=_to_ms(message.latency),
            engine_ms=_to_ms(message.engine_time),
            objects=objects,
            label_png=self._label_pngs.get(stamp_ns),
            overlay_jpeg=self._overlays.get(stamp_ns),
        )


def _keep_position(
    found: dict[int, tuple[float, float, float]], message: PoseWithCovarianceStamped
) -> None:
    point = message.pose.pose.position
    found[to_ns(message.header)] = (point.x, point.y, point.z)


def to_ns(header: Header) -> int:
    """Return the stamp of a header in nanoseconds."""
    return header.stamp.sec * _NS_PER_S + header.stamp.nanosec


def to_header(stamp_ns: int, frame_id: str) -> Header:
    """Make a header."""
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, _NS_PER_S)
    return header


def to_prompt_message(prompt: Prompt, size_hw: tuple[int, int]) -> ObjectPrompt:
    """Make a message of a point or box prompt; a box grows to whole pixels of the image."""
    message = ObjectPrompt(object_id=prompt.object_id, class_id=prompt.class_id)
    message.points = [Point(x=float(x), y=float(y)) for x, y in prompt.points]
    message.point_labels = [int(label) for label in prompt.point_labels]
    if prompt.box is not None:
        x0, y0, x1, y1 = (float(value) for value in prompt.box)
        left, top = max(math.floor(x0), 0), max(math.floor(y0), 0)
        right, bottom = min(math.ceil(x1), size_hw[1]), min(math.ceil(y1), size_hw[0])
        message.box = [
            RegionOfInterest(x_offset=left, y_offset=top, width=right - left, height=bottom - top)
        ]
    return message


def _to_ms(duration: Any) -> float:
    return duration.sec * 1e3 + duration.nanosec / 1e6
