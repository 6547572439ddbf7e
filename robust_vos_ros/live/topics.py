"""Topics of a running ROS: message classes by name, and QoS between ROS and bags."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import yaml
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

RELIABLE, LATCHED = ReliabilityPolicy.RELIABLE, DurabilityPolicy.TRANSIENT_LOCAL
_NS_PER_S = 1_000_000_000


def message_class(msgtype: str) -> Any | None:
    """Return the class of a message type such as `std_msgs/msg/String`, None without it."""
    package, _, name = msgtype.partition('/msg/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name, None)
    except ImportError:
        return None


def matching_qos(publishers: Sequence[TopicEndpointInfo], *, depth: int) -> QoSProfile:
    """Return the strictest QoS that all publishers of a topic can serve.

    Args:
        publishers: At least one.
        depth: Messages kept for a busy subscriber.
    """
    profiles = [item.qos_profile for item in publishers]
    qos = QoSProfile(depth=depth)
    if any(item.reliability != RELIABLE for item in profiles):
        qos.reliability = ReliabilityPolicy.BEST_EFFORT
    if all(item.durability == LATCHED for item in profiles):
        qos.durability = LATCHED
    return qos


def describe_qos(publishers: Sequence[TopicEndpointInfo]) -> str:
    """Return the offered QoS of a topic as the YAML that ros2 bag keeps of it."""
    profiles = [
        {
            'history': item.qos_profile.history.name.lower(),
            'depth': item.qos_profile.depth,
            'reliability': item.qos_profile.reliability.name.lower(),
            'durability': item.qos_profile.durability.name.lower(),
            'deadline': _split(item.qos_profile.deadline),
            'lifespan': _split(item.qos_profile.lifespan),
            'liveliness': item.qos_profile.liveliness.name.lower(),
            'liveliness_lease_duration': _split(item.qos_profile.liveliness_lease_duration),
            'avoid_ros_namespace_conventions': item.qos_profile.avoid_ros_namespace_conventions,
        }
        for item in publishers
    ]
    text: str = yaml.safe_dump(profiles, sort_keys=False)
    return text


def _split(duration: Duration) -> dict[str, int]:
    sec, nsec = divmod(duration.nanoseconds, _NS_PER_S)
    return {'sec': sec, 'nsec': nsec}
