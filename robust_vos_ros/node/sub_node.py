"""The node with the names of one of several cameras."""

from __future__ import annotations

from typing import Any


class SubNode:
    """Stands in for a node, and puts a camera into the names of what it creates.

    `image` becomes `<camera>/image`, and `~/objects` becomes `~/<camera>/objects`. Absolute names
    stay. Everything else is that of the node. (rclcpp has sub-nodes, rclpy has none.)

    Args:
        node: The rclpy node.
        camera: Name of the camera.
    """

    def __init__(self, node: Any, camera: str) -> None:
        self._node = node
        self._camera = camera

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def create_publisher(self, kind: Any, topic: str, *args: Any, **options: Any) -> Any:
        """As of the node."""
        return self._node.create_publisher(kind, self._below(topic), *args, **options)

    def create_lifecycle_publisher(self, kind: Any, topic: str, *args: Any, **options: Any) -> Any:
        """As of the node."""
        return self._node.create_lifecycle_publisher(kind, self._below(topic), *args, **options)

    def create_subscription(self, kind: Any, topic: str, *args: Any, **options: Any) -> Any:
        """As of the node."""
        return self._node.create_subscription(kind, self._below(topic), *args, **options)

    def create_service(self, kind: Any, name: str, *args: Any, **options: Any) -> Any:
        """As of the node."""
        return self._node.create_service(kind, self._below(name), *args, **options)

    def resolve_topic_name(self, topic: str, **options: Any) -> str:
        """As of the node."""
        return str(self._node.resolve_topic_name(self._below(topic), **options))

    def get_fully_qualified_name(self) -> str:
        """Return the name of the node with that of the camera, the prefix of private names."""
        return f'{self._node.get_fully_qualified_name()}/{self._camera}'

    def _below(self, name: str) -> str:
        if name.startswith('/'):
            return name
        if name.startswith('~/'):
            return f'~/{self._camera}/{name.removeprefix("~/")}'
        return f'{self._camera}/{name}'
