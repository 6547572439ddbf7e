"""Corruptions by weather and light: fog, rain, snow, night, drops on the lens; coherent in time.

Each function maps (image, level, seed, frame) to an image, all (H, W, 3) uint8 RGB. `level` gives
the severity, from 0 (nothing) to 5, of each parameter at this frame. Where particles start, how
fast they fall and where fog is dense depends on the seed alone; the frame index moves them.
"""

from __future__ import annotations

import functools
import math

import cv2
import numpy as np

from robust_vos_ros.data.severity import MAX_SEVERITY, Level

_RATE_HZ = 24.0  # the motion of particles is made for this rate


def fog(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Add fog by Koschmieder's law, I = J t + A (1 - t), t = exp(-beta d).

    The depth is not known: the distance d grows with the height in the image, as over open ground.
    The density beta varies smoothly in space and drifts with the wind.
    """
    height, width = image.shape[:2]
    field, wind, light = _fog_of(seed)
    small = (max(2, width // 8), max(2, height // 8))
    y = np.linspace(1.0, 0.0, small[1], dtype=np.float32)[:, None]
    distance = 0.35 + 1.15 * y**1.5
    density = _window(field, small, wind * frame)
    beta = 0.36 * level('density') * (0.65 + 0.7 * density)
    clear = cv2.resize(np.exp(-beta * distance).astype(np.float32), (width, height))
    air = np.empty_like(image)
    air[:] = light
    return cv2.blendLinear(image, air, clear, np.float32(1.0) - clear)


@functools.lru_cache(64)
def _fog_of(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a tileable (256, 256) float32 density in [0, 1], its wind and the air's colour."""
    rng = np.random.default_rng((seed, 1))
    field = np.zeros((256, 256), np.float32)
    for cells, weight in ((4, 1.0), (8, 0.6), (16, 0.35), (32, 0.15)):
        grid = rng.random((cells, cells), np.float32)
        tiled = np.pad(grid, 2, mode='wrap')
        step = 256 // cells
        large = cv2.resize(tiled, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        field += weight * large[2 * step : -2 * step, 2 * step : -2 * step]
    low, high = np.percentile(field, (2, 98))
    field = np.clip((field - low) / (high - low), 0.0, 1.0)
    angle = rng.uniform(-0.4, 0.4) + math.pi * rng.integers(2)
    wind = rng.uniform(0.3, 1.2) * np.array([math.cos(angle), math.sin(angle)])
    grey = rng.uniform(190, 230)
    return field, wind, np.clip(grey + rng.uniform(-6, 6, 3), 0, 255).astype(np.uint8)


def _window(field: np.ndarray, size_wh: tuple[int, int], shift_xy: np.ndarray) -> np.ndarray:
    """Return a (h, w) window into a tileable field, moved by a shift in cells."""
    x = (np.arange(size_wh[0], dtype=np.float32) + np.float32(shift_xy[0] % 256)) % 256
    y = (np.arange(size_wh[1], dtype=np.float32) + np.float32(shift_xy[1] % 256)) % 256
    padded = np.pad(field, ((0, 1), (0, 1)), mode='wrap')
    map_x = np.broadcast_to(x, (size_wh[1], size_wh[0]))
    map_y = np.broadcast_to(y[:, None], (size_wh[1], size_wh[0]))
    return cv2.remap(
        padded, np.ascontiguousarray(map_x), np.ascontiguousarray(map_y), cv2.INTER_LINEAR
    )


def rain(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Add falling streaks of rain, and make the image greyer and darker."""
    height, width = image.shape[:2]
    place, nearness, slant = _drops_of(seed)
    count = int(len(place) * level('amount') / MAX_SEVERITY)
    place, nearness = place[:count], nearness[:count]
    length = (0.02 + 0.09 * nearness) * height * (0.6 + 0.12 * level('length'))
    fall = (0.05 + 0.16 * nearness) * frame  # share of the height
    # Streaks wrap around outside of the image, so that none appears or vanishes inside.
    y = ((place[:, 1] + fall) % 1.3 - 0.15) * height
    x = ((place[:, 0] + slant * fall * height / width) % 1.2 - 0.1) * width
    direction = np.array([slant, 1.0]) / math.hypot(slant, 1.0)
    layer = np.zeros((height, width), np.uint8)
    for low, high, thickness, light in ((0.0, 0.6, 1, 90), (0.6, 0.9, 1, 150), (0.9, 1.0, 2, 190)):
        rows = np.flatnonzero((nearness >= low) & (nearness < high))
        head = np.stack([x[rows], y[rows]], axis=1)
        tail = head - direction * length[rows, None]
        lines = np.rint(np.stack([head, tail], axis=1) * 16).astype(np.int32)
        cv2.polylines(layer, list(lines), False, light, thickness, cv2.LINE_AA, 4)
    layer = cv2.GaussianBlur(layer, (3, 3), 0)
    dull = _desaturate(image, 0.08 * level('gloom'))
    dull = cv2.convertScaleAbs(dull, alpha=1.0 - 0.05 * level('gloom'), beta=4.0 * level('gloom'))
    opacity = 0.5 + 0.1 * level('amount')
    share = layer.astype(np.float32) * np.float32(opacity / 255.0)
    bright = np.full_like(image, 215)
    return cv2.blendLinear(dull, bright, 1.0 - share, share)


@functools.lru_cache(64)
def _drops_of(seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return (N, 2) places in [0, 1.2) x [0, 1.3), (N,) nearness in [0, 1) and the slant."""
    rng = np.random.default_rng((seed, 2))
    count = 2400
    place = rng.random((count, 2)) * (1.2, 1.3)
    return place, rng.random(count) ** 2.0, float(rng.uniform(-0.35, 0.35))


def snow(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Add falling flakes, near ones large and soft, and make the image paler."""
    height, width = image.shape[:2]
    place, nearness, phase, wind = _flakes_of(seed)
    count = int(len(place) * level('amount') / MAX_SEVERITY)
    place, nearness, phase = place[:count], nearness[:count], phase[:count]
    fall = (0.006 + 0.03 * nearness) * frame
    sway = 0.012 * np.sin(2.0 * math.pi * (0.6 * frame / _RATE_HZ + phase))
    y = ((place[:, 1] + fall) % 1.2 - 0.1) * height
    x = ((place[:, 0] + wind * fall + sway) % 1.2 - 0.1) * width
    radius = (0.0012 + 0.009 * nearness**2) * height
    far, near = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    centers = np.rint(np.stack([x, y], axis=1) * 16).astype(int)
    sizes = np.maximum(8, np.rint(radius * 16).astype(int))
    for center, size, close in zip(
        centers.tolist(), sizes.tolist(), (nearness > 0.7).tolist(), strict=True
    ):
        cv2.circle(near if close else far, center, size, 235, -1, cv2.LINE_AA, 4)
    blur = max(1, round(height / 160)) * 2 + 1
    layer = cv2.max(cv2.GaussianBlur(far, (3, 3), 0), cv2.GaussianBlur(near, (blur, blur), 0))
    pale = _desaturate(image, 0.09 * level('glare'))
    pale = cv2.convertScaleAbs(pale, alpha=1.0 - 0.035 * level('glare'), beta=9.0 * level('glare'))
    share = layer.astype(np.float32) * np.float32(1.0 / 255.0)
    return cv2.blendLinear(pale, np.full_like(image, 245), 1.0 - share, share)


@functools.lru_cache(64)
def _flakes_of(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    rng = np.random.default_rng((seed, 3))
    count = 2000
    place = rng.random((count, 2)) * 1.2
    return place, rng.random(count) ** 1.5, rng.random(count), float(rng.normal(0.0, 0.5))


def night(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Darken the image: less light, gamma, blue tint, glow of lamps, photon and read noise."""
    rng = np.random.default_rng((seed, 4, frame))
    gain = 1.0 - 0.13 * level('darkness')
    shades = np.linspace(0.0, 1.0, 256)
    dark = 255.0 * gain * shades ** (1.0 + 0.25 * level('darkness'))
    blue = min(1.0, level('darkness'))
    table = np.stack([dark * (1.0 + blue * c) for c in (-0.08, -0.03, 0.06)], axis=-1)
    out = cv2.LUT(image, np.clip(table, 0, 255).astype(np.uint8)[None])
    out = cv2.add(out, _glow(image, level('glow')))
    # The variance of photon noise is proportional to the signal, that of read noise is constant.
    photons = 2000.0 / max(1e-6, level('noise')) ** 2
    spread = np.sqrt(shades / photons + (0.004 * level('noise')) ** 2) * 255.0
    sigma = cv2.LUT(out, spread.astype(np.float32))
    noise = rng.standard_normal(image.shape, np.float32)
    return cv2.add(out, cv2.multiply(noise, sigma), dtype=cv2.CV_8U)


def _glow(image: np.ndarray, strength: float) -> np.ndarray:
    """Return the glow around bright areas, (H, W, 3) uint8."""
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA
    )
    bright = cv2.subtract(small, (215, 215, 215, 0))
    spread = cv2.GaussianBlur(bright, (0, 0), max(1.0, width / 8 / 30))
    glow = cv2.convertScaleAbs(spread, alpha=0.5 * strength)
    return cv2.resize(glow, (width, height))


def droplets(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
    """Add drops on the lens: each shows the scene upside down, small and blurred.

    Some drops move down slowly.
    """
    height, width = image.shape[:2]
    place, radius, creep = _lens_of(seed)
    count = math.ceil(len(place) * level('amount') / MAX_SEVERITY)
    step = 4  # the displacement is smooth, so it is made at a quarter of the size
    gx, gy = np.meshgrid(
        np.arange(0, width, step, dtype=np.float32), np.arange(0, height, step, dtype=np.float32)
    )
    map_x, map_y = gx.copy(), gy.copy()
    wet = np.zeros_like(gx)
    for (px, py), r, v in zip(place[:count], radius[:count], creep[:count], strict=True):
        cx, cy = px * width, ((py + v * frame / _RATE_HZ) % 1.1 - 0.05) * height
        size = r * height
        dx, dy = (gx - cx) / size, (gy - cy) / (1.15 * size)
        inside = dx * dx + dy * dy
        body = inside < 1.0
        bend = -2.5 * (1.0 - 0.5 * inside[body])
        map_x[body] = cx + dx[body] * size * bend
        map_y[body] = cy + dy[body] * size * bend
        wet[body] = np.minimum(1.0, 3.0 * (1.0 - inside[body]))
    share = cv2.resize(wet, (width, height)) * np.float32(0.9)
    full = (width, height)
    seen = cv2.remap(
        cv2.blur(image, (5, 5)),
        cv2.resize(map_x, full),
        cv2.resize(map_y, full),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return cv2.blendLinear(image, cv2.blur(seen, (5, 5)), 1.0 - share, share)


@functools.lru_cache(64)
def _lens_of(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places in [0, 1), radii as shares of the height and speeds in heights per second."""
    rng = np.random.default_rng((seed, 5))
    count = 60
    creep = np.where(rng.random(count) < 0.3, rng.uniform(0.01, 0.08, count), 0.0)
    return rng.random((count, 2)), rng.uniform(0.015, 0.075, count), creep


def _desaturate(image: np.ndarray, share: float) -> np.ndarray:
    """Mix an image with its grey version."""
    share = min(1.0, share)
    grey = np.full((3, 3), share / 3.0) + np.eye(3) * (1.0 - share)
    return cv2.transform(image, grey)
