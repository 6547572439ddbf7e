"""Rigid transforms of positions."""

from __future__ import annotations

import dataclasses

import numpy as np

from robust_vos_ros.spatial.locate import Located


@dataclasses.dataclass(frozen=True, slots=True)
class Rigid:
    """A rotation followed by a translation.

    Attributes:
        quaternion: (4,) float64, (x, y, z, w), of any non-zero length.
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

    def move(self, point: np.ndarray) -> np.ndarray:
        """Return (..., 3) points in the new frame, in metres, with the same dtype."""
        rotation, translation = self.rotation.astype(point.dtype), self.translation
        return point @ rotation.T + translation.astype(point.dtype)

    def apply(self, located: Located) -> Located:
        """Return a position in the new frame; the box keeps its size and is rotated."""
        rotation = self.rotation
        return dataclasses.replace(
            located,
            position=self.move(located.position),
            box_center=self.move(located.box_center),
            covariance=rotation @ located.covariance @ rotation.T,
        )


IDENTITY = Rigid(np.array([0.0, 0.0, 0.0, 1.0]), np.zeros(3))
