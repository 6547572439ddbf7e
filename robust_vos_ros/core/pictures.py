"""Results drawn over the image they belong to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import cv2
import numpy as np

from robust_vos_ros.core.masks import overlay
from robust_vos_ros.core.types import ObjectState


class Shown(Protocol):
    """What is written beside a mask; a `TrackedObject` will do."""

    @property
    def object_id(self) -> str:
        """Name of the object."""

    @property
    def state(self) -> ObjectState:
        """What a planner may assume."""

    @property
    def confidence(self) -> float:
        """In [0, 1]."""

    @property
    def area_px(self) -> int:
        """Number of mask pixels."""

    @property
    def box_xywh(self) -> tuple[int, int, int, int]:
        """Tight box of the mask in pixels."""


def draw_objects(rgb: np.ndarray, label_mask: np.ndarray, objects: Iterable[Shown]) -> np.ndarray:
    """Paint masks over an image, and id, state and confidence beside them.

    Args:
        rgb: (H, W, 3) uint8, the source image.
        label_mask: (H, W) labels.
        objects: In this order, those without a mask in a corner.

    Returns:
        (H, W, 3) uint8.
    """
    picture = overlay(rgb, label_mask)
    scale = max(0.4, rgb.shape[0] / 1000)
    for row, item in enumerate(sorted(objects, key=lambda item: item.area_px > 0)):
        text = f'{item.object_id} {item.state.name} {item.confidence:.2f}'
        if item.area_px:
            place = (item.box_xywh[0], max(item.box_xywh[1] - 4, int(20 * scale)))
        else:  # nothing to write beside: a list in the corner
            place = (4, int((row + 1) * 32 * scale))
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thickness,
                cv2.LINE_AA,
            )  # fmt: skip
    return picture
