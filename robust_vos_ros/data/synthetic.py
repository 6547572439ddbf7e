"""Rendered clips: textured shapes and cut-out objects over a moving background.

A clip is a pure function of its seed. Layers are ordered in depth, and a mask is what is visible
of an object after occlusion: empty while it is hidden or out of view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.data import motion, photometric
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.data.layers import Layer, paste, place_at
from robust_vos_ros.data.shapes import shape
from robust_vos_ros.data.sprites import PATCH, draw_surface
from robust_vos_ros.data.textures import texture

_MARGIN = 1.35  # side of the background relative to the image
_ATTEMPTS = 20


class SyntheticSettings(Settings):
    """Content of rendered clips."""

    max_layers: int = setting(5, 'Most objects of a clip, without the occluder.', ge=1, le=12)
    min_area: float = setting(
        0.005, 'Area of the smallest object, share of the image.', gt=0.0, le=1.0
    )
    max_area: float = setting(
        0.25, 'Area of the largest object, share of the image.', gt=0.0, le=1.0
    )
    cutout: float = setting(
        0.5, 'Share of objects that are cut out of footage, if there is any.', ge=0.0, le=1.0
    )
    distractor: float = setting(
        0.35, 'Share of objects that look like the object before.', ge=0.0, le=1.0
    )
    camouflage: float = setting(
        0.1, 'Share of drawn objects with the texture of the background.', ge=0.0, le=1.0
    )
    camera: float = setting(0.65, 'Share of clips with a moving camera.', ge=0.0, le=1.0)
    static: float = setting(
        0.25, 'Share of objects that move only with the background.', ge=0.0, le=1.0
    )
    deform: float = setting(0.5, 'Share of objects that deform.', ge=0.0, le=1.0)
    border: float = setting(
        0.25, 'Share of moving objects that enter or leave the image.', ge=0.0, le=1.0
    )
    occluder: float = setting(
        0.3, 'Share of clips in which an occluder passes in front of an object.', ge=0.0, le=1.0
    )
    shadow: float = setting(0.25, 'Share of objects that cast a shadow.', ge=0.0, le=1.0)
    appearance: photometric.PhotometricSettings = photometric.PhotometricSettings()


def render_clip(
    seed: int,
    *,
    num_frames: int,
    size: int,
    settings: SyntheticSettings,
    photos: Sequence[np.ndarray] = (),
    cutouts: Sequence[Layer] = (),
) -> Clip:
    """Render a clip; the same arguments give the same bits.

    Args:
        seed: Of everything random.
        num_frames: T, at least 1.
        size: Side of the square images in pixels.
        settings: Content of the clip.
        photos: (H, W, 3) uint8 RGB images for textures and backgrounds.
        cutouts: Objects cut out of footage.

    Returns:
        A clip with an object in its first frame; the objects are ordered from back to front.

    Raises:
        RuntimeError: No object is visible with these settings.
    """
    for attempt in range(_ATTEMPTS):
        rng = np.random.default_rng((seed, attempt))
        scene = _Scene(
            rng,
            num_frames=num_frames,
            size=size,
            settings=settings,
            photos=photos,
            cutouts=cutouts,
        )
        images, masks = scene.render()
        if masks[:, 0].mean(axis=(1, 2)).max() >= 0.003:
            images = photometric.degrade(rng, images, settings.appearance)
            return Clip(f'synthetic/{seed}', images, masks)
    raise RuntimeError(f'no object is visible in {_ATTEMPTS} attempts with {settings}')


class _Scene:
    """A background, and layers with their motion."""

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        num_frames: int,
        size: int,
        settings: SyntheticSettings,
        photos: Sequence[np.ndarray],
        cutouts: Sequence[Layer],
    ) -> None:
        self._rng, self._size, self._num_frames = rng, size, num_frames
        self._settings, self._photos, self._cutouts = settings, photos, cutouts
        self._background = texture(rng, round(_MARGIN * size), photos)
        if rng.random() < 0.3:
            self._background = cv2.GaussianBlur(self._background, (0, 0), rng.uniform(1.0, 5.0))
        static = rng.random() >= settings.camera
        self._camera = self._path(static, shift=0.15, turn_deg=8, log_scale=0.15)
        self._layers: list[tuple[Layer, np.ndarray, bool]] = []
        layer = None
        for _ in range(rng.integers(1, settings.max_layers + 1)):
            layer = self._next_layer(layer)
            self._layers.append((layer, self._place(layer), rng.random() < settings.shadow))
        if rng.random() < settings.occluder:
            self._layers.append(self._occluder(self._layers[-1][1]))

    def render(self) -> tuple[np.ndarray, np.ndarray]:
        """Return (T, S, S, 3) uint8 images and (K, T, S, S) uint8 masks."""
        size, count = self._size, len(self._layers)
        images = np.empty((self._num_frames, size, size, 3), np.uint8)
        masks = np.zeros((count, self._num_frames, size, size), np.uint8)
        offset = (size - self._background.shape[0]) / 2
        base = np.array([[1.0, 0.0, offset], [0.0, 1.0, offset]])
        for t in range(self._num_frames):
            matrix = motion.compose(self._camera[t], base)
            image = cv2.warpAffine(
                self._background, matrix, (size, size), borderMode=cv2.BORDER_REFLECT_101
            )
            for row, (layer, path, shadow) in enumerate(self._layers):
                paste(image, masks[: row + 1, t], layer.at(t), path[t], shadow=shadow)
            images[t] = image
        return images, masks

    def _path(
        self,
        static: bool,
        *,
        shift: float,
        turn_deg: float,
        log_scale: float,
        center: tuple[float, float] | None = None,
    ) -> np.ndarray:
        if static:
            return np.tile(np.eye(2, 3), (self._num_frames, 1, 1))
        return motion.affine_path(
            self._rng, self._num_frames, size=self._size, shift=shift * self._size,
            turn_deg=turn_deg, log_scale=log_scale, shear=0.1, center=center,
        )  # fmt: skip

    def _next_layer(self, previous: Layer | None) -> Layer:
        """Draw an object; some are distractors, which look like the object before."""
        rng, settings = self._rng, self._settings
        is_distractor = previous is not None and rng.random() < settings.distractor
        if is_distractor and rng.random() < 0.5:
            return previous
        if not is_distractor and len(self._cutouts) and rng.random() < settings.cutout:
            return self._cutouts[rng.integers(len(self._cutouts))]
        alpha = shape(rng, PATCH)
        if is_distractor:
            color = cv2.resize(previous.colors[0], (PATCH, PATCH))
            color = np.ascontiguousarray(np.rot90(color, int(rng.integers(4))))
        elif rng.random() < settings.camouflage:
            side = min(PATCH, len(self._background))
            top, left = rng.integers(0, len(self._background) - side + 1, 2)
            color = self._background[top : top + side, left : left + side]
            color = cv2.resize(color, (PATCH, PATCH))
        else:
            color = draw_surface(rng, self._photos)
        return self._deformed(color, alpha)

    def _deformed(self, color: np.ndarray, alpha: np.ndarray) -> Layer:
        """Return a drawn object: one frame, or one per frame of the clip when it deforms."""
        rng = self._rng
        if rng.random() >= self._settings.deform:
            return Layer([color], [alpha])
        amplitude = rng.uniform(0.02, 0.08) * PATCH
        fields = motion.field_path(rng, self._num_frames, PATCH, cells=3, amplitude=amplitude)
        eye = np.eye(2, 3)
        return Layer(
            [motion.warp(color, eye, field) for field in fields],
            [motion.warp(alpha, eye, field, border='zero') for field in fields],
        )

    def _place(self, layer: Layer) -> np.ndarray:
        """Return (T, 2, 3) matrices from the layer's pixels to the image."""
        rng, settings, size = self._rng, self._settings, self._size
        low, high = math.log(settings.min_area), math.log(settings.max_area)
        area = size**2 * math.exp(rng.uniform(low, high))
        center = rng.uniform(0.1, 0.9, 2) * size
        first = place_at(rng, layer, area, center)
        if rng.random() < settings.static:
            return motion.compose(self._camera, first)
        reach = 1.1 if rng.random() < settings.border else 0.35
        path = self._path(
            False, shift=reach, turn_deg=45, log_scale=0.35, center=(center[0], center[1])
        )
        if rng.random() < 0.5:
            path = path[::-1]  # moves to its place instead of away from it
        return motion.compose(self._camera, motion.compose(path, first))

    def _occluder(self, target: np.ndarray) -> tuple[Layer, np.ndarray, bool]:
        """Return a large layer that is in front of another one in the middle of the clip."""
        rng, size = self._rng, self._size
        layer = Layer(
            [draw_surface(rng, self._photos)], [shape(rng, PATCH, rng.choice(['simple', 'bar']))]
        )
        half = PATCH / 2
        goal = target[self._num_frames // 2] @ [half, half, 1.0]
        area = size**2 * rng.uniform(0.04, 0.3)
        first = place_at(rng, layer, area, goal)
        angle = rng.uniform(0.0, 2.0 * math.pi)
        way = rng.uniform(0.5, 1.3) * size * np.array([math.cos(angle), math.sin(angle)])
        along = np.linspace(-0.5, 0.5, self._num_frames)
        path = np.tile(np.eye(2, 3), (self._num_frames, 1, 1))
        path[:, :, 2] = along[:, None] * way
        return layer, motion.compose(path, first), False
