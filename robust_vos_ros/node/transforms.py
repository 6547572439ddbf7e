"""Coordinate frames of TF, where tf2_ros is installed."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from rclpy.node import Node
from rclpy.time import Time

try:
    import tf2_ros
except ImportError:  # it is no part of a minimal ROS
    tf2_ros = None


class TransformError(Exception):
    """TF does not connect two frames at that time, perhaps not yet."""


class Transforms(Protocol):
    """What clicks need of TF."""

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """Return the (4, 4) matrix that brings points of frame `source` to frame `target`.

        Args:
            target: Frame of the result.
            source: Frame of the points.
            stamp_ns: Time of the transform; 0 = the newest there is.

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

    def lookup(self, target: str, source: str, stamp_ns: int) -> np.ndarray:
        """As `Transforms.lookup`."""
        try:
            found = self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except tf2_ros.TransformException as error:
            raise TransformError(str(error)) from error
        return to_matrix(found.transform)

    def clear(self) -> None:
        """As `Transforms.clear`."""
        self._buffer.clear()

    def destroy(self) -> None:
        """As `Transforms.destroy`."""
        self._listener.unregister()


def listen(node: Node) -> Transforms | None:
    """Listen to TF; None where tf2_ros is not installed."""
    return None if tf2_ros is None else TfTransforms(node)


def to_matrix(transform: Any) -> np.ndarray:
    """Return a geometry_msgs/Transform as a (4, 4) float64 matrix."""
    q, t = transform.rotation, transform.translation
    x, y, z, w = np.array([q.x, q.y, q.z, q.w]) / np.linalg.norm([q.x, q.y, q.z, q.w])
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = t.x, t.y, t.z
    return matrix
