"""Long clips with exact masks: objects are occluded or leave for seconds, and come back.

A clip is a pure function of its seed. It is rendered frame by frame, so that the memory it needs
does not grow with its length.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.data import sprites
from robust_vos_ros.data.layers import Layer, blend
from robust_vos_ros.data.long_paths import RATE_HZ, Trajectory
from robust_vos_ros.data.long_plan import LongSettings, Plan, make_plan
from robust_vos_ros.data.shapes import shape
from robust_vos_ros.data.textures import texture

_MARGIN = 1.3  # side of the background relative to the image
_CLUTTER = (6, 14)  # shapes painted on a drawn background
_ATTEMPTS = 20
_FIRST_SHARE = 0.7  # of an object that must be visible in the first frame


@dataclasses.dataclass(frozen=True, slots=True)
class RenderedFrame:
    """One frame of a rendered clip.

    Attributes:
        image: (S, S, 3) uint8, RGB.
        labels: (S, S) uint8: k + 1 where object k is visible, greater than K where an object is
            that is not prompted, 0 elsewhere.
        inside_px: (K,) int, pixels of each object inside the image, occluded or not.
        full_px: (K,) int, pixels of each object, inside the image or not.
    """

    image: np.ndarray
    labels: np.ndarray
    inside_px: np.ndarray
    full_px: np.ndarray

    def mask(self, index: int) -> np.ndarray:
        """Return the (S, S) bool mask of what is visible of object `index`, from 0."""
        return self.labels == index + 1


class LongClip:
    """A rendered plan; the same arguments give the same bits.

    Args:
        seed: Of everything random.
        num_frames: T, at least 1, at `RATE_HZ`.
        size: S, side of the square images in pixels.
        settings: Content of the clip.
        photos: (H, W, 3) uint8 RGB, for backgrounds; empty = drawn ones.
        cutouts: Objects cut out of footage: the first prompted ones; the others are drawn.

    Attributes:
        num_frames: T.
        num_objects: K, number of prompted objects; all are visible in frame 0.
        plan: Motion of everything in it.

    Raises:
        RuntimeError: With these settings an object is hidden in the first frame.
    """

    def __init__(
        self,
        seed: int | Sequence[int],
        *,
        num_frames: int,
        size: int,
        settings: LongSettings,
        photos: Sequence[np.ndarray] = (),
        cutouts: Sequence[Layer] = (),
    ) -> None:
        self.num_frames, self._size = num_frames, size
        for attempt in range(_ATTEMPTS):
            rng = np.random.default_rng((*np.atleast_1d(seed), attempt))
            self.plan = make_plan(rng, num_frames, settings)
            self.num_objects = len(self.plan.objects)
            self._background = _background(rng, round(_MARGIN * size), photos)
            self._items = _make_items(rng, self.plan, cutouts)
            self._light = rng.uniform(0.03, 0.12), rng.uniform(0.03, 0.12), rng.uniform(0.0, 6.3)
            first = self.frame(0)
            shown = [int(first.mask(k).sum()) for k in range(self.num_objects)]
            if (np.array(shown) >= _FIRST_SHARE * first.full_px).all():
                return
        raise RuntimeError(f'an object is hidden at first in {_ATTEMPTS} attempts with {settings}')

    def frame(self, t: int) -> RenderedFrame:
        """Return frame t, from 0; frames may be asked for in any order."""
        size, camera = self._size, self.plan.camera[t]
        offset = camera * size - (len(self._background) - size) / 2
        matrix = np.array([[1.0, 0.0, offset[0]], [0.0, 1.0, offset[1]]])
        image = cv2.warpAffine(
            self._background, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101
        )
        labels = np.zeros((size, size), np.uint8)
        inside, full = np.zeros((2, self.num_objects), np.int64)
        for item in self._items:
            appearance = item.layer.at(t + item.phase)
            matrix = item.matrix(t, camera, size)
            if 0 < item.label <= self.num_objects:
                pixels = np.count_nonzero(appearance[1] >= 0.5) * abs(np.linalg.det(matrix[:, :2]))
                full[item.label - 1] = round(pixels)
            placed = blend(image, appearance, matrix, shadow=item.shadow)
            if placed is None:
                continue
            window, solid = placed
            labels[window][solid] = item.label
            if 0 < item.label <= self.num_objects:
                inside[item.label - 1] = np.count_nonzero(solid)
        amplitude, rate_hz, phase = self._light
        gain = 1.0 + amplitude * math.sin(2.0 * math.pi * rate_hz * t / RATE_HZ + phase)
        return RenderedFrame(cv2.convertScaleAbs(image, alpha=gain), labels, inside, full)


@dataclasses.dataclass(frozen=True, slots=True)
class _Item:
    """A layer and its motion.

    Attributes:
        label: Its value in the label image, 0 for occluders.
        center: (2,) x and y of its centre in pixels of the layer.
        radius_px: Of a circle around it, in pixels of the layer.
        stretch: Enlargement along x and y.
        turn: Amplitude in radians and frequency in Hz of its rotation.
        shrink: Largest share by which it shrinks over time, in [0, 1).
        phase: Frames by which appearance, rotation and size are ahead of the clip.
    """

    layer: Layer
    path: Trajectory
    label: int
    center: np.ndarray
    radius_px: float
    stretch: tuple[float, float] = (1.0, 1.0)
    turn: tuple[float, float] = (0.0, 0.0)
    shrink: float = 0.0
    phase: int = 0
    shadow: bool = False

    def matrix(self, t: int, camera: np.ndarray, size: int) -> np.ndarray:
        """Return the (2, 3) matrix from pixels of the layer to those of the image."""
        wave = math.sin(2.0 * math.pi * self.turn[1] * (t + self.phase) / RATE_HZ)
        angle = self.turn[0] * wave
        scale = self.path.radius * size / self.radius_px * (1.0 - self.shrink * (1.0 + wave) / 2)
        cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
        linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag(self.stretch)
        place = (self.path.centers[t] + camera + 0.5) * size
        return np.column_stack([linear, place - linear @ self.center])


def _make_items(rng: np.random.Generator, plan: Plan, cutouts: Sequence[Layer]) -> list[_Item]:
    """Return everything that is drawn, from back to front."""
    layers = [
        cutouts[index] if index < len(cutouts) else sprites.drawn_object(rng)
        for index in range(len(plan.objects))
    ]
    items = [
        _object(rng, layer, path, index + 1)
        for index, (layer, path) in enumerate(zip(layers, plan.objects, strict=True))
    ]
    for number, (index, path) in enumerate(plan.distractors):
        layer = sprites.make_distractor(rng, layers[index])
        items.append(_object(rng, layer, path, len(layers) + 1 + number))
    items = [items[i] for i in rng.permutation(len(items))]
    for path in plan.static_occluders:
        items.append(_occluder(rng, path, stretch=(1.0, rng.uniform(1.0, 1.7)), round_px=0))
    for path in plan.moving_occluders:
        items.append(_occluder(rng, path, stretch=(rng.uniform(1.0, 1.6), 1.0), round_px=24))
    return items


def _object(rng: np.random.Generator, layer: Layer, path: Trajectory, label: int) -> _Item:
    center, radius_px = sprites.bounding_circle(layer)
    return _Item(
        layer, path, label, center, radius_px,
        turn=(rng.uniform(0.0, 0.4), rng.uniform(0.05, 0.25)),
        shrink=rng.uniform(0.0, 0.25),
        phase=int(rng.integers(600)),
        shadow=bool(rng.random() < 0.5),
    )  # fmt: skip


def _occluder(
    rng: np.random.Generator,
    path: Trajectory,
    *,
    stretch: tuple[float, float],
    round_px: int,
) -> _Item:
    half = sprites.PATCH / 2
    layer = sprites.draw_occluder(rng, round_px=round_px)
    return _Item(layer, path, 0, np.array([half, half]), half, stretch, shadow=True)


def _background(rng: np.random.Generator, size: int, photos: Sequence[np.ndarray]) -> np.ndarray:
    """Return (size, size, 3) uint8: a photo, or a texture with shapes painted on it."""
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
        appearance = texture(rng, sprites.PATCH, ()), shape(rng, sprites.PATCH)
        blend(canvas, appearance, matrix, shadow=bool(rng.random() < 0.5))
    return sprites.reduce_saturation(canvas, rng.uniform(0.25, 0.7))
