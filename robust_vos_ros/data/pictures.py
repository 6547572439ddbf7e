"""Pairs of a clean picture and its corrupted copy, for training image encoders.

A picture is corrupted at the size of a camera image and then resized as the tracker does, so that
noise and blur are as fine as in a benchmark.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from robust_vos_ros.core.zoom.window import resize
from robust_vos_ros.data.augmentation import AugmentationSettings, draw_corruption
from robust_vos_ros.data.sources import Sources

_CROP = (0.5, 1.0)  # height of the part that is taken, share of the picture
_ASPECT = (1.0, 1.8)  # width / height
_HEIGHT_PX = (256, 480)  # at which it is corrupted
_GAP = 10  # most frames between the two corrupted ones


@dataclasses.dataclass(frozen=True, slots=True)
class PicturePair:
    """A part of a picture, clean and perhaps corrupted.

    Attributes:
        clean: (S, S, 3) uint8, RGB.
        corrupted: The same in two frames of a video with this corruption, (2, S, S, 3).
        mask: (S, S) uint8, 0 or 1: one of its objects, or an empty mask without any.
    """

    clean: np.ndarray
    corrupted: np.ndarray
    mask: np.ndarray


def draw_pair(
    rng: np.random.Generator, sources: Sources, settings: AugmentationSettings, size: int
) -> PicturePair:
    """Draw a part of a picture and its corruption.

    Args:
        rng: Source of all randomness.
        sources: Data sets; at least one.
        settings: Corruptions and their severity.
        size: Side S of the images in pixels.
    """
    source = sources.draw(rng, 1)[0]
    mask = np.zeros(source.image.shape[:2], np.uint8)
    if len(source.masks):
        mask = source.masks[rng.integers(len(source.masks))]
    picture, mask = _crop(rng, source.image, mask)
    clean = resize(picture, size).numpy()
    drawn = draw_corruption(rng, settings, _GAP)
    corrupted = [clean, clean]
    if drawn is not None:
        corruption, index = drawn
        frames = (index, index + int(rng.integers(1, _GAP)))
        corrupted = [resize(corruption.apply(picture, i), size).numpy() for i in frames]
    small = cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST)
    return PicturePair(clean, np.stack(corrupted), small)


def _crop(
    rng: np.random.Generator, image: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of an image and a mask, mirrored or not, at the size of a camera image."""
    height, width = image.shape[:2]
    tall = rng.uniform(*_CROP) * height
    wide = min(width, tall * rng.uniform(*_ASPECT))
    x, y = rng.uniform(0.0, width - wide), rng.uniform(0.0, height - tall)
    rows = slice(int(y), max(int(y + tall), int(y) + 1))
    columns = slice(int(x), max(int(x + wide), int(x) + 1))
    step = -1 if rng.random() < 0.5 else 1
    cut, part = (np.ascontiguousarray(a[rows, columns][:, ::step]) for a in (image, mask))
    high = int(rng.integers(_HEIGHT_PX[0], _HEIGHT_PX[1] + 1))
    size = (max(1, round(high * cut.shape[1] / cut.shape[0])), high)
    how = cv2.INTER_AREA if high < cut.shape[0] else cv2.INTER_LINEAR
    return (
        cv2.resize(cut, size, interpolation=how),
        cv2.resize(part, size, interpolation=cv2.INTER_NEAREST),
    )
