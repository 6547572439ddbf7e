"""Positions to messages, and the topics they are published on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseWithCovariance, PoseWithCovarianceStamped, Vector3
from geometry_msgs.msg import Quaternion as QuaternionMsg
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from robust_vos_ros.core.types import ObjectState, TrackedObject
from robust_vos_ros.spatial.locate import Located
from robust_vos_ros.spatial.rigid import Rigid

try:
    from vision_msgs.msg import (
        BoundingBox3D,
        Detection3D,
        Detection3DArray,
        ObjectHypothesis,
        ObjectHypothesisWithPose,
    )
except ImportError:  # an extra: vision_msgs is not part of a minimal ROS installation
    Detection3DArray = None

_UNKNOWN_ANGLE = np.pi**2  # variance of an angle that nobody measured, rad^2
_DEPTH = 10

Placed = tuple[TrackedObject, Located]


def to_pose(point: np.ndarray, rigid: Rigid) -> Pose:
    """Return a pose at (3,) metres, turned like the axes of the camera."""
    x, y, z = (float(value) for value in point)
    qx, qy, qz, qw = (float(value) for value in rigid.quaternion)
    return Pose(position=Point(x=x, y=y, z=z), orientation=QuaternionMsg(x=qx, y=qy, z=qz, w=qw))


def to_pose_with_covariance(located: Located, rigid: Rigid) -> PoseWithCovariance:
    """Return the position with its covariance; the orientation says nothing, as its variance."""
    covariance = np.diag([0.0] * 3 + [_UNKNOWN_ANGLE] * 3)
    covariance[:3, :3] = located.covariance
    return PoseWithCovariance(
        pose=to_pose(located.position, rigid), covariance=covariance.ravel().tolist()
    )


def to_detections(placed: Iterable[Placed], header: Header, rigid: Rigid) -> Any:
    """Return a vision_msgs/Detection3DArray; only where vision_msgs exists.

    Args:
        placed: Objects and where they are, in the frame of the header.
        header: Stamp of the image, and the frame.
        rigid: From the camera to that frame; boxes are turned by it.
    """
    detections = []
    for item, located in placed:
        x, y, z = (float(value) for value in located.box_size)
        detections.append(
            Detection3D(
                header=header,
                id=item.object_id,
                results=[
                    ObjectHypothesisWithPose(
                        hypothesis=ObjectHypothesis(class_id=item.class_id, score=item.confidence),
                        pose=to_pose_with_covariance(located, rigid),
                    )
                ],
                bbox=BoundingBox3D(
                    center=to_pose(located.box_center, rigid), size=Vector3(x=x, y=y, z=z)
                ),
            )
        )
    return Detection3DArray(header=header, detections=detections)


def topic_token(object_id: str) -> str:
    """Return an id as part of a topic's name: letters, digits and single underscores."""
    token = re.sub(r'[^A-Za-z0-9]+', '_', object_id).strip('_') or 'object'
    return f'object_{token}' if token[0].isdigit() else token


class PositionPublishers:
    """Publishes positions; called by one thread, and made anew for each activation.

    Args:
        node: Gets the publishers, which exist while it is active.
        poses: Whether to publish `~/poses/<object_id>`.
    """

    def __init__(self, node: LifecycleNode, *, poses: bool) -> None:
        self._node = node
        self._wants_poses = poses
        self._poses: dict[str, Any] = {}  # publishers by object_id
        self._detections: Any = None
        if Detection3DArray is not None:
            self._detections = self._create(Detection3DArray, '~/detections_3d')

    def _create(self, kind: Any, topic: str) -> Any:
        return self._node.create_publisher(kind, topic, QoSProfile(depth=_DEPTH))

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        publishers = [*self._poses.values(), *filter(None, [self._detections])]
        return any(publisher.get_subscription_count() for publisher in publishers)

    def follow(self, objects: Sequence[TrackedObject]) -> None:
        """Have a topic for each live object, and none for others."""
        if not self._wants_poses:
            return
        live = {item.object_id for item in objects}
        for object_id in self._poses.keys() - live:
            self._node.destroy_publisher(self._poses.pop(object_id))
        for object_id in sorted(live - self._poses.keys()):
            topic = self._free_topic(f'~/poses/{topic_token(object_id)}')
            self._poses[object_id] = self._create(PoseWithCovarianceStamped, topic)

    def _free_topic(self, topic: str) -> str:
        """Return a name that no other object has, because ids that differ may look alike."""
        taken = {publisher.topic_name for publisher in self._poses.values()}
        prefix = self._node.get_fully_qualified_name()
        name, number = topic, 1
        while name.replace('~', prefix) in taken:
            number += 1
            name = f'{topic}_{number}'
        return name

    def publish(self, placed: Sequence[Placed], header: Header, rigid: Rigid) -> None:
        """Publish the positions of one image; arguments as of `to_detections`."""
        if self._detections is not None and self._detections.get_subscription_count():
            self._detections.publish(to_detections(placed, header, rigid))
        for item, located in placed:
            publisher = self._poses.get(item.object_id)
            if publisher is None or item.state != ObjectState.TRACKED:
                continue  # a follower takes silence for loss
            if publisher.get_subscription_count():
                pose = to_pose_with_covariance(located, rigid)
                publisher.publish(PoseWithCovarianceStamped(header=header, pose=pose))

    def destroy(self) -> None:
        """Destroy all publishers."""
        for publisher in [*self._poses.values(), *filter(None, [self._detections])]:
            self._node.destroy_publisher(publisher)
        self._poses.clear()
        self._detections = None
