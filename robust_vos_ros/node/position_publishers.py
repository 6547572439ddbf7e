"""Publishers of 3D positions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from robust_vos_ros.core.types import ObjectState, TrackedObject
from robust_vos_ros.node import position_messages as messages
from robust_vos_ros.node.position_messages import Placed
from robust_vos_ros.spatial.rigid import Rigid
from robust_vos_ros.spatial.settings import SpatialSettings

_DEPTH = 10


def topic_token(object_id: str) -> str:
    """Return an id as a valid topic token: letters, digits and single underscores."""
    token = re.sub(r'[^A-Za-z0-9]+', '_', object_id).strip('_') or 'object'
    return f'object_{token}' if token[0].isdigit() else token


class PositionPublishers:
    """Publishes positions; used by one thread, created for each activation.

    Args:
        node: Gets the publishers.
        settings: Topics to publish.
        camera: Name of one of several cameras, for the frames of objects.
    """

    def __init__(
        self, node: LifecycleNode, settings: SpatialSettings, *, camera: str = ''
    ) -> None:
        self._node = node
        self._camera = camera
        without_array = messages.Detection3DArray is None
        self._wants_poses = settings.poses == 'always' or (
            settings.poses == 'auto' and without_array
        )
        self._poses: dict[str, Any] = {}  # publishers by object_id
        self._arrays: list[tuple[Any, Callable[[Sequence[Placed], Header, Rigid], Any]]] = []
        if not without_array:
            detections = self._create(messages.Detection3DArray, '~/detections_3d')
            self._arrays.append((detections, messages.to_detections))
        if messages.MarkerArray is not None:
            markers = self._create(messages.MarkerArray, '~/markers')
            self._arrays.append((markers, messages.to_markers))
        self._tf: Any = None
        if settings.tf and messages.TFMessage is not None:
            # Queue depth as in tf2's broadcaster.
            self._tf = self._create(messages.TFMessage, '/tf', depth=100)
        self._cloud = self._create(PointCloud2, '~/points', depth=2)

    def _create(self, kind: Any, topic: str, *, depth: int = _DEPTH) -> Any:
        return self._node.create_publisher(kind, topic, QoSProfile(depth=depth))

    @property
    def _all(self) -> list[Any]:
        arrays = [publisher for publisher, _ in self._arrays]
        return [*self._poses.values(), *arrays, *filter(None, [self._tf]), self._cloud]

    @property
    def wanted(self) -> bool:
        """Whether there are subscribers."""
        return any(publisher.get_subscription_count() for publisher in self._all)

    def follow(self, objects: Sequence[TrackedObject]) -> None:
        """Create and destroy the pose topics, so that there is one per live object."""
        if not self._wants_poses:
            return
        live = {item.object_id for item in objects}
        for object_id in self._poses.keys() - live:
            self._node.destroy_publisher(self._poses.pop(object_id))
        for object_id in sorted(live - self._poses.keys()):
            topic = self._free_topic(f'~/poses/{topic_token(object_id)}')
            self._poses[object_id] = self._create(PoseWithCovarianceStamped, topic)

    def _free_topic(self, topic: str) -> str:
        """Return an unused topic name: different ids may have equal tokens."""
        taken = {publisher.topic_name for publisher in self._poses.values()}
        prefix = self._node.get_fully_qualified_name()
        name, number = topic, 1
        while name.replace('~', prefix) in taken:
            number += 1
            name = f'{topic}_{number}'
        return name

    def publish(
        self,
        placed: Sequence[Placed],
        header: Header,
        rigid: Rigid,
        crop: Callable[[], np.ndarray],
    ) -> None:
        """Publish the positions of one image.

        Args:
            placed: Objects and where they are, in the frame of the header.
            header: Stamp of the image, and the frame.
            rigid: Transform from the camera to that frame.
            crop: Returns the points for `to_cloud`.
        """
        for publisher, make in self._arrays:
            if publisher.get_subscription_count():
                publisher.publish(make(placed, header, rigid))
        # Only for TRACKED objects: to a follower, silence means that the object is lost.
        tracked = [pair for pair in placed if pair[0].state == ObjectState.TRACKED]
        if tracked and self._tf is not None and self._tf.get_subscription_count():
            self._tf.publish(messages.to_transforms(tracked, header, rigid, camera=self._camera))
        for item, located in tracked:
            publisher = self._poses.get(item.object_id)
            if publisher is not None and publisher.get_subscription_count():
                pose = messages.to_pose_with_covariance(located, rigid)
                publisher.publish(PoseWithCovarianceStamped(header=header, pose=pose))
        if self._cloud.get_subscription_count():
            self._cloud.publish(messages.to_cloud(crop(), header))

    def destroy(self) -> None:
        """Destroy all publishers."""
        for publisher in self._all:
            self._node.destroy_publisher(publisher)
        self._poses.clear()
