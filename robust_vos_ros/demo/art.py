"""Images of the generated clip: a fish, a starfish, a rock and the sea around them.

All are computed from smooth noise and formulas, without image files, with always the same pixels.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

SIZE_HW = (480, 640)
# The background is larger than the view by this margin, so that the camera can move.
MARGIN = 60
# Direction to the light; x right, y down, z to the camera.
LIGHT = np.array([-0.45, -0.6, 0.66], np.float32)
_HORIZON_Y = 300.0
_ROCK_X = (214.0, 424.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Sprite:
    """An object, drawn around its centre; it is shaded again in every pose.

    Attributes:
        albedo: (S, S, 3) float32 RGB in [0, 255].
        normals: (S, S, 2) float32, x and y of the unit normals.
        alpha: (S, S) float32 coverage in [0, 1].
    """

    albedo: np.ndarray
    normals: np.ndarray
    alpha: np.ndarray


def noise(
    rng: np.random.Generator, size_hw: tuple[int, int], cell_px: float, octaves: int = 3
) -> np.ndarray:
    """Return (H, W) float32 smooth noise of mean 0 and standard deviation 1."""
    height, width = size_hw
    total = np.zeros(size_hw, np.float32)
    for octave in range(octaves):
        cell = cell_px / 2**octave
        grid = (int(height / cell) + 3, int(width / cell) + 3)
        coarse = rng.standard_normal(grid).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return (total - total.mean()) / total.std()


def _smoothstep(x: np.ndarray | float, low: float, high: float) -> np.ndarray:
    t = np.clip((np.asarray(x, np.float32) - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def mix(color_a: np.ndarray, color_b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Blend two colours, or images, by an (H, W) share of the second."""
    return color_a + (np.asarray(color_b, np.float32) - color_a) * share[..., None]


def _sprite(distance: np.ndarray, albedo: np.ndarray, *, bulge: float) -> Sprite:
    """Return a sprite from a signed distance (pixels, positive inside) and colours.

    `bulge` is the factor of its height, from which its normals are computed.
    """
    alpha = np.clip(distance + 0.5, 0.0, 1.0).astype(np.float32)
    depth = cv2.distanceTransform((distance > 0).astype(np.uint8), cv2.DIST_L2, 5)
    height = cv2.GaussianBlur(np.sqrt(depth) * bulge, (0, 0), 2.5)
    slope = np.stack(
        [cv2.Sobel(height, cv2.CV_32F, *d, scale=1 / 8) for d in ((1, 0), (0, 1))], -1
    )
    normals = -slope / np.sqrt(1.0 + (slope**2).sum(axis=-1, keepdims=True))
    return Sprite(albedo.astype(np.float32), normals.astype(np.float32), alpha)


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    axis = np.arange(size, dtype=np.float32) - (size - 1) / 2
    return np.meshgrid(axis, axis)


def draw_fish(rng: np.random.Generator) -> Sprite:
    """Draw an orange fish, 120 px long, facing right."""
    size = 160
    x, y = _grid(size)
    body = 1.0 - np.hypot((x - 9) / 50.0, (y - 1) / (30.0 - 0.1 * (x - 9)))
    tail_half = 6.0 + 0.62 * (-x - 30)
    tail = np.minimum.reduce(
        [tail_half - np.abs(y), -x - 28, x + 66 - 0.012 * y**2 * (y**2 < 900)]
    )
    dorsal = np.minimum(22 - np.hypot((x + 2) / 1.5, y + 20), 24 - np.abs(x + 4))
    belly = np.minimum(13 - np.hypot((x - 4) / 1.2, y - 26), 60 + x)
    distance = np.maximum.reduce([body * 30.0, tail, dorsal, belly])

    orange, back, pale, dark = (
        np.array(color, np.float32)
        for color in ([242, 122, 26], [206, 78, 14], [250, 170, 70], [44, 26, 22])
    )
    # Countershading, and rays in the fins.
    albedo = mix(orange, back, _smoothstep(-y, 6, 26))
    albedo = mix(albedo, pale, 0.8 * _smoothstep(y, 6, 24))
    albedo += 9.0 * noise(rng, (size, size), 14)[..., None]
    rays = np.sin((y - 0.5 * x) / 2.2) * _smoothstep(-x, 26, 44)
    albedo += 12.0 * rays[..., None]
    gill = np.abs(np.hypot(x - 44, y) - 18.0) + 4.0 * (x > 30)
    albedo = mix(albedo, back, 0.7 * (1.0 - _smoothstep(gill, 1.0, 2.6)))
    eye = np.hypot(x - 46, y + 7)
    albedo = mix(albedo, [250, 240, 220], 1.0 - _smoothstep(eye, 5.0, 6.5))
    albedo = mix(albedo, dark * 0.4, 1.0 - _smoothstep(eye, 3.2, 4.4))
    return _sprite(distance, albedo, bulge=6.5)


