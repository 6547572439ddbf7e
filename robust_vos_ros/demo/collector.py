"""What the node and the camera of the demo publish, kept by the stamp of the image."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from robust_vos.msg import TrackedObjectArray, TrackEvent
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header, UInt32

from robust_vos_ros.bags.reader import RawMessage
from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.demo.camera import JPEG_QUALITY, REPORT_QOS
from robust_vos_ros.demo.records import FrameRecord, ObjectRecord, Recording
from robust_vos_ros.node.position_publishers import topic_token
from robust_vos_ros.ros_types.images import stamp_to_ns
from robust_vos_ros.visualization import encode_jpeg

# A node that could not start says why in its diagnostics.
_STATE_KEY, _UNCONFIGURED = 'lifecycle state', 'unconfigured'
_QUEUE = 200  # results must not get lost while this process is busy
# If the last image was lost, the clip counts as processed after this time without a message.
_QUIET_S = 3.0

Position = tuple[float, float, float]


class Collector:
    """Subscribes to the topics of node and camera, and keeps the messages.

    Args:
        node: Gets the subscriptions.
        name: Of the robust_vos node.
        camera: Name of the camera's node.

    Attributes:
        problem: What the node reports that could not start, else empty.
    """

    def __init__(self, node: Node, *, name: str, camera: str) -> None:
        self.problem = ''
        self._node, self._name = node, name
        self._sent_ns: list[int] = []
        self._num_sent: int | None = None
        self._arrays: dict[int, TrackedObjectArray] = {}
        self._label_pngs: dict[int, bytes] = {}
        self._overlays: dict[int, bytes] = {}
        self._messages: list[RawMessage] = []
        self._positions: dict[str, dict[int, Position]] = {}
        self._newest_s = time.monotonic()
        self._record(TrackedObjectArray, f'/{name}/objects', self._on_objects)
        self._record(CompressedImage, f'/{name}/label_mask/compressed', self._on_label_png)
        self._record(TrackEvent, f'/{name}/events', None)
        create = node.create_subscription
        create(Image, f'/{name}/overlay', self._on_overlay, 10)
        create(Header, f'/{camera}/sent', self._on_sent, REPORT_QOS)
        create(UInt32, f'/{camera}/finished', self._on_finished, REPORT_QOS)
        create(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)

    @property
    def first_result_ns(self) -> int | None:
        """Stamp of the first processed image, None before it."""
        return min(self._arrays, default=None)

    @property
    def is_complete(self) -> bool:
        """Whether all images of the clip were processed or dropped."""
        if self._num_sent is None or len(self._sent_ns) < self._num_sent:
            return False
        # The newest image wins, so all others are processed or dropped when the last one is.
        quiet_s = time.monotonic() - self._newest_s
        return self._sent_ns[-1] in self._arrays or quiet_s > _QUIET_S

    @property
    def has_all_overlays(self) -> bool:
        """Whether there is an overlay of every processed image."""
        return len(self._overlays) >= len(self._arrays)

    def follow_positions(self, object_ids: Iterable[str]) -> None:
        """Also keep the positions of these objects."""
        for object_id in object_ids:
            found = self._positions.setdefault(object_id, {})
            self._node.create_subscription(
                PoseWithCovarianceStamped,
                f'/{self._name}/poses/{topic_token(object_id)}',
                functools.partial(_keep_position, found),
                _QUEUE,
            )

    def make_recording(self) -> Recording:
        """Return everything that was kept; at least one image must be processed."""
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
            latency_ms=stamp_to_ns(message.latency) / 1e6,
            engine_ms=stamp_to_ns(message.engine_time) / 1e6,
            objects=objects,
            label_png=self._label_pngs.get(stamp_ns),
            overlay_jpeg=self._overlays.get(stamp_ns),
        )

    def _record(self, kind: Any, topic: str, handle: Callable[[int, Any], None] | None) -> None:
        """Keep the serialized messages of a topic, and pass each on with its stamp."""
        msgtype = f'{kind.__module__.split(".")[0]}/msg/{kind.__name__}'

        def receive(cdr: bytes) -> None:
            message = deserialize_message(cdr, kind)
            stamp_ns = stamp_to_ns(message.header.stamp)
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
        self._overlays[stamp_to_ns(message.header.stamp)] = encode_jpeg(rgb, JPEG_QUALITY)

    def _on_sent(self, header: Header) -> None:
        self._newest_s = time.monotonic()
        self._sent_ns.append(stamp_to_ns(header.stamp))

    def _on_finished(self, message: UInt32) -> None:
        self._num_sent = message.data

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {item.key: item.value for item in status.values}
            if status.level == DiagnosticStatus.ERROR and values.get(_STATE_KEY) == _UNCONFIGURED:
                self.problem = status.message


def _keep_position(found: dict[int, Position], message: PoseWithCovarianceStamped) -> None:
    point = message.pose.pose.position
    found[stamp_to_ns(message.header.stamp)] = (point.x, point.y, point.z)
