"""Convert vision_msgs/Detection2DArray (version 4) to boxes."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from robust_vos_ros.core.prompting.prompts import MAX_NAME
from robust_vos_ros.node.boxes import Box
from robust_vos_ros.node.detector_settings import DetectorSettings

MAX_HYPOTHESES = 100  # maximum number of hypotheses read per box
NOT_FINITE, NO_SIZE = 'not finite', 'without a positive size'
LONG_NAME, BAD_SCORE = 'with too long a name', 'with a score outside 0 to 1'
TOO_MANY = 'beyond max_boxes'
OTHER_CLASS, LOW_SCORE = 'of other classes', 'below min_score'
# Filtered by settings, not faults.
FILTERED = frozenset({OTHER_CLASS, LOW_SCORE})


def to_boxes(msg: Any, settings: DetectorSettings) -> tuple[list[Box], Counter[str]]:
    """Read the boxes that pass the settings.

    A score outside of 0 to 1 becomes 0. A rotated box becomes its axis-aligned bounding box.

    Args:
        msg: The array.
        settings: Accepted classes and scores.

    Returns:
        Boxes in pixels of the detector's image, and the number of unused boxes by reason. A bad
        score is counted, but its box is kept.
    """
    boxes, reasons = [], Counter[str]()
    for detection in msg.detections[: settings.max_boxes]:
        corners = _corners(detection.bbox)
        hypotheses = [result.hypothesis for result in detection.results[:MAX_HYPOTHESES]]
        names = [detection.id, *(item.class_id for item in hypotheses)]
        scores = {item.class_id: _score(item) for item in hypotheses if item.class_id}
        reasons[BAD_SCORE] += any(_score(item) != item.score for item in hypotheses)
        wanted = settings.class_names
        if wanted:
            scores = {name: score for name, score in scores.items() if name in wanted}
        if not np.isfinite(corners).all():
            reasons[NOT_FINITE] += 1
        elif not (corners[2:] > corners[:2]).all():
            reasons[NO_SIZE] += 1
        elif max(map(len, names)) > MAX_NAME:
            reasons[LONG_NAME] += 1
        elif wanted and not scores:
            reasons[OTHER_CLASS] += 1
        elif max(scores.values(), default=0.0) < settings.min_score:
            reasons[LOW_SCORE] += 1
        else:
            boxes.append(Box(detection.id, scores, corners))
    reasons[TOO_MANY] += max(0, len(msg.detections) - settings.max_boxes)
    return boxes, +reasons


def _corners(bbox: Any) -> np.ndarray:
    """Return (4,) float64 corners of a vision_msgs/BoundingBox2D."""
    width, height, angle = bbox.size_x, bbox.size_y, bbox.center.theta
    if not math.isfinite(angle):
        return np.full(4, np.nan)
    if angle and width > 0 and height > 0:
        cos, sin = abs(math.cos(angle)), abs(math.sin(angle))
        width, height = width * cos + height * sin, width * sin + height * cos
    half = np.array([width, height], np.float64) / 2
    middle = np.array([bbox.center.position.x, bbox.center.position.y], np.float64)
    return np.concatenate([middle - half, middle + half])


def _score(hypothesis: Any) -> float:
    score = float(hypothesis.score)
    return score if 0.0 <= score <= 1.0 else 0.0
