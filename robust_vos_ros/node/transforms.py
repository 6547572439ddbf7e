"""Transforms of TF, if tf2_ros is installed."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.spatial.rigid import Rigid

try:
    import tf2_ros
except ImportError:  # not part of a minimal ROS installation
    tf2_ros = None


class TransformError(RobustVosError):
    """TF has no transform between two frames at a time, or not yet."""


class Transforms(Protocol):
    """Interface of TF for clicks and positions."""

    def lookup(self, target: str, source: str, stamp_ns: int, *, timeout_s: float = 0.0) -> Rigid:
        """Return the transform of points from frame `source` to frame `target`.

        Args:
            target: Frame of the result.
            source: Frame of the points.
            stamp_ns: Time of the transform; 0 = the newest one.
            timeout_s: How long to wait for it; must be 0 on the executor's thread.

        Raises:
            TransformError: There is none, or not yet.
        """

    def clear(self) -> None:
        """Clear the transforms after a time jump."""

    def destroy(self) -> None:
        """Unsubscribe."""


class TfTransforms:
    """Subscribes to /tf and /tf_static from construction to `destroy`."""

    def __init__(self, node: Node) -> None:
        """Subscribe; callbacks run in the node's executor."""
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)

    def lookup(self, target: str, source: str, stamp_ns: int, *, timeout_s: float = 0.0) -> Rigid:
        """As `Transforms.lookup`."""
        time, timeout = Time(nanoseconds=stamp_ns), Duration(seconds=timeout_s)
        try:
            found = self._buffer.lookup_transform(target, source, time, timeout=timeout)
        except tf2_ros.TransformException as error:
            raise TransformError(f'no transform from {source!r} to {target!r}: {error}') from error
        return to_rigid(found.transform)

    def clear(self) -> None:
        """As `Transforms.clear`."""
        self._buffer.clear()

    def destroy(self) -> None:
        """As `Transforms.destroy`."""
        self._listener.unregister()


def listen(node: Node) -> Transforms | None:
    """Subscribe to TF; returns None if tf2_ros is not installed."""
    return None if tf2_ros is None else TfTransforms(node)


def to_rigid(transform: Any) -> Rigid:
    """Convert a geometry_msgs/Transform."""
    q, t = transform.rotation, transform.translation
    return Rigid(np.array([q.x, q.y, q.z, q.w]), np.array([t.x, t.y, t.z]))
