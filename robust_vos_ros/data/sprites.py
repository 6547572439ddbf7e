"""Layers of rendered clips: drawn objects, occluders and distractors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.data import motion
from robust_vos_ros.data.layers import Layer
from robust_vos_ros.data.shapes import shape
from robust_vos_ros.data.textures import texture

PATCH = 128  # side of a drawn layer, px
_NUM_FRAMES = 40  # of a drawn object
_KINDS, _KIND_SHARES = ('simple', 'union', 'limbed'), (0.5, 0.35, 0.15)
_MIN_FILL = 0.4  # share of the circle around a drawn object that it must fill


def draw_surface(rng: np.random.Generator, photos: Sequence[np.ndarray]) -> np.ndarray:
    """Return (P, P, 3) uint8: a texture, in some cases with parts of others and with shading."""
    color = texture(rng, PATCH, photos)
    for _ in range(rng.integers(0, 3)):
        part = shape(rng, PATCH // 2)
        top, left = rng.integers(0, PATCH // 2 + 1, 2)
        window = color[top : top + PATCH // 2, left : left + PATCH // 2]
        other = texture(rng, PATCH // 2, photos)
        window[part > 0.5] = other[part > 0.5]
    if rng.random() < 0.5:
        color = _shade(color, rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.1, 0.4))
    return color


def drawn_object(rng: np.random.Generator) -> Layer:
    """Draw an object that deforms, lit from changing directions."""
    for _ in range(20):
        alpha = shape(rng, PATCH, str(rng.choice(_KINDS, p=_KIND_SHARES)))
        if alpha.sum() >= _MIN_FILL * math.pi * bounding_circle(Layer([], [alpha]))[1] ** 2:
            break
    color = draw_surface(rng, ())
    phase, shade = rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.15, 0.45)
    amplitude = rng.uniform(0.03, 0.07) * PATCH
    fields = motion.field_path(rng, _NUM_FRAMES, PATCH, cells=3, amplitude=amplitude)
    eye, colors, alphas = np.eye(2, 3), [], []
    for step, field in enumerate(fields):
        light = _shade(color, phase + 2.0 * step / _NUM_FRAMES, shade)
        colors.append(motion.warp(light, eye, field))
        alphas.append(motion.warp(alpha, eye, field, border='zero'))
    return Layer(colors, alphas)


def draw_occluder(rng: np.random.Generator, *, round_px: int) -> Layer:
    """Return an opaque square of low saturation that fills its layer, with round corners."""
    alpha = np.zeros((PATCH, PATCH), np.float32)
    low, high = round_px, PATCH - 1 - round_px
    cv2.rectangle(alpha, (low, low), (high, high), 1.0, cv2.FILLED)
    if round_px:
        alpha = cv2.dilate(
            alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round_px + 1,) * 2)
        )
    color = texture(rng, PATCH, ())
    color = _shade(color, rng.uniform(0.0, 2.0 * math.pi), rng.uniform(0.0, 0.3))
    return Layer([reduce_saturation(color, rng.uniform(0.2, 0.7))], [alpha])


def reduce_saturation(image: np.ndarray, share: float) -> np.ndarray:
    """Return an (H, W, 3) uint8 RGB image with a share of its saturation."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, share, grey, 1.0 - share, 0.0)


def make_distractor(rng: np.random.Generator, layer: Layer) -> Layer:
    """Return a distractor of an object: mirrored, of nearly the same colours."""
    hue, gain = int(rng.choice([-1, 1]) * rng.integers(5, 13)), rng.uniform(0.85, 1.15)
    colors, alphas = [], []
    for color, alpha in zip(layer.colors, layer.alphas, strict=True):
        hsv = cv2.cvtColor(color[:, ::-1], cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(int) + hue) % 180
        hsv[..., 2] = cv2.convertScaleAbs(hsv[..., 2], alpha=gain)
        colors.append(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
        alphas.append(np.ascontiguousarray(alpha[:, ::-1]))
    return Layer(colors, alphas)


def bounding_circle(layer: Layer) -> tuple[np.ndarray, float]:
    """Return the (2,) centre x, y and the radius of a circle around all frames, in pixels."""
    solid = np.max(layer.alphas, axis=0) > 0.3
    points = np.argwhere(solid)[:, ::-1] + 0.5
    center = (points.min(axis=0) + points.max(axis=0)) / 2
    return center, float(np.linalg.norm(points - center, axis=1).max()) + 0.5


def _shade(color: np.ndarray, angle: float, strength: float) -> np.ndarray:
    """Return (P, P, 3) uint8 colours, brighter towards one side; the angle is in radians."""
    side = len(color) * 1j
    y, x = np.mgrid[-1:1:side, -1:1:side].astype(np.float32)
    light = 1.0 + strength * (math.cos(angle) * x + math.sin(angle) * y)
    return np.clip(color * light[..., None], 0, 255).astype(np.uint8)
