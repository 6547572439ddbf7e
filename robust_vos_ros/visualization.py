"""Drawing of results over images, and JPEG encoding."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Protocol

import cv2
import numpy as np

from robust_vos_ros.core.types import ObjectState


class DrawnObject(Protocol):
    """Fields of an object that are drawn; `core.types.TrackedObject` has them."""

    @property
    def object_id(self) -> str:
        """Name of the object."""

    @property
    def state(self) -> ObjectState:
        """State of the object."""

    @property
    def confidence(self) -> float:
        """Confidence in [0, 1]."""

    @property
    def area_px(self) -> int:
        """Number of mask pixels."""

    @property
    def box_xywh(self) -> tuple[int, int, int, int]:
        """Tight box of the mask in pixels."""


def encode_jpeg(rgb: np.ndarray, quality: int) -> bytes:
    """Return a JPEG file of an (H, W, 3) uint8 RGB image; the quality is 1 to 100."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode('.jpg', bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()


def draw_objects(
    rgb: np.ndarray, label_mask: np.ndarray, objects: Iterable[DrawnObject]
) -> np.ndarray:
    """Draw masks over an image, with id, state and confidence beside them.

    Args:
        rgb: (H, W, 3) uint8, the source image.
        label_mask: (H, W) labels.
        objects: Those without a mask are listed in a corner.

    Returns:
        (H, W, 3) uint8.
    """
    picture = overlay(rgb, label_mask)
    scale = max(0.4, rgb.shape[0] / 1000)
    for row, item in enumerate(sorted(objects, key=lambda item: item.area_px > 0)):
        text = f'{item.object_id} {item.state.name} {item.confidence:.2f}'
        if item.area_px:
            place = (item.box_xywh[0], max(item.box_xywh[1] - 4, int(20 * scale)))
        else:  # a list in the corner
            place = (4, int((row + 1) * 32 * scale))
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thickness,
                cv2.LINE_AA,
            )  # fmt: skip
    return picture


@functools.cache
def label_colors() -> np.ndarray:
    """Return (256, 3) uint8 RGB colours, different for adjacent labels; row 0 is black."""
    hues = (
        np.arange(256) * 0.618034 * 180.0 + 10.0
    ) % 180.0  # golden ratio: adjacent hues are far apart
    hsv = np.stack([hues, np.full(256, 210.0), np.full(256, 255.0)], axis=1).astype(np.uint8)
    colors = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    colors[0] = 0
    return colors


def overlay(rgb: np.ndarray, label_mask: np.ndarray, *, opacity: float = 0.45) -> np.ndarray:
    """Draw a label mask over an image, with a solid outline.

    Args:
        rgb: (H, W, 3) uint8.
        label_mask: (H, W) uint8 labels, 0 = background.
        opacity: Of the fill, in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    out = rgb.copy()
    x, y, width, height = cv2.boundingRect(label_mask)
    if not width:
        return out
    window = (slice(max(0, y - 1), y + height + 1), slice(max(0, x - 1), x + width + 1))
    labels = label_mask[window].astype(np.uint8)
    painted = cv2.LUT(cv2.merge([labels] * 3), label_colors()[:, None])
    blended = cv2.addWeighted(rgb[window], 1 - opacity, painted, opacity, 0)
    edge = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    crop = cv2.copyTo(blended, labels, np.ascontiguousarray(out[window]))
    out[window] = cv2.copyTo(painted, cv2.min(edge, labels), crop)
    return out
