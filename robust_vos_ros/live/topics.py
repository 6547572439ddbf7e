"""Message classes by name, and conversion of QoS between ROS and bags."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

from robust_vos_ros.ros_types.images import NS_PER_S

RELIABLE, LATCHED = ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL


def message_class(msgtype: str) -> Any | None:
    """Return the class of a type such as `std_msgs/msg/String`, None if it is not installed."""
    package, _, name = msgtype.partition('/msg/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name, None)
    except ImportError:
        return None


def matching_qos(publishers: Sequence[TopicEndpointInfo], *, depth: int) -> QoSProfile:
    """Return the strictest QoS that is compatible with all publishers of a topic.

    Args:
        publishers: At least one.
        depth: Number of messages that wait for the subscriber.
    """
    profiles = [item.qos_profile for item in publishers]
    qos = QoSProfile(depth=depth)
    if any(item.reliability != RELIABLE for item in profiles):
        qos.reliability = ReliabilityPolicy.BEST_EFFORT
    if all(item.durability == LATCHED for item in profiles):
        qos.durability = LATCHED
    return qos


def to_bag_qos(publishers: Sequence[TopicEndpointInfo]) -> list[Qos]:
    """Return the QoS that publishers offer, in the form of a bag."""
    return [
        Qos(
            history=QosHistory[item.history.name],
            depth=item.depth,
            reliability=QosReliability[item.reliability.name],
            durability=QosDurability[item.durability.name],
            deadline=_to_time(item.deadline),
            lifespan=_to_time(item.lifespan),
            liveliness=QosLiveliness[item.liveliness.name],
            liveliness_lease_duration=_to_time(item.liveliness_lease_duration),
            avoid_ros_namespace_conventions=item.avoid_ros_namespace_conventions,
        )
        for item in (publisher.qos_profile for publisher in publishers)
    ]


def _to_time(duration: Duration) -> QosTime:
    return QosTime(*divmod(duration.nanoseconds, NS_PER_S))
