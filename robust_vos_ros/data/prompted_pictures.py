"""Pictures with objects to prompt: parts of photographs and of frames around one object."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.zoom.window import resize
from robust_vos_ros.data.photometric import PhotometricSettings, degrade
from robust_vos_ros.data.sources import Sources

_SHARE = (0.12, 1.0)  # side of the object, share of the side of the crop
_STRETCH = 1.35  # largest change of the aspect ratio
_TRIES = 20  # crops of a picture
_PICTURES = 200  # until the data set counts as unusable
_SEEN = 0.6  # least share of an object within the crop


@dataclasses.dataclass(frozen=True, slots=True)
class PromptedPicture:
    """A part of a picture.

    Attributes:
        image: (S, S, 3) uint8, RGB.
        masks: (K, S, S) uint8, 0 or 1, of its objects; K >= 1.
    """

    image: np.ndarray
    masks: np.ndarray


def draw_picture(
    rng: np.random.Generator, sources: Sources, size: int, *, max_objects: int, min_area: float
) -> PromptedPicture:
    """Draw a part of a picture, mirrored or not, with at most `max_objects` of its objects.

    Args:
        rng: Source of all randomness.
        sources: Data sets; at least one.
        size: Side S of the image in pixels.
        max_objects: Most objects.
        min_area: Least area of an object, share of the crop.

    Raises:
        DatasetError: A file cannot be read, or no picture has such an object.
    """
    for _ in range(_PICTURES):
        source = sources.draw(rng, 1)[0]
        for _ in range(_TRIES if len(source.masks) else 0):
            picked = source.masks[rng.integers(len(source.masks))]
            if not picked.any():
                continue
            rows, columns = _crop(rng, picked)
            chosen = _usable(source.masks, rows, columns, min_area)
            if not len(chosen):
                continue
            chosen = rng.permutation(chosen)[:max_objects]
            step = -1 if rng.random() < 0.5 else 1
            cut = np.ascontiguousarray(source.image[rows, columns][:, ::step])
            image = degrade(rng, resize(cut, size).numpy()[None], PhotometricSettings())[0]
            masks = source.masks[chosen][:, rows, columns][:, :, ::step]
            return PromptedPicture(image, _shrink(masks, size))
    raise DatasetError(
        f'data.sources: expected an object of at least {min_area:.1%} of a crop in {_PICTURES} '
        'pictures, got none; lower data.min_area, or add pictures'
    )


def _usable(masks: np.ndarray, rows: slice, columns: slice, min_area: float) -> np.ndarray:
    """Return the indices of the objects that a crop shows mostly, and large enough."""
    inside = masks[:, rows, columns]
    seen = inside.sum(axis=(1, 2)) / np.maximum(masks.sum(axis=(1, 2)), 1)
    return np.flatnonzero((inside.mean(axis=(1, 2)) >= min_area) & (seen >= _SEEN))


def _shrink(masks: np.ndarray, size: int) -> np.ndarray:
    shares = [
        cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
        for mask in masks.astype(np.float32)
    ]
    return (np.stack(shares) >= 0.5).astype(np.uint8)


def _crop(rng: np.random.Generator, mask: np.ndarray) -> tuple[slice, slice]:
    """Return rows and columns around an object, whose share of the side is drawn."""
    x, y, wide, tall = cv2.boundingRect(mask)
    share = np.exp(rng.uniform(*np.log(_SHARE)))
    stretch = np.exp(rng.uniform(-1.0, 1.0) * np.log(_STRETCH) / 2.0)
    side = max(wide, tall) / share
    return (
        _interval(rng, y, tall, side / stretch, mask.shape[0]),
        _interval(rng, x, wide, side * stretch, mask.shape[1]),
    )


def _interval(rng: np.random.Generator, low: int, length: int, side: float, end: int) -> slice:
    """Return an interval of about `side` within [0, end) that mostly contains an object's."""
    side = int(min(max(side, 8.0), end))
    margin = 0.15 * length
    room = side - length - 2.0 * margin
    if room > 0.0:  # the object is anywhere within it
        first = low - margin - rng.uniform(0.0, room)
    else:  # the object fills it
        first = low + 0.5 * (length - side) + rng.uniform(-margin, margin)
    first = int(min(max(first, 0.0), end - side))
    return slice(first, first + side)
