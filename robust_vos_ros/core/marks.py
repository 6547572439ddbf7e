"""What a viewer draws over an image: an outline and a text per object."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Protocol

import cv2
import numpy as np

from robust_vos_ros.core.masks import label_colors
from robust_vos_ros.core.types import ObjectState

LINE_PX, TEXT_PX = 2.0, 16.0
FILL_OPACITY, TEXT_BACKGROUND_OPACITY = 0.25, 0.6
_TOLERANCE_PX = 1.0  # between an outline and its polygon


class Markable(Protocol):
    """What is needed of an object: of `core.types`, or of a message."""

    @property
    def object_id(self) -> str:
        """Its name."""

    @property
    def label(self) -> int:
        """Its pixel value in the label mask."""

    @property
    def state(self) -> int:
        """An ObjectState."""

    @property
    def confidence(self) -> float:
        """In [0, 1]."""


@dataclasses.dataclass(frozen=True, slots=True)
class Mark:
    """What to draw for one object; the origin is the corner of the first pixel.

    Attributes:
        text: Id, confidence and state.
        text_xy: Left end of the text, in pixels.
        color: Red, green and blue in [0, 1].
        outlines: An (N, 2) float64 array of (x, y) per part of the mask, closed.
    """

    text: str
    text_xy: tuple[float, float]
    color: tuple[float, float, float]
    outlines: tuple[np.ndarray, ...]


def find_marks(objects: Iterable[Markable], label_mask: np.ndarray) -> Iterator[Mark]:
    """Yield a mark per object; those without a mask are listed in the corner of the image.

    Args:
        objects: Of one frame.
        label_mask: (H, W) labels of that frame.
    """
    for row, item in enumerate(objects):
        red, green, blue = (float(value) / 255 for value in label_colors()[item.label % 256])
        outlines = tuple(_find_outlines(label_mask, item.label))
        x, y = np.concatenate(outlines).min(axis=0) if outlines else (0.0, TEXT_PX * (row + 1))
        yield Mark(
            text=f'{item.object_id} {item.confidence:.2f} {ObjectState(item.state).name}',
            text_xy=(float(x), float(y)),
            color=(red, green, blue),
            outlines=outlines,
        )


def _find_outlines(label_mask: np.ndarray, label: int) -> Iterator[np.ndarray]:
    mask = (label_mask == label).view(np.uint8)
    parts, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for part in parts:
        # From the centres of the pixels to the corner of the first one as origin.
        yield cv2.approxPolyDP(part, _TOLERANCE_PX, closed=True)[:, 0] + 0.5
