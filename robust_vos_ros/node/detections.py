"""Boxes of a detector, and the objects out of sight that they may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.core.types import UNSEEN_STATES, Prompt, TrackedObject

MAX_BOXES = 4  # tried per object and message, the surest first


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """One detection.

    Attributes:
        object_id: Of a track of the detector, empty when it has none.
        scores: Of each class it may be.
        corners: (4,) float64, (x0, y0, x1, y1) in pixels.
    """

    object_id: str
    scores: dict[str, float]
    corners: np.ndarray


def to_boxes(msg: Any) -> list[Box]:
    """Read a vision_msgs/Detection2DArray (version 4), without boxes that have no finite area."""
    boxes = []
    for detection in msg.detections:
        center, bbox = detection.bbox.center.position, detection.bbox
        half = np.array([bbox.size_x, bbox.size_y], np.float64) / 2
        middle = np.array([center.x, center.y], np.float64)
        corners = np.concatenate([middle - half, middle + half])
        if np.isfinite(corners).all() and (half > 0).all():
            hypotheses = [result.hypothesis for result in detection.results]
            scores = {item.class_id: float(item.score) for item in hypotheses if item.class_id}
            boxes.append(Box(detection.id, scores, corners))
    return boxes


def to_candidates(
    boxes: Sequence[Box], objects: Iterable[TrackedObject], size_hw: tuple[int, ...]
) -> list[Prompt]:
    """Return, for each object out of sight, the boxes of its id or class as prompts.

    Args:
        boxes: Of one image.
        objects: All live ones.
        size_hw: Of the image, which boxes are cut to.
    """
    height, width = size_hw
    prompts = []
    for item in objects:
        if item.state not in UNSEEN_STATES:
            continue
        alike = [box for box in boxes if _may_be(box, item)]
        alike.sort(key=lambda box: (box.object_id != item.object_id, -_score(box, item)))
        for box in alike[:MAX_BOXES]:
            corners = box.corners.clip(0, [width, height, width, height]).astype(np.float32)
            if (corners[2:] > corners[:2]).all():
                prompts.append(Prompt(item.object_id, box=corners))
    return prompts


def _may_be(box: Box, item: TrackedObject) -> bool:
    return box.object_id == item.object_id or item.class_id in box.scores


def _score(box: Box, item: TrackedObject) -> float:
    score = box.scores.get(item.class_id, 0.0)
    return score if np.isfinite(score) else 0.0
