"""The newest usable message of a camera_info topic."""

from __future__ import annotations

import dataclasses
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from robust_vos_ros.node.threads import make_lock
from robust_vos_ros.spatial.camera import CameraError, read_camera


@dataclasses.dataclass(frozen=True, slots=True)
class CameraInfoCounts:
    """Messages since the subscription began.

    Attributes:
        refused: Uncalibrated, cropped, or with an unsupported lens model.
        mismatched: Images whose resolution differs from that of the newest message.
        refusal: Why the newest message was refused; empty if it was not.
        mismatch: Why the newest image has no camera_info; empty if it has one.
    """

    received: int = 0
    refused: int = 0
    mismatched: int = 0
    refusal: str = ''
    mismatch: str = ''

    @property
    def problem(self) -> str:
        """The present problem, empty if there is none."""
        return self.refusal or self.mismatch


class CameraInfos:
    """Keeps the newest usable message; `find` is thread-safe.

    Attributes:
        topic: Subscribed topic, empty before the first subscription.
        newest: The newest usable message, of any image size.
        received: The newest message, usable or not.
    """

    def __init__(self) -> None:
        """Create it without a subscription."""
        self.topic = ''
        self.newest: CameraInfo | None = None
        self.received: CameraInfo | None = None
        self._node: Node | None = None
        self._subscription: Any = None
        self._lock = make_lock('camera infos')
        self._counts = CameraInfoCounts()

    @property
    def counts(self) -> CameraInfoCounts:
        """The present counts."""
        return self._counts

    def subscribe(self, node: Node, topic: str) -> None:
        """Subscribe and reset the counts; best effort, which matches every publisher."""
        self._counts = CameraInfoCounts()
        self.newest = self.received = None
        self._node, self.topic = node, topic
        qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        self._subscription = node.create_subscription(CameraInfo, topic, self._receive, qos)

    def destroy(self) -> None:
        """Destroy the subscription."""
        if self._node is not None:
            self._node.destroy_subscription(self._subscription)
            self._node = None

    def find(self, size_hw: tuple[int, ...]) -> CameraInfo | None:
        """Return the newest message if it is for images of this size, else None.

        Args:
            size_hw: Height and width in pixels.
        """
        msg, mismatch = self.newest, ''
        if msg is None:
            return None
        if (msg.height, msg.width) != tuple(size_hw):
            mismatch = (
                f'camera_info is of {msg.width} x {msg.height} pixels, the image of '
                f'{size_hw[1]} x {size_hw[0]}; both must come from the same stream'
            )
        with self._lock:
            self._counts = dataclasses.replace(
                self._counts,
                mismatched=self._counts.mismatched + bool(mismatch),
                mismatch=mismatch,
            )
        return None if mismatch else msg

    def _receive(self, msg: CameraInfo) -> None:
        self.received = msg
        refusal = ''
        try:
            read_camera(msg)
        except CameraError as error:
            refusal = str(error)
        else:
            self.newest = msg
        with self._lock:
            self._counts = dataclasses.replace(
                self._counts,
                received=self._counts.received + 1,
                refused=self._counts.refused + bool(refusal),
                refusal=refusal,
            )


def topic_beside(node: Node, image_topic: str) -> str:
    """Return the resolved name of the camera_info of an image topic.

    It is in the namespace of the image, as in image_transport, unless `camera_info` is remapped.

    Args:
        node: Has the remappings.
        image_topic: Resolved name, without /compressed.
    """
    given = node.resolve_topic_name('camera_info')
    if given != node.resolve_topic_name('camera_info', only_expand=True):
        return given
    return f'{image_topic.rpartition("/")[0]}/camera_info'


def with_header(msg: CameraInfo, header: Header) -> CameraInfo:
    """Return a copy of a message with the header of an image."""
    return CameraInfo(
        header=header,
        height=msg.height,
        width=msg.width,
        distortion_model=msg.distortion_model,
        d=msg.d,
        k=msg.k,
        r=msg.r,
        p=msg.p,
        binning_x=msg.binning_x,
        binning_y=msg.binning_y,
        roi=msg.roi,
    )
