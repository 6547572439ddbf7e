"""Positions in another frame, through tf2 where it is installed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.spatial.locate import Located

try:
    import tf2_ros
except ImportError:  # an extra: it is not part of a minimal ROS installation
    tf2_ros = None


class TransformError(RobustVosError):
    """The transform to the target frame is not known."""


@dataclasses.dataclass(frozen=True, slots=True)
class Rigid:
    """A rotation, then a translation.

    Attributes:
        quaternion: (4,) float64, (x, y, z, w).
        translation: (3,) float64 in metres.
    """

    quaternion: np.ndarray
    translation: np.ndarray

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) float64."""
        x, y, z, w = self.quaternion / np.linalg.norm(self.quaternion)
        return np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )

    def apply(self, located: Located) -> Located:
        """Return a position in the new frame; its box keeps its edges, and turns."""
        rotation, shift = self.rotation, self.translation
        return dataclasses.replace(
            located,
            position=rotation @ located.position + shift,
            box_center=rotation @ located.box_center + shift,
            covariance=rotation @ located.covariance @ rotation.T,
        )


IDENTITY = Rigid(np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3))


class Transforms:
    """Looks transforms up; exists while the node is active.

    Args:
        node: Receives them on its executor.
    """

    def __init__(self, node: Node) -> None:
        self._buffer: Any = None
        self._listener: Any = None
        if tf2_ros is not None:
            self._buffer = tf2_ros.Buffer(node=node)
            self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)

    @property
    def available(self) -> bool:
        """Whether tf2_ros is installed."""
        return self._buffer is not None

    def destroy(self) -> None:
        """Receive no more."""
        if self._listener is not None:
            self._listener.unregister()

    def find(self, target: str, source: str, stamp: Any, timeout_s: float) -> Rigid:
        """Return the transform from one frame to another; not for the executor's thread.

        Args:
            target: Frame of the result.
            source: Frame of what is to be transformed.
            stamp: builtin_interfaces/Time.
            timeout_s: How long to wait for it.

        Raises:
            TransformError: It is not known at that time.
        """
        if target == source:
            return IDENTITY
        try:
            found = self._buffer.lookup_transform(
                target, source, Time.from_msg(stamp), timeout=Duration(seconds=timeout_s)
            ).transform
        except tf2_ros.TransformException as error:
            raise TransformError(f'no transform from {source} to {target}: {error}') from error
        q, t = found.rotation, found.translation
        return Rigid(np.array([q.x, q.y, q.z, q.w]), np.array([t.x, t.y, t.z]))