def draw_star(rng: np.random.Generator) -> Sprite:
    """Draw a crimson starfish with pale dots, 140 px across."""
    size = 172
    x, y = _grid(size)
    radius, theta = np.hypot(x, y), np.arctan2(y, x) + math.pi / 2
    arm = (
        np.abs((theta * 5 / (2 * math.pi) + 0.5) % 1.0 - 0.5) * 2.0
    )  # 0 on an arm's axis, 1 between
    reach = 27.0 + 44.0 * (1.0 - arm) ** 1.6
    distance = (reach - radius) * 0.55 + 0.9 * noise(rng, (size, size), 12)

    crimson, deep = np.array([196, 30, 58], np.float32), np.array([118, 12, 66], np.float32)
    pale = np.array([250, 205, 190], np.float32)
    albedo = mix(crimson, deep, np.clip(0.35 + 0.3 * noise(rng, (size, size), 16), 0, 1))
    albedo = mix(albedo, np.array([226, 70, 60], np.float32), 0.6 * _smoothstep(radius, 62.0, 8.0))
    across = arm * radius * math.pi / 5  # pixels from the arm's axis
    for spacing, line, size_px in ((11.0, 0.0, 3.1), (8.5, 9.0, 1.9)):
        along = (radius / spacing + 0.5) % 1.0 - 0.5
        dots = np.hypot(along * spacing, across - line)
        inside = _smoothstep(distance, 1.5, 3.5)
        albedo = mix(
            albedo, pale, inside * (1.0 - _smoothstep(dots, size_px - 0.8, size_px + 0.8))
        )
    return _sprite(distance, albedo, bulge=7.5)


def draw_sea(rng: np.random.Generator) -> np.ndarray:
    """Draw the (H, W, 3) float32 background: water above, sand below, far rocks between."""
    height, width = SIZE_HW[0] + 2 * MARGIN, SIZE_HW[1] + 2 * MARGIN
    y = np.arange(height, dtype=np.float32)[:, None] - MARGIN + np.zeros((1, width), np.float32)
    water = mix(np.array([150, 208, 214], np.float32), [52, 124, 150], _smoothstep(y, -60, 300))
    water += 5.0 * noise(rng, (height, width), 150, 2)[..., None]
    ridge = _HORIZON_Y - 44 + 24 * noise(rng, (1, width), 110, 3)
    far = np.array([40, 96, 112], np.float32) + 7.0 * noise(rng, (height, width), 26)[..., None]
    sea = mix(water, far, 0.75 * _smoothstep(y, ridge - 5, ridge + 5))
    near = _smoothstep(y, _HORIZON_Y, SIZE_HW[0])  # 0 at the horizon, 1 at the camera
    ripples = np.sin(y * y / 900 + 2.2 * noise(rng, (height, width), 120, 2))
    sand = mix(np.array([150, 166, 150], np.float32), [214, 196, 150], near)
    sand += (5.0 * ripples * (0.4 + near))[..., None]
    sand += (5.0 * noise(rng, (height, width), 9, 2) * near)[..., None]
    sand += (7.0 * noise(rng, (height, width), 70, 2))[..., None]
    return mix(sea, sand, _smoothstep(y, _HORIZON_Y - 4, _HORIZON_Y + 6))


def draw_rock(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the pillar of rock; returns (H, W, 3) float32 colours and (H, W) float32 coverage."""
    height, width = SIZE_HW[0] + 2 * MARGIN, SIZE_HW[1] + 2 * MARGIN
    rows = np.arange(height, dtype=np.float32)[:, None] - MARGIN
    x = np.arange(width, dtype=np.float32)[None] - MARGIN
    edges = [5.0 * noise(rng, (height, 1), 60, 4) for _ in range(2)]
    foot = 26.0 * _smoothstep(rows, 240, 330) ** 2
    left, right = _ROCK_X[0] + edges[0] - foot, _ROCK_X[1] + edges[1] + foot
    bottom = 326 + 5 * noise(rng, (1, width), 50, 3)
    inside = np.minimum(np.minimum(x - left, right - x), bottom - rows)
    bumps = noise(rng, (height, width), 90, 5) * 9.0
    round_px = np.sqrt(np.clip(1.0 - ((2 * x - left - right) / (right - left)) ** 2, 0.02, 1)) * 46
    relief = cv2.GaussianBlur(bumps + round_px, (0, 0), 1.2).astype(np.float32)
    slope = np.stack(
        [cv2.Sobel(relief, cv2.CV_32F, *d, scale=1 / 8) for d in ((1, 0), (0, 1))], -1
    )
    normal_z = 1.0 / np.sqrt(1.0 + (slope**2).sum(axis=-1))
    light = np.clip((LIGHT[2] - slope @ LIGHT[:2]) * normal_z, 0, 1.3)
    moss = _smoothstep(noise(rng, (height, width), 90, 4), 0.2, 1.8)
    colors = mix(np.array([104, 102, 110], np.float32), [94, 110, 98], moss)
    colors = colors * (0.38 + 0.85 * light)[..., None]
    return colors, np.clip(inside + 0.5, 0.0, 1.0).astype(np.float32)
