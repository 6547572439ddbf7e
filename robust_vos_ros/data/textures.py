"""Random textures for backgrounds and objects; each takes a few milliseconds.

Most are a scalar field (noise, waves, dots) coloured by a random palette.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

Photos = Sequence[np.ndarray]


def palette(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw colours for one texture.

    Half of the palettes have a low saturation, as most surfaces do. The hues of most are similar.

    Returns:
        (count, 3) float32 RGB in [0, 255].
    """
    spread = 180.0 if rng.random() < 0.35 else 18.0
    hue = rng.uniform(0.0, 180.0) + rng.uniform(-spread / 2, spread / 2, count)
    saturation = rng.beta(1.2, 5.0, count) if rng.random() < 0.5 else rng.uniform(0.35, 1.0, count)
    value = rng.beta(1.6, 1.3, count)
    hsv = np.stack([hue % 180.0, saturation * 255.0, value * 255.0], axis=-1).astype(np.uint8)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0].astype(np.float32)


def _colored(rng: np.random.Generator, field: np.ndarray) -> np.ndarray:
    """Colour an (S, S) float32 field in [0, 1] by a gradient of two to four random colours."""
    colors = palette(rng, int(rng.integers(2, 5)))
    places = np.linspace(0.0, 1.0, len(colors))
    levels = np.linspace(0.0, 1.0, 256)
    table = np.stack([np.interp(levels, places, channel) for channel in colors.T], axis=-1)
    index = cv2.convertScaleAbs(field, alpha=255.0)
    return cv2.LUT(cv2.merge([index, index, index]), table.astype(np.uint8)[None])


def smooth_noise(
    rng: np.random.Generator, size: int, exponent: float, channels: int = 1
) -> np.ndarray:
    """Draw noise whose amplitude spectrum falls about as 1 / f^exponent.

    Octaves of white noise are added from coarse to fine, each on the enlarged sum of the others.

    Returns:
        (size, size) or (size, size, channels) float32 in [0, 1].
    """
    side = 4
    total = rng.random((side, side, channels), np.float32)
    amplitude = 1.0
    while side < size:
        side = min(2 * side, size)
        amplitude *= 2.0 ** (1.0 - exponent)  # an octave of a 2-D spectrum 1 / f^a
        total = cv2.resize(total, (side, side), interpolation=cv2.INTER_CUBIC)
        total = total.reshape(side, side, channels)
        total += np.float32(amplitude) * rng.random((side, side, channels), np.float32)
    return cv2.normalize(np.squeeze(total), None, 0.0, 1.0, cv2.NORM_MINMAX)


def _axes(size: int) -> tuple[np.ndarray, np.ndarray]:
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    return axis[None], axis[:, None]


