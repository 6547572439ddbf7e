"""Contact clips: small objects that lie on or touch a large object of a real video.

The large object is that of a labelled sequence, in its own frames. The small ones are cut out of
other sequences and pasted onto it: they move with it, leave it, or come to it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.layers import Layer, blend, bounce
from robust_vos_ros.data.long_clips import RenderedFrame
from robust_vos_ros.data.motion import smooth_in_time
from robust_vos_ros.data.video_sequence import VideoSequence

INTERACTIONS = ('held', 'leaves', 'comes', 'touches')
_SHARE = (0.03, 0.25)  # area of a small object, share of that of the large one
_MIN_SHARE = 0.004  # area of a small object, share of the image
_MIN_LARGE_SHARE = 0.03  # area of the large object, share of the image
_SMOOTH_FRAMES = 2.0  # sigma of the smoothing of position and size of the large object
_UNPROMPTED = 255  # label of a large object that is not prompted


class TooSmallError(DatasetError):
    """The object of a sequence is too small to carry others."""


@dataclasses.dataclass(frozen=True, slots=True)
class _SmallObject:
    """A small object and its motion.

    Attributes:
        offset: (2,) x and y from the centre of the large object, in units of its size.
        away: (T, 2) distance from there in pixels.
        scale: Pixels of the image per pixel of the layer.
        turn: Amplitude in radians and frequency per frame of its rotation.
        phase: Frames by which its appearance is ahead of the clip.
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
        seed: Of everything random.
        num_frames: T; the sequence plays forwards and backwards.
        size: S, side of the square images in pixels.
        sequence: Its largest object in the first frame is the large one.
        cutouts: The small objects, at least one.
        prompts_large: Whether the large object is prompted too; it is the last one then.

    Attributes:
        num_frames: T.
        num_objects: K, number of prompted objects.
        interactions: One of `INTERACTIONS` for each small object.

    Raises:
        TooSmallError: The object of the sequence is too small.
        DatasetError: The sequence has no object in its first frame.
    """

    def __init__(
        self,
        seed: int | Sequence[int],
        *,
        num_frames: int,
        size: int,
        sequence: VideoSequence,
        cutouts: Sequence[Layer],
        prompts_large: bool,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.num_frames, self._size, self._sequence = num_frames, size, sequence
        self.num_objects = len(cutouts) + prompts_large
        self._large_label = self.num_objects if prompts_large else _UNPROMPTED
        self._large = _large_masks(sequence, num_frames, size)
        if np.count_nonzero(self._large[0]) < _MIN_LARGE_SHARE * size**2:
            raise TooSmallError(f'{sequence.name}: its object is too small to carry others')
        masks = [self._large[bounce(t, len(self._large))] for t in range(num_frames)]
        self._centers, self._sizes = _centers_and_sizes(np.stack(masks))
        first = int(rng.integers(len(INTERACTIONS)))
        self.interactions = [
            INTERACTIONS[(first + k) % len(INTERACTIONS)] for k in range(len(cutouts))
        ]
        self._small = [
            self._plan(rng, cutout, interaction)
            for cutout, interaction in zip(cutouts, self.interactions, strict=True)
        ]

    def frame(self, t: int) -> RenderedFrame:
        """Return frame t, from 0; frames may be asked for in any order."""
        size, index = self._size, bounce(t, len(self._large))
        image = cv2.resize(self._sequence.image(index), (size, size), interpolation=cv2.INTER_AREA)
        labels = np.where(self._large[index], np.uint8(self._large_label), np.uint8(0))
        inside = np.full(self.num_objects, np.count_nonzero(labels), np.int64)
        full = inside.copy()
        for number, item in enumerate(self._small):
            color, alpha = item.layer.at(t + item.phase)
            angle = item.turn[0] * math.sin(2.0 * math.pi * item.turn[1] * t)
            scale = item.scale * self._sizes[t] / self._sizes[0]
            cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
            linear = np.array([[cos, -sin], [sin, cos]])
            center = self._centers[t] + item.offset * self._sizes[t] + item.away[t]
            half = np.array([alpha.shape[1], alpha.shape[0]]) / 2.0
            matrix = np.column_stack([linear, center - linear @ half])
            full[number] = round(np.count_nonzero(alpha >= 0.5) * scale**2)
            placed = blend(image, (color, alpha), matrix, shadow=False)
            inside[number] = 0
            if placed is not None:
                window, solid = placed
                labels[window][solid] = number + 1
                inside[number] = np.count_nonzero(solid)
        return RenderedFrame(image, labels, inside, full)

    def _plan(self, rng: np.random.Generator, cutout: Layer, interaction: str) -> _SmallObject:
        """Draw size, place and motion of a small object."""
        first = self._large[0]
        area = max(rng.uniform(*_SHARE) * np.count_nonzero(first), _MIN_SHARE * self._size**2)
        scale = math.sqrt(area / max(float((cutout.alphas[0] >= 0.5).sum()), 1.0))
        start = _draw_contact_point(rng, first, at_edge=interaction == 'touches')
        angle = rng.uniform(0.0, 2.0 * math.pi)
        far = 0.75 * self._sizes[0] + 1.5 * math.sqrt(area)
        target = self._centers[0] + far * np.array([math.cos(angle), math.sin(angle)])
        margin = math.sqrt(area)
        target = np.clip(target, margin, self._size - margin)
        return _SmallObject(
            layer=cutout,
            offset=(start - self._centers[0]) / self._sizes[0],
            away=_distances(interaction, self.num_frames)[:, None] * (target - start),
            scale=scale,
            turn=(rng.uniform(0.0, 0.4), rng.uniform(0.005, 0.02)),
            phase=int(rng.integers(600)),
        )


def _large_masks(sequence: VideoSequence, num_frames: int, size: int) -> np.ndarray:
    """Return (T', S, S) bool masks of the largest object of frame 0, as long as it is visible."""
    found: list[np.ndarray] = []
    object_id = None
    for index in range(min(num_frames, sequence.num_frames)):
        masks = sequence.masks(index) or {}
        if object_id is None and masks:
            object_id = max(masks, key=lambda key: np.count_nonzero(masks[key]))
        if object_id not in masks:
            break
        small = cv2.resize(
            masks[object_id].astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST
        )
        if not small.any():
            break
        found.append(small > 0)
    if not found:
        raise DatasetError(f'{sequence.name}: expected an object in its first frame, got none')
    return np.stack(found)


def _centers_and_sizes(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (T, 2) centres and (T,) sizes of (T, S, S) masks in pixels, smoothed in time."""
    boxes = np.array([cv2.boundingRect(mask.view(np.uint8)) for mask in masks], np.float64)
    table = np.column_stack(
        [boxes[:, :2] + boxes[:, 2:] / 2.0, np.sqrt(masks.sum(axis=(1, 2), dtype=np.float64))]
    )
    smooth = smooth_in_time(table, _SMOOTH_FRAMES)
    return smooth[:, :2], smooth[:, 2]


def _draw_contact_point(
    rng: np.random.Generator, mask: np.ndarray, *, at_edge: bool
) -> np.ndarray:
    """Draw a pixel (x, y) at the edge of an object, or well inside of it."""
    depth = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    region = (depth > 0.0) & (depth <= 2.0) if at_edge else depth >= 0.5 * depth.max()
    ys, xs = np.nonzero(region)
    index = rng.integers(len(xs))
    return np.array([xs[index], ys[index]], np.float64)


def _distances(interaction: str, num_frames: int) -> np.ndarray:
    """Return the (T,) distances of a small object from its place on the large one, 0 to 1."""
    moments, values = {
        'held': ([0.0], [0.0]),
        'touches': ([0.0], [0.0]),
        'leaves': ([0.0, 0.3, 0.45, 0.65, 0.8], [0.0, 0.0, 1.0, 1.0, 0.0]),
        'comes': ([0.0, 0.25, 0.45], [1.0, 1.0, 0.0]),
    }[interaction]
    line = np.interp(np.arange(num_frames) / max(1, num_frames - 1), moments, values)
    return line * line * (3.0 - 2.0 * line)
