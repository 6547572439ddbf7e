"""Small real objects held by, lying on or touching a large one that moves through real video.

The large one is the object of a sequence with masks, in its own frames; small ones are cut out of
other sequences and pasted onto it. They move with it, leave it, or come to it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.layers import Cutout, Layer, blend
from robust_vos_ros.data.long_clips import LongFrame
from robust_vos_ros.data.video_folder import VideoSequence

MANNERS = ('held', 'leaves', 'comes', 'touches')
_SHARE = (0.03, 0.25)  # area of a small object, of that of the large one
_LEAST_SHARE = 0.004  # of the image
_LARGE_SHARE = 0.03  # of the image, that an object must have to hold others
_SMOOTH = 2.0  # frames, of the place and the size of the large object
_UNNAMED = 255  # label of a large object that is not prompted


class TooSmallError(DatasetError):
    """The object of a sequence is too small to hold others."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Small:
    """A small object on its way.

    Attributes:
        offset: (2,) from the middle of the large object, in units of its size.
        away: (T, 2) pixels that it is away from there.
        scale: Pixels of the image per pixel of the layer.
    """

    layer: Layer
    offset: np.ndarray
    away: np.ndarray
    scale: float
    turn: tuple[float, float]
    phase: int


class ContactClip:
    """A large object with small ones on it; the same arguments give the same bits.

    Args:
        seed: Chooses everything.
        num_frames: T; the sequence is gone through to and fro.
        size: S, side of the square images in pixels.
        sequence: Of the large object, the largest one of its first frame.
        cutouts: Of the small objects, at least one.
        prompts_large: Whether the large object is a prompted one too, after the small ones.

    Attributes:
        num_frames: T.
        num_objects: K, of prompted objects.
        manners: Of each small object, of `MANNERS`.

    Raises:
        TooSmallError: The object of the sequence cannot hold others.
        DatasetError: The sequence has no object in its first frame.
    """

    def __init__(
        self,
        seed: int | Sequence[int],
        *,
        num_frames: int,
        size: int,
        sequence: VideoSequence,
        cutouts: Sequence[Cutout],
        prompts_large: bool,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.num_frames, self._size, self._sequence = num_frames, size, sequence
        self.num_objects = len(cutouts) + prompts_large
        self._large_label = self.num_objects if prompts_large else _UNNAMED
        self._large = _large_masks(sequence, num_frames, size)
        if np.count_nonzero(self._large[0]) < _LARGE_SHARE * size**2:
            raise TooSmallError(f'{sequence.name}: its object is too small to hold others')
        places = _follow(np.stack([self._large[self._index(t)] for t in range(num_frames)]))
        self._middles, self._sizes = places
        first = int(rng.integers(len(MANNERS)))
        self.manners = [MANNERS[(first + k) % len(MANNERS)] for k in range(len(cutouts))]
        self._small = [
            self._plan(rng, cutout, manner)
            for cutout, manner in zip(cutouts, self.manners, strict=True)
        ]

    def frame(self, t: int) -> LongFrame:
        """Return frame t, from 0; in any order."""
        size, index = self._size, self._index(t)
        image = cv2.resize(self._sequence.image(index), (size, size), interpolation=cv2.INTER_AREA)
        labels = np.where(self._large[index], np.uint8(self._large_label), np.uint8(0))
        inside = np.full(self.num_objects, np.count_nonzero(labels), np.int64)
        full = inside.copy()
        for number, thing in enumerate(self._small):
            color, alpha = thing.layer.at(t + thing.phase)
            angle = thing.turn[0] * math.sin(2.0 * math.pi * thing.turn[1] * t)
            scale = thing.scale * self._sizes[t] / self._sizes[0]
            cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
            linear = np.array([[cos, -sin], [sin, cos]])
            middle = self._middles[t] + thing.offset * self._sizes[t] + thing.away[t]
            reach = np.array([alpha.shape[1], alpha.shape[0]]) / 2.0
            matrix = np.column_stack([linear, middle - linear @ reach])
            full[number] = round(np.count_nonzero(alpha >= 0.5) * scale**2)
            placed = blend(image, (color, alpha), matrix, shadow=False)
            inside[number] = 0
            if placed is not None:
                window, solid = placed
                labels[window][solid] = number + 1
                inside[number] = np.count_nonzero(solid)
        return LongFrame(image, labels, inside, full)

    def _index(self, t: int) -> int:
        """Return the frame of the sequence: to the end, and back again."""
        count = len(self._large)
        step = t % max(1, 2 * count - 2)
        return step if step < count else 2 * count - 2 - step

    def _plan(self, rng: np.random.Generator, cutout: Cutout, manner: str) -> _Small:
        first = self._large[0]
        area = max(rng.uniform(*_SHARE) * np.count_nonzero(first), _LEAST_SHARE * self._size**2)
        scale = math.sqrt(area / max(float((cutout.alphas[0] >= 0.5).sum()), 1.0))
        start = _pick_place(rng, first, touches=manner == 'touches')
        angle = rng.uniform(0.0, 2.0 * math.pi)
        far = 0.75 * self._sizes[0] + 1.5 * math.sqrt(area)
        target = self._middles[0] + far * np.array([math.cos(angle), math.sin(angle)])
        margin = math.sqrt(area)
        target = np.clip(target, margin, self._size - margin)
        return _Small(
            layer=Layer(list(cutout.colors), list(cutout.alphas)),
            offset=(start - self._middles[0]) / self._sizes[0],
            away=_apartness(manner, self.num_frames)[:, None] * (target - start),
            scale=scale,
            turn=(rng.uniform(0.0, 0.4), rng.uniform(0.005, 0.02)),
            phase=int(rng.integers(600)),
        )


def _large_masks(sequence: VideoSequence, num_frames: int, size: int) -> np.ndarray:
    """Return (T', S, S) bool masks of the largest object of the first frame, while it is there."""
    found: list[np.ndarray] = []
    wanted = None
    for index in range(min(num_frames, sequence.num_frames)):
        masks = sequence.masks(index) or {}
        if wanted is None and masks:
            wanted = max(masks, key=lambda key: np.count_nonzero(masks[key]))
        if wanted not in masks:
            break
        small = cv2.resize(
            masks[wanted].astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST
        )
        if not small.any():
            break
        found.append(small > 0)
    if not found:
        raise DatasetError(f'{sequence.name}: expected an object in its first frame, got none')
    return np.stack(found)


def _follow(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (T, 2) middle and (T,) size of (T, S, S) masks in pixels, smoothed."""
    boxes = np.array([cv2.boundingRect(mask.view(np.uint8)) for mask in masks], np.float64)
    table = np.column_stack(
        [boxes[:, :2] + boxes[:, 2:] / 2.0, np.sqrt(masks.sum(axis=(1, 2), dtype=np.float64))]
    )
    smooth = cv2.GaussianBlur(
        table, (0, 0), sigmaX=1e-3, sigmaY=_SMOOTH, borderType=cv2.BORDER_REPLICATE
    )
    return smooth[:, :2], smooth[:, 2]


def _pick_place(rng: np.random.Generator, mask: np.ndarray, *, touches: bool) -> np.ndarray:
    """Return a pixel (x, y) well inside of an object, or at its edge."""
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    wanted = (depth > 0.0) & (depth <= 2.0) if touches else depth >= 0.5 * depth.max()
    ys, xs = np.nonzero(wanted)
    index = rng.integers(len(xs))
    return np.array([xs[index], ys[index]], np.float64)


def _apartness(manner: str, num_frames: int) -> np.ndarray:
    """Return (T,) how far from the large object a small one is, 0 to 1."""
    moments, values = {
        'held': ([0.0], [0.0]),
        'touches': ([0.0], [0.0]),
        'leaves': ([0.0, 0.3, 0.45, 0.65, 0.8], [0.0, 0.0, 1.0, 1.0, 0.0]),
        'comes': ([0.0, 0.25, 0.45], [1.0, 1.0, 0.0]),
    }[manner]
    line = np.interp(np.arange(num_frames) / max(1, num_frames - 1), moments, values)
    return line * line * (3.0 - 2.0 * line)
