"""Random shapes: blobs, polygons, stars, ellipses, unions, shapes with holes or thin limbs.

A shape is a list of outlines in any unit, filled in order with 1 or, for holes, with 0; at the end
it is scaled to the size of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

# (N, 2) points x, y of an outline, and whether it is filled (else it is a hole).
Outline = tuple[np.ndarray, bool]

_MARGIN_PX = 2.0
_SUPERSAMPLING = 2
_SHIFT_BITS = 4


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _blob(rng: np.random.Generator) -> np.ndarray:
    """Return (N, 2) points of an outline whose radius is a random Fourier series."""
    angle = np.linspace(0.0, 2.0 * math.pi, 72, endpoint=False)
    order = np.arange(1, 7)[:, None]
    strength = rng.uniform(0.15, 0.5) * rng.normal(size=(6, 1)) / order
    series = (strength * np.cos(order * angle + rng.uniform(0.0, 2 * math.pi, (6, 1)))).sum(axis=0)
    return _polar(np.exp(series), angle) * (1.0, rng.uniform(0.4, 1.0))


def _polygon(rng: np.random.Generator) -> np.ndarray:
    corners = int(rng.integers(3, 9))
    angle = (np.arange(corners) + rng.uniform(-0.35, 0.35, corners)) * (2.0 * math.pi / corners)
    return _polar(rng.uniform(0.5, 1.0, corners), angle) * (1.0, rng.uniform(0.4, 1.0))


def _star(rng: np.random.Generator) -> np.ndarray:
    corners = 2 * int(rng.integers(4, 9))
    radius = np.where(np.arange(corners) % 2, rng.uniform(0.35, 0.7), 1.0)
    return _polar(radius, np.arange(corners) * (2.0 * math.pi / corners))


def _ellipse(rng: np.random.Generator) -> np.ndarray:
    angle = np.linspace(0.0, 2.0 * math.pi, 60, endpoint=False)
    # Superellipses: from a diamond (2) over the ellipse (1) to a rounded box (0.3).
    power = rng.choice([1.0, 1.0, rng.uniform(0.3, 1.5)])
    points = _polar(np.ones_like(angle), angle)
    return np.sign(points) * np.abs(points) ** power * (1.0, rng.uniform(0.3, 1.0))


_OUTLINES = (_blob, _blob, _polygon, _star, _ellipse)


def _rotation(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0.0, 2.0 * math.pi)
    cos, sin = math.cos(angle), math.sin(angle)
    return np.array([[cos, sin], [-sin, cos]])


def _outline(rng: np.random.Generator) -> np.ndarray:
    return _OUTLINES[rng.integers(len(_OUTLINES))](rng) @ _rotation(rng)


def _limb(rng: np.random.Generator) -> np.ndarray:
    """Return (N, 2) points of a thin, bent, tapered strip that starts near the centre."""
    along = np.linspace(0.0, 1.0, 12)
    length = rng.uniform(0.9, 2.2)
    angle = rng.uniform(0.0, 2.0 * math.pi) + rng.normal(0.0, 0.5) * along
    spine = np.cumsum(_polar(np.full(12, length / 12), angle), axis=0)
    width = rng.uniform(0.05, 0.22) * (1.0 - rng.uniform(0.0, 0.8) * along)
    side = _polar(width, angle + math.pi / 2)
    return np.concatenate([spine + side, (spine - side)[::-1]])


def _simple(rng: np.random.Generator) -> list[Outline]:
    return [(_outline(rng), True)]


def _union(rng: np.random.Generator) -> list[Outline]:
    """Put one to three smaller outlines at the edge of the first."""
    body = _outline(rng)
    parts = [(body, True)]
    for _ in range(rng.integers(1, 4)):
        place = 0.85 * body[rng.integers(len(body))]
        parts.append((_outline(rng) * rng.uniform(0.25, 0.8) + place, True))
    return parts


def _holed(rng: np.random.Generator) -> list[Outline]:
    parts = _simple(rng)
    for _ in range(rng.integers(1, 4)):
        place = 0.5 * parts[0][0][rng.integers(len(parts[0][0]))]
        parts.append((_outline(rng) * rng.uniform(0.12, 0.32) + place, False))
    return parts


def _limbed(rng: np.random.Generator) -> list[Outline]:
    body = _outline(rng) * rng.uniform(0.5, 0.9)
    return [(body, True)] + [(_limb(rng), True) for _ in range(rng.integers(1, 7))]


def _bar(rng: np.random.Generator) -> list[Outline]:
    """Return a bar, in half of the cases with a second outline at its end."""
    box = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
    parts = [box * (1.0, rng.uniform(0.06, 0.3))]
    if rng.random() < 0.5:
        parts.append(_outline(rng) * rng.uniform(0.2, 0.5) + (0.9, 0.0))
    return [(part, True) for part in parts]


KINDS: dict[str, Callable[[np.random.Generator], list[Outline]]] = {
    'simple': _simple,
    'union': _union,
    'holed': _holed,
    'limbed': _limbed,
    'bar': _bar,
}
_KIND_SHARES = (0.35, 0.22, 0.13, 0.22, 0.08)


def shape(rng: np.random.Generator, size: int, kind: str | None = None) -> np.ndarray:
    """Draw a random shape that fills a square up to a margin of 2 pixels.

    Args:
        rng: Source of randomness.
        size: Side in pixels, at least 8.
        kind: One of `KINDS`; None = any.

    Returns:
        (size, size) float32 in [0, 1], antialiased coverage; 0 along the border.

    Raises:
        ValueError: The size is too small or the kind is unknown.
    """
    if size < 8:
        raise ValueError(f'size: expected 8 pixels or more, got {size}')
    if kind is None:
        kind = tuple(KINDS)[rng.choice(len(KINDS), p=_KIND_SHARES)]
    if kind not in KINDS:
        raise ValueError(f'kind: expected one of {", ".join(KINDS)}, got {kind!r}')
    turn = _rotation(rng)
    outlines = [(points @ turn, filled) for points, filled in KINDS[kind](rng)]
    solid = np.concatenate([points for points, filled in outlines if filled])
    low, high = solid.min(axis=0), solid.max(axis=0)
    scale = (size - 1 - 2 * _MARGIN_PX) / (high - low).max()
    middle = (low + high) / 2
    fine = size * _SUPERSAMPLING
    canvas = np.zeros((fine, fine), np.uint8)
    for points, filled in outlines:
        pixels = ((points - middle) * scale + size / 2) * _SUPERSAMPLING - 0.5
        corners = np.rint(pixels * 2**_SHIFT_BITS).astype(np.int32)
        cv2.fillPoly(canvas, [corners], 255 * filled, cv2.LINE_AA, _SHIFT_BITS)
    small = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)
