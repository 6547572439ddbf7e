"""Coordinate frames of TF, where tf2_ros is installed."""

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
except ImportError:  # it is no part of a minimal ROS
    tf2_ros = None


class TransformError(RobustVosError):
    """TF does not connect two frames at that time, perhaps not yet."""


class Transforms(Protocol):
    """What clicks and positions need of TF."""

    def lookup(self, target: str, source: str, stamp_ns: int, *, timeout_s: float = 0.0) -> Rigid:
        """Return what brings points of frame `source` to frame `target`.

        Args:
            target: Frame of the result.
            source: Frame of the points.
            stamp_ns: Time of the transform; 0 = the newest there is.
            timeout_s: How long to wait for it; above 0 not for the executor's thread.

        Raises:
            TransformError: There is none, perhaps not yet.
        """

    def clear(self) -> None:
        """Forget what was received: the time jumped."""

    def destroy(self) -> None:
        """Unsubscribe."""


class TfTransforms:
    """Listens to /tf and /tf_static from construction to `destroy`."""

    def __init__(self, node: Node) -> None:
        """Subscribe; the executor of the node receives."""
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
    """Listen to TF; None where tf2_ros is not installed."""
    return None if tf2_ros is None else TfTransforms(node)


def to_rigid(transform: Any) -> Rigid:
    """Read a geometry_msgs/Transform."""
    q, t = transform.rotation, transform.translation
    return Rigid(np.array([q.x, q.y, q.z, q.w]), np.array([t.x, t.y, t.z]))
