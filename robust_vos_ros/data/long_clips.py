"""Long clips with exact masks: objects that hide and leave for seconds, and come back.

A clip is a pure function of its seed, rendered frame by frame: nothing grows with its length.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.data import sprites
from robust_vos_ros.data.layers import Cutout, Layer, blend
from robust_vos_ros.data.long_plan import RATE_HZ, LongSettings, Mover, Plan, make_plan
from robust_vos_ros.data.shapes import shape
from robust_vos_ros.data.textures import texture

_MARGIN = 1.3  # side of the background relative to the image
_CLUTTER = (6, 14)  # things painted on a drawn background
_ATTEMPTS = 20
_FIRST_SHARE = 0.7  # of an object that must be in view in the first frame


@dataclasses.dataclass(frozen=True, slots=True)
class LongFrame:
    """One frame of a long clip.

    Attributes:
        image: (S, S, 3) uint8, RGB.
        labels: (S, S) uint8: k + 1 where object k is visible, greater than K where a look-alike
            is, 0 elsewhere.
        inside_px: (K,) int, pixels of each object in the image if nothing were in front of it.
        full_px: (K,) int, pixels of each object, in the image or not.
    """

    image: np.ndarray
    labels: np.ndarray
    inside_px: np.ndarray
    full_px: np.ndarray

    def mask(self, index: int) -> np.ndarray:
        """Return the (S, S) bool mask of what is visible of object `index`, from 0."""
        return self.labels == index + 1


class LongClip:
    """A scene with a plan; the same arguments give the same bits.

    Args:
        seed: Chooses everything.
        num_frames: T, at least 1, at `RATE_HZ`.
        size: S, side of the square images in pixels.
        settings: What may happen.
        photos: (H, W, 3) uint8 RGB, for backgrounds; empty = drawn ones.
        cutouts: Real objects, one for each prompted one as far as they go; the others are drawn.

    Attributes:
        num_frames: T.
        num_objects: K, of prompted objects; all are in view in frame 0.
        plan: What happens.

    Raises:
        RuntimeError: The settings hide an object in the first frame.
    """

    def __init__(
        self,
        seed: int | Sequence[int],
        *,
        num_frames: int,
        size: int,
        settings: LongSettings,
        photos: Sequence[np.ndarray] = (),
        cutouts: Sequence[Cutout] = (),
    ) -> None:
        self.num_frames, self._size = num_frames, size
        for attempt in range(_ATTEMPTS):
            rng = np.random.default_rng((*np.atleast_1d(seed), attempt))
            self.plan = make_plan(rng, num_frames, settings)
            self.num_objects = len(self.plan.objects)
            self._background = _background(rng, round(_MARGIN * size), photos)
            self._things = _things(rng, self.plan, cutouts)
            self._light = rng.uniform(0.03, 0.12), rng.uniform(0.03, 0.12), rng.uniform(0.0, 6.3)
            first = self.frame(0)
            shown = [int(first.mask(k).sum()) for k in range(self.num_objects)]
            if (np.array(shown) >= _FIRST_SHARE * first.full_px).all():
                return
        raise RuntimeError(f'an object is hidden at first in {_ATTEMPTS} attempts with {settings}')

    def frame(self, t: int) -> LongFrame:
        """Return frame t, from 0; in any order."""
        size, camera = self._size, self.plan.camera[t]
        offset = camera * size - (len(self._background) - size) / 2
        matrix = np.array([[1.0, 0.0, offset[0]], [0.0, 1.0, offset[1]]])
        image = cv2.warpAffine(
            self._background, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101
        )
        labels = np.zeros((size, size), np.uint8)
        inside, full = np.zeros((2, self.num_objects), np.int64)
        for thing in self._things:
            look = thing.layer.at(t + thing.phase)
            matrix = thing.place(t, camera, size)
            if 0 < thing.label <= self.num_objects:
                pixels = np.count_nonzero(look[1] >= 0.5) * abs(np.linalg.det(matrix[:, :2]))
                full[thing.label - 1] = round(pixels)
            placed = blend(image, look, matrix, shadow=thing.shadow)
            if placed is None:
                continue
            window, solid = placed
            labels[window][solid] = thing.label
            if 0 < thing.label <= self.num_objects:
                inside[thing.label - 1] = np.count_nonzero(solid)
        depth, pace, phase = self._light
        gain = 1.0 + depth * math.sin(2.0 * math.pi * pace * t / RATE_HZ + phase)
        return LongFrame(cv2.convertScaleAbs(image, alpha=gain), labels, inside, full)


@dataclasses.dataclass(frozen=True, slots=True)
class _Thing:
    """A layer on its way.

    Attributes:
        label: In the label image.
        stretch: (2,) enlargement along x and y.
        turn: (2,) amplitude in radians and frequency in Hz of its swinging.
        breath: Amplitude of its change of size, below 1: it is never larger than its mover says.
        phase: Frames by which its looks, swinging and breathing are ahead.
    """

    layer: Layer
    mover: Mover
    label: int
    center: np.ndarray
    radius_px: float
    stretch: tuple[float, float] = (1.0, 1.0)
    turn: tuple[float, float] = (0.0, 0.0)
    breath: float = 0.0
    phase: int = 0
    shadow: bool = False

    def place(self, t: int, camera: np.ndarray, size: int) -> np.ndarray:
        """Return the (2, 3) matrix from pixels of the layer to those of the image."""
        wave = math.sin(2.0 * math.pi * self.turn[1] * (t + self.phase) / RATE_HZ)
        angle = self.turn[0] * wave
        scale = self.mover.radius * size / self.radius_px * (1.0 - self.breath * (1.0 + wave) / 2)
        cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
        linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag(self.stretch)
        place = (self.mover.centers[t] + camera + 0.5) * size
        return np.column_stack([linear, place - linear @ self.center])


def _things(
    rng: np.random.Generator,
    plan: Plan,
    cutouts: Sequence[Cutout],
) -> list[_Thing]:
    """Return all things, back to front."""
    layers = [
        sprites.real_object(cutouts[index]) if index < len(cutouts) else sprites.drawn_object(rng)
        for index in range(len(plan.objects))
    ]
    things = [
        _object(rng, layer, mover, index + 1)
        for index, (layer, mover) in enumerate(zip(layers, plan.objects, strict=True))
    ]
    for number, (index, mover) in enumerate(plan.twins):
        layer = sprites.look_alike(rng, layers[index])
        things.append(_object(rng, layer, mover, len(layers) + 1 + number))
    things = [things[i] for i in rng.permutation(len(things))]
    for mover in plan.boards:
        things.append(_plate(rng, mover, stretch=(1.0, rng.uniform(1.0, 1.7)), round_px=0))
    for mover in plan.covers:
        things.append(_plate(rng, mover, stretch=(rng.uniform(1.0, 1.6), 1.0), round_px=24))
    return things


def _object(rng: np.random.Generator, layer: Layer, mover: Mover, label: int) -> _Thing:
    center, radius_px = sprites.reach(layer)
    return _Thing(
        layer, mover, label, center, radius_px,
        turn=(rng.uniform(0.0, 0.4), rng.uniform(0.05, 0.25)),
        breath=rng.uniform(0.0, 0.25),
        phase=int(rng.integers(600)),
        shadow=bool(rng.random() < 0.5),
    )  # fmt: skip


def _plate(
    rng: np.random.Generator,
    mover: Mover,
    *,
    stretch: tuple[float, float],
    round_px: int,
) -> _Thing:
    half = sprites.PATCH / 2
    layer = sprites.plate(rng, round_px=round_px)
    return _Thing(layer, mover, 0, np.array([half, half]), half, stretch, shadow=True)


def _background(rng: np.random.Generator, size: int, photos: Sequence[np.ndarray]) -> np.ndarray:
    """Return (size, size, 3) uint8: a photo, or a texture with things painted on it."""
    if len(photos):
        photo = photos[rng.integers(len(photos))]
        side = min(photo.shape[:2])
        left = int(rng.integers(photo.shape[1] - side + 1))
        return cv2.resize(photo[:side, left : left + side], (size, size))
    canvas = cv2.GaussianBlur(texture(rng, size, ()), (0, 0), rng.uniform(0.5, 3.0))
    for _ in range(rng.integers(*_CLUTTER)):
        side = int(size * rng.uniform(0.08, 0.4))
        scale = side / sprites.PATCH
        left, top = rng.uniform(-0.1, 1.0, 2) * size
        matrix = np.array([[scale, 0.0, left], [0.0, scale, top]])
        look = texture(rng, sprites.PATCH, ()), shape(rng, sprites.PATCH)
        blend(canvas, look, matrix, shadow=bool(rng.random() < 0.5))
    return sprites.subdued(canvas, rng.uniform(0.25, 0.7))