def _directed(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return (S, S) float32, a coordinate of range about [-1, 1] in a random direction."""
    x, y = _axes(size)
    angle = rng.uniform(0.0, 2.0 * math.pi)
    return np.float32(math.cos(angle)) * x + np.float32(math.sin(angle)) * y


def _noise(rng: np.random.Generator, size: int, _photos: Photos) -> np.ndarray:
    exponent = rng.uniform(0.8, 1.8)
    picture = _colored(rng, smooth_noise(rng, size, exponent))
    if rng.random() < 0.4:  # add noise that is independent in each channel
        other = smooth_noise(rng, max(size // 4, 4), exponent, 3) * 255.0
        other = cv2.resize(other.astype(np.uint8), (size, size), interpolation=cv2.INTER_LINEAR)
        picture = cv2.addWeighted(picture, 0.65, other, 0.35, 0.0)
    return picture


def _leaves(rng: np.random.Generator, size: int, _photos: Photos) -> np.ndarray:
    """Draw dead leaves: discs of power-law radii that occlude each other (Lee et al. 2001)."""
    smallest = rng.uniform(0.02, 0.06)
    count = int(min(2.5 / smallest**1.5, 260))
    radius = smallest * (1.0 - rng.random(count) * (1.0 - (smallest / 0.5) ** 1.5)) ** (-1 / 1.5)
    colors = palette(rng, int(rng.integers(3, 9)))
    colors = colors[rng.integers(len(colors), size=count)] + rng.normal(0.0, 14.0, (count, 3))
    colors = np.clip(colors, 0.0, 255.0).tolist()
    centers = rng.uniform(0.0, size, (count, 2)).astype(int).tolist()
    axes = np.maximum(radius[:, None] * size * rng.uniform(0.5, 1.0, (count, 2)), 1.0)
    axes = axes.astype(int).tolist()
    turns = rng.uniform(0.0, 180.0, count).tolist()
    canvas = np.full((size, size, 3), colors[0], np.uint8)
    boxes = rng.random() < 0.3
    for color, (x, y), (a, b), turn in zip(colors, centers, axes, turns, strict=True):
        if boxes:
            cv2.rectangle(canvas, (x - a, y - b), (x + a, y + b), color, cv2.FILLED)
        else:
            cv2.ellipse(canvas, (x, y), (a, b), turn, 0, 360, color, cv2.FILLED)
    return canvas


def _gradient(rng: np.random.Generator, size: int, _photos: Photos) -> np.ndarray:
    if rng.random() < 0.5:
        field = 0.5 + 0.5 * _directed(rng, size)
    else:
        x, y = _axes(size)
        at_x, at_y = rng.uniform(-0.7, 0.7, 2).astype(np.float32)
        field = np.sqrt((x - at_x) ** 2 + (y - at_y) ** 2) * np.float32(0.6)
    return _colored(rng, field)


def _waves(rng: np.random.Generator, size: int, _photos: Photos) -> np.ndarray:
    """Draw stripes, straight or distorted by noise, with soft or hard edges."""
    phase = _directed(rng, size) * np.float32(rng.uniform(6.0, 50.0))
    if rng.random() < 0.6:
        bend = cv2.resize(smooth_noise(rng, 16, 1.8), (size, size), interpolation=cv2.INTER_CUBIC)
        phase += bend * np.float32(rng.uniform(2.0, 14.0))
    hardness = np.float32(rng.choice([0.5, 1.0, 4.0]))
    return _colored(rng, np.clip(0.5 + hardness * np.sin(phase), 0.0, 1.0))


def _dots(rng: np.random.Generator, size: int, _photos: Photos) -> np.ndarray:
    """Draw a rotated grid of dots or of a checkerboard."""
    x, y = _axes(size)
    angle, rate = rng.uniform(0.0, math.pi), rng.uniform(8.0, 36.0)
    cos, sin = np.float32(rate * math.cos(angle)), np.float32(rate * math.sin(angle))
    product = np.sin(cos * x + sin * y) * np.sin(cos * y - sin * x)
    threshold = np.float32(rng.choice([0.0, 0.3, 0.5]))
    return _colored(rng, np.clip(0.5 + 6.0 * (product - threshold), 0.0, 1.0))


def _flat(rng: np.random.Generator, size: int, _photos: Photos) -> np.ndarray:
    """Draw one colour with weak noise of low frequency."""
    blotches = smooth_noise(rng, max(size // 4, 4), 1.5) - 0.5
    blotches = cv2.resize(blotches, (size, size)) * np.float32(rng.uniform(0.0, 40.0))
    return cv2.convertScaleAbs(np.maximum(palette(rng, 1)[0] + blotches[..., None], 0.0))


def _photo(rng: np.random.Generator, size: int, photos: Photos) -> np.ndarray:
    """Crop a square of a photo; in some cases mirror it or permute its colour channels."""
    photo = photos[rng.integers(len(photos))]
    height, width = photo.shape[:2]
    side = max(int(min(height, width) * rng.uniform(0.25, 1.0)), min(8, height, width))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = photo[top : top + side, left : left + side]
    how = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    image = cv2.resize(crop, (size, size), interpolation=how)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    if rng.random() < 0.2:
        image = image[..., rng.permutation(3)]
    return np.ascontiguousarray(image)


KINDS: dict[str, Callable[[np.random.Generator, int, Photos], np.ndarray]] = {
    'noise': _noise,
    'leaves': _leaves,
    'gradient': _gradient,
    'waves': _waves,
    'dots': _dots,
    'flat': _flat,
    'photo': _photo,
}
_KIND_SHARES = np.array([0.28, 0.16, 0.07, 0.09, 0.06, 0.09, 0.25])


def texture(
    rng: np.random.Generator, size: int, photos: Photos, kind: str | None = None
) -> np.ndarray:
    """Draw a random texture.

    Args:
        rng: Source of randomness.
        size: Side in pixels, at least 4.
        photos: (H, W, 3) uint8 RGB images to crop from; may be empty.
        kind: One of `KINDS`; None = any that is possible.

    Returns:
        (size, size, 3) uint8 RGB, contiguous.

    Raises:
        ValueError: The size is too small, the kind is unknown, or 'photo' is asked for without
            photos.
    """
    if size < 4:
        raise ValueError(f'size: expected 4 pixels or more, got {size}')
    if kind is None:
        shares = _KIND_SHARES if len(photos) else _KIND_SHARES[:-1]
        kind = tuple(KINDS)[rng.choice(len(shares), p=shares / shares.sum())]
    if kind not in KINDS:
        raise ValueError(f'kind: expected one of {", ".join(KINDS)}, got {kind!r}')
    if kind == 'photo' and not len(photos):
        raise ValueError("kind 'photo' needs photos, got none")
    return KINDS[kind](rng, size, photos)
