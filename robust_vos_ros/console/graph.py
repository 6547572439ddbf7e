"""Find robust_vos nodes in the ROS graph, and their image topics."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from rclpy.node import Node

SEGMENT_ONCE = 'robust_vos/srv/SegmentOnce'
_SUFFIX = '/segment_once'
_POINT, _CLICKS = 'geometry_msgs/msg/Point', '_mouse_left'
RAW, COMPRESSED = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'

Endpoints = Iterable[tuple[str, Sequence[str]]]


@dataclasses.dataclass(frozen=True, slots=True)
class ImageTopic:
    """An image topic.

    Attributes:
        name: Its full name.
        compressed: Whether sensor_msgs/CompressedImage is on it, else sensor_msgs/Image.
    """

    name: str
    compressed: bool


def find_nodes(services: Endpoints) -> list[str]:
    """Return the full names of all robust_vos nodes, recognized by the service segment_once.

    Args:
        services: Names and types of all services.
    """
    return sorted(
        name.removesuffix(_SUFFIX)
        for name, types in services
        if name.endswith(_SUFFIX) and SEGMENT_ONCE in types
    )


def find_image(subscriptions: Endpoints) -> ImageTopic | None:
    """Return the image topic of a robust_vos node, None while it is not active.

    Args:
        subscriptions: Names and types of the node's subscriptions, among them the click topic of
            rqt_image_view, whose name contains that of the image topic.
    """
    types = dict(subscriptions)
    for name in sorted(types):
        image = name.removesuffix(_CLICKS)
        if image == name or _POINT not in types[name]:
            continue
        if RAW in types.get(image, ()):
            return ImageTopic(image, compressed=False)
        if COMPRESSED in types.get(f'{image}/compressed', ()):
            return ImageTopic(f'{image}/compressed', compressed=True)
    return None


class Graph:
    """The ROS graph as seen by a node of the console; thread-safe."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def nodes(self) -> list[str]:
        """Return the full names of all robust_vos nodes."""
        return find_nodes(self._node.get_service_names_and_types())

    def image_of(self, name: str) -> ImageTopic | None:
        """Return the image topic of a robust_vos node; None while it is not active.

        Prefers the compressed topic, if published, which need not be encoded again.
        """
        namespace, _, base = name.rpartition('/')
        try:
            found = self._node.get_subscriber_names_and_types_by_node(base, namespace or '/')
        except Exception:  # a node that has gone raises a private exception of rclpy
            return None
        image = find_image(found)
        if image is not None and not image.compressed:
            jpeg = f'{image.name}/compressed'
            if any(
                item.topic_type == COMPRESSED
                for item in self._node.get_publishers_info_by_topic(jpeg)
            ):
                return ImageTopic(jpeg, compressed=True)
        return image
