"""The generated clip: a fish swims behind a rock and comes out again, a starfish crawls past.

World coordinates are pixels of the image at time 0; the camera moves slowly.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from robust_vos_ros.demo.art import (
    LIGHT,
    MARGIN,
    SIZE_HW,
    Sprite,
    draw_fish,
    draw_rock,
    draw_sea,
    draw_star,
    mix,
)

FPS = 15.0
NUM_FRAMES = 150
FISH, STAR = 'fish', 'starfish'
_SEED = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Pose:
    """Pose of a sprite: centre in the image, scale, rotation and phase of its own motion."""

    x: float
    y: float
    scale: float
    angle: float
    phase: float


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """One rendered frame.

    Attributes:
        rgb: (H, W, 3) uint8.
        alphas: (H, W) float32 coverage of the visible part of each object, in [0, 1].
        visible_share: Share of each object's area inside the image that is not occluded.
        rock: (H, W) float32 coverage of the rock in [0, 1], occluded or not.
    """

    rgb: np.ndarray
    alphas: dict[str, np.ndarray]
    visible_share: dict[str, float]
    rock: np.ndarray


class Scene:
    """The whole clip; `render(index)` returns any frame."""

    def __init__(self, seed: int = _SEED) -> None:
        rng = np.random.default_rng(seed)
        self._sea = draw_sea(rng)
        self._rock, self._rock_alpha = draw_rock(rng)
        shade = cv2.GaussianBlur(np.roll(self._rock_alpha, 14, axis=1), (0, 0), 16)
        self._backdrop = np.clip(
            mix(self._sea * (1.0 - 0.35 * shade)[..., None], self._rock, self._rock_alpha), 0, 255
        ).astype(np.uint8)
        self._sprites = {FISH: draw_fish(rng), STAR: draw_star(rng)}

    def render(self, index: int) -> View:
        """Render frame `index` in [0, NUM_FRAMES)."""
        time_s = index / FPS
        camera = _camera_xy(time_s)
        rgb = _crop(self._backdrop, camera)
        rock_alpha = _crop(self._rock_alpha, camera)
        alphas: dict[str, np.ndarray] = {}
        areas: dict[str, float] = {}
        for name, pose in _poses(time_s, camera).items():
            region, color, alpha = _place(self._sprites[name], pose, bend=name == FISH)
            areas[name] = float(alpha.sum())
            behind = rgb[region].astype(np.float32)
            if name == FISH:
                alpha = alpha * (1.0 - rock_alpha[region])  # it swims behind the rock
            else:
                shadow = cv2.GaussianBlur(np.roll(alpha, (9, 10), axis=(0, 1)), (0, 0), 6)
                behind *= (1.0 - 0.4 * shadow)[..., None]
                for other in alphas.values():  # the starfish is nearest
                    other[region] *= 1.0 - alpha
            rgb[region] = np.clip(mix(behind, color, alpha) + 0.5, 0, 255).astype(np.uint8)
            alphas[name] = np.zeros(SIZE_HW, np.float32)
            alphas[name][region] = alpha
        visible = {name: float(alphas[name].sum()) / area for name, area in areas.items()}
        return View(rgb, alphas, visible, rock_alpha)


def poses_at(index: int) -> dict[str, Pose]:
    """Return the poses of the objects in frame `index`, from the farthest to the nearest."""
    time_s = index / FPS
    return _poses(time_s, _camera_xy(time_s))


def _camera_xy(time_s: float) -> tuple[float, float]:
    """Return the offset of the camera in world coordinates."""
    x = 34.0 * math.sin(2 * math.pi * time_s / 12.0)
    return x, 7.0 * math.sin(2 * math.pi * time_s / 5.0)


def _poses(time_s: float, camera: tuple[float, float]) -> dict[str, Pose]:
    """Return the poses of the objects in the image, from the farthest to the nearest."""
    fish_x = 92.0 + 11.0 * time_s + 322.0 * _ramp(time_s, 1.6, 7.0)
    fish_y = 185.0 + 16.0 * math.sin(0.9 * time_s)
    fish = Pose(
        fish_x - camera[0],
        fish_y - camera[1],
        0.96 + 0.06 * math.sin(0.6 * time_s),
        0.16 * math.cos(0.9 * time_s),
        7.0 * time_s,
    )
    star = Pose(
        470.0 - 24.0 * time_s + 20.0 * math.sin(0.7 * time_s) - camera[0],
        402.0 + 5.0 * math.sin(0.8 * time_s + 0.6) - camera[1],
        0.88 + 0.08 * math.sin(0.55 * time_s),
        0.32 * time_s,
        2.0 * time_s,
    )
    return {FISH: fish, STAR: star}


def _ramp(x: float, low: float, high: float) -> float:
    """Return a ramp from 0 to 1 between low and high, linear with smooth ends."""
    soft = 0.12
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    edge = min(t, 1 - t)
    part = edge * edge / (2 * soft) if edge < soft else edge - soft / 2
    part /= 1 - soft
    return part if t < 0.5 else 1 - part


def _crop(world: np.ndarray, camera: tuple[float, float]) -> np.ndarray:
    """Crop the view of the camera out of the background, with subpixel accuracy."""
    move = np.array([[1, 0, MARGIN + camera[0]], [0, 1, MARGIN + camera[1]]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(world, move, SIZE_HW[::-1], flags=flags)


def _place(
    sprite: Sprite, pose: Pose, *, bend: bool
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Draw a sprite.

    Returns:
        The window of the image around it, and the (h, w, 3) float32 colours and (h, w) float32
        coverage in the window.
    """
    height, width = SIZE_HW
    half = int(sprite.alpha.shape[0] * pose.scale * 0.72) + 20  # any rotation, and the shadow
    x0, x1 = max(int(pose.x) - half, 0), min(int(pose.x) + half, width)
    y0, y1 = max(int(pose.y) - half, 0), min(int(pose.y) + half, height)
    x, y = np.meshgrid(
        np.arange(x0, x1, dtype=np.float32) - pose.x, np.arange(y0, y1, dtype=np.float32) - pose.y
    )
    cos, sin = math.cos(pose.angle), math.sin(pose.angle)
    u, v = (cos * x + sin * y) / pose.scale, (cos * y - sin * x) / pose.scale
    if bend:  # the tail beats, the head hardly moves
        tail = np.clip((45.0 - u) / 110.0, 0, 1.2) ** 2
        v = v + 9.0 * tail * np.sin(pose.phase + u / 38.0)
        u = u * (1.0 + 0.05 * np.sin(pose.phase) * (u < 0))
    else:  # the arms sway
        swing = 0.10 * (np.hypot(u, v) / 70.0) * math.sin(pose.phase)
        u, v = u + swing * v, v - swing * u
    center = (sprite.alpha.shape[0] - 1) / 2
    maps = (u + center).astype(np.float32), (v + center).astype(np.float32)
    normals = cv2.remap(sprite.normals, *maps, cv2.INTER_LINEAR)
    color = (
        cv2.remap(sprite.albedo, *maps, cv2.INTER_LINEAR) * _shade(normals, cos, sin)[..., None]
    )
    return (slice(y0, y1), slice(x0, x1)), color, cv2.remap(sprite.alpha, *maps, cv2.INTER_LINEAR)


def _shade(normals: np.ndarray, cos: float, sin: float) -> np.ndarray:
    """Return the (h, w) brightness of (h, w, 2) normals after a rotation."""
    nx = cos * normals[..., 0] - sin * normals[..., 1]
    ny = sin * normals[..., 0] + cos * normals[..., 1]
    nz = np.sqrt(np.clip(1.0 - nx * nx - ny * ny, 0.0, 1.0))
    lambert = np.clip(nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2], 0.0, 1.0)
    return 0.42 + 0.82 * lambert + 0.28 * lambert**12
