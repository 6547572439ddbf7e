"""Pairs of a clean picture and its corrupted copy, for training image encoders.

A picture is corrupted at the size of a camera image and then resized as the tracker does, so that
noise and blur are as fine as in a benchmark.
"""

from __future__ import annotations

import cv2
import numpy as np

from robust_vos_ros.core.zoom.window import resize
from robust_vos_ros.data.augmentation import AugmentationSettings, draw_corruption
from robust_vos_ros.data.sources import Sources

_CROP = (0.5, 1.0)  # height of the part that is taken, share of the picture
_ASPECT = (1.0, 1.8)  # width / height
_HEIGHT_PX = (256, 480)  # at which it is corrupted


def draw_pair(
    rng: np.random.Generator, sources: Sources, settings: AugmentationSettings, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the same part of a picture, clean and perhaps corrupted.

    Args:
        rng: Source of all randomness.
        sources: Data sets; at least one.
        settings: Corruptions and their severity.
        size: Side S of the images in pixels.

    Returns:
        Two (S, S, 3) uint8 images, RGB.
    """
    picture = _crop(rng, sources.draw(rng, 1)[0].image)
    drawn = draw_corruption(rng, settings, 1)
    clean = resize(picture, size).numpy()
    if drawn is None:
        return clean, clean
    corruption, index = drawn
    return clean, resize(corruption.apply(picture, index), size).numpy()


def _crop(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return a part of an image, mirrored or not, at the size of a camera image."""
    height, width = image.shape[:2]
    tall = rng.uniform(*_CROP) * height
    aspect = rng.uniform(*_ASPECT)
    wide = min(width, tall * aspect)
    x, y = rng.uniform(0.0, width - wide), rng.uniform(0.0, height - tall)
    cut = image[int(y) : max(int(y + tall), int(y) + 1), int(x) : max(int(x + wide), int(x) + 1)]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    rows = int(rng.integers(_HEIGHT_PX[0], _HEIGHT_PX[1] + 1))
    columns = max(1, round(rows * cut.shape[1] / cut.shape[0]))
    shrinks = rows < cut.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(cut), (columns, rows), interpolation=how)
