"""Boxes of a detector, and their mapping to the camera image."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np

from robust_vos_ros.core.types import TrackedObject
from robust_vos_ros.node.detector_settings import DetectorSettings

OUTSIDE = 'outside the image'


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """One detection.

    Attributes:
        object_id: Track id of the detector, empty if it has none.
        scores: In [0, 1], by class.
        corners: (4,) float64, (x0, y0, x1, y1) in pixels.
    """

    object_id: str
    scores: dict[str, float]
    corners: np.ndarray

    @property
    def class_id(self) -> str:
        """The class of the highest score, ties by name; empty without classes."""
        return min(self.scores, key=lambda name: (-self.scores[name], name), default='')

    @property
    def score(self) -> float:
        """The highest score, 0 without classes."""
        return max(self.scores.values(), default=0.0)

    def may_be(self, item: TrackedObject) -> bool:
        """Whether the id or a class is that of an object."""
        return self.object_id == item.object_id or item.class_id in self.scores

    def score_of(self, item: TrackedObject) -> float:
        """Return the score of an object's class; the highest score if only the id matches."""
        return self.scores.get(item.class_id, self.score)


def place(
    boxes: Sequence[Box], size_hw: tuple[int, ...], settings: DetectorSettings
) -> tuple[list[Box], Counter[str]]:
    """Map boxes to the camera image and clip them to it.

    Args:
        boxes: In pixels of the detector's image.
        size_hw: Height and width of the camera image.
        settings: Size of the detector's image, and how the camera image was resized to it.

    Returns:
        The boxes with at least one pixel in the image, and the number of others.
    """
    height, width = size_hw
    scale, offset = np.ones(2), np.zeros(2)
    if settings.image_wh is not None:
        inner = np.array(settings.image_wh, np.float64)
        scale = inner / (width, height)
        if settings.resize != 'stretch':
            scale[:] = scale.min()
        if settings.resize == 'letterbox':
            offset = (inner - scale * (width, height)) / 2
    placed, refused = [], Counter[str]()
    for box in boxes:
        corners = ((box.corners.reshape(2, 2) - offset) / scale).reshape(4)
        corners = corners.clip(0, [width, height, width, height])
        if (corners[2:] - corners[:2] >= 1).all():
            placed.append(dataclasses.replace(box, corners=corners))
        else:
            refused[OUTSIDE] += 1
    return placed, refused


def intersections(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the (N, M) intersection areas of (N, 4) and (M, 4) corners."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    return (high - low).clip(min=0).prod(axis=2)


def ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the (N, M) IoU of (N, 4) and (M, 4) corners."""
    shared = intersections(first, second)
    areas = [(corners[:, 2:] - corners[:, :2]).prod(axis=1) for corners in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


def stack(corners: Sequence[np.ndarray]) -> np.ndarray:
    """Return (N, 4) corners, also for N = 0."""
    return np.array(corners, np.float64).reshape(-1, 4)
