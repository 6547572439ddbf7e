"""Objects that move through a clip on their own: cut out of pictures, placed, drawn in order.

Shape legend: T frames, S side of the square images, K objects of the pictures underneath.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.data import motion
from robust_vos_ros.data.layers import Layer, blend

_MARGIN = 3  # px around a cut-out object
_HALO_PX = 9  # what is replaced around an object that was cut out: its soft outline
_SEAM_PX = 2.0  # blur of the border between picture and filling


@dataclasses.dataclass(frozen=True, slots=True)
class Actor:
    """One object and where it goes.

    Attributes:
        layer: What it looks like.
        path: (T, 2, 3) matrices, pixels of the layer -> pixels of the image.
        shadow: Whether it darkens what is around it.
        behind: Whether it passes behind the objects of the pictures underneath.
    """

    layer: Layer
    path: np.ndarray
    shadow: bool = False
    behind: bool = False


def draw(images: np.ndarray, masks: np.ndarray, actors: Sequence[Actor]) -> np.ndarray:
    """Draw actors into a clip, the last one in front of the others.

    Args:
        images: (T, S, S, 3) uint8, changed in place.
        masks: (K, T, S, S) uint8 of the objects underneath.
        actors: N of them.

    Returns:
        (K + N, T, S, S) uint8 masks of what is visible of each object.
    """
    count, num_frames = len(masks), len(images)
    out = np.zeros((count + len(actors), *images.shape[:3]), np.uint8)
    out[:count] = masks
    for t in range(num_frames):
        under = masks[:, t].max(axis=0) if count else None
        for row, actor in enumerate(actors, count):
            placed = blend(
                images[t], actor.layer.at(t), actor.path[t], shadow=actor.shadow,
                in_front=under if actor.behind else None,
            )  # fmt: skip
            if placed is None:
                continue
            (rows, columns), solid = placed
            out[:row, t, rows, columns][:, solid] = 0
            out[row, t, rows, columns][solid] = 1
    return out


def cut_in_place(image: np.ndarray, mask: np.ndarray) -> tuple[Layer, np.ndarray]:
    """Cut an object out of a picture.

    Args:
        image: (S, S, 3) uint8.
        mask: (S, S) uint8, not empty.

    Returns:
        The object, and the (2, 3) matrix from its pixels to those of the picture.
    """
    x, y, width, height = cv2.boundingRect(mask)
    left, top = max(0, x - _MARGIN), max(0, y - _MARGIN)
    window = slice(top, y + height + _MARGIN), slice(left, x + width + _MARGIN)
    alpha = cv2.GaussianBlur(mask[window].astype(np.float32), (3, 3), 0)
    place = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
    return Layer([image[window].copy()], [alpha]), place


def deform(rng: np.random.Generator, layer: Layer, num_frames: int) -> Layer:
    """Return a layer of one look that changes its shape smoothly over the clip."""
    color, alpha = layer.at(0)
    height, width = alpha.shape
    side = max(height, width)
    amplitude = rng.uniform(0.01, 0.05) * side
    fields = motion.field_path(rng, num_frames, side, cells=3, amplitude=amplitude)
    eye, colors, alphas = np.eye(2, 3), [], []
    for field in fields:
        window = np.ascontiguousarray(field[:height, :width])
        colors.append(motion.warp(color, eye, window, border='edge'))
        alphas.append(motion.warp(alpha, eye, window, border='zero'))
    return Layer(colors, alphas)


def travel(
    rng: np.random.Generator,
    num_frames: int,
    size: int,
    *,
    center: tuple[float, float],
    away: float,
    far: float,
    tempo: float = 1.0,
) -> np.ndarray:
    """Draw how an object moves: a little, across the image, or out of it and back.

    Args:
        rng: Source of randomness.
        num_frames: T.
        size: Side of the image in pixels.
        center: (x, y) of the object.
        away: Share of objects that leave the image and come back (in clips of 4 frames or more).
        far: Share of the others that may cross the image.
        tempo: Factor of the motion of these others.

    Returns:
        (T, 2, 3) matrices; the identity in the first or last frame.
    """
    if num_frames >= 4 and rng.random() < away:
        angle = rng.uniform(0.0, 2.0 * math.pi)
        reach = size * rng.uniform(0.6, 1.3) * np.array([math.cos(angle), math.sin(angle)])
        path = np.tile(np.eye(2, 3), (num_frames, 1, 1))
        path[:, :, 2] = np.sin(np.linspace(0.0, math.pi, num_frames))[:, None] * reach
        return path
    shift = size * (0.7 if rng.random() < far else 0.2)
    path = motion.affine_path(
        rng, num_frames, size=size, shift=shift * tempo, turn_deg=25 * tempo,
        log_scale=0.3 * tempo, shear=0.1 * tempo, center=center,
    )  # fmt: skip
    return path[::-1] if rng.random() < 0.5 else path


def fill(rng: np.random.Generator, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return a picture without what is in a hole.

    Half of the holes show the mirrored picture where it has no hole itself; the rest is filled
    smoothly from around. Outlines of what was cut out do not stay.

    Args:
        rng: Source of randomness.
        image: (S, S, 3) uint8.
        hole: (S, S) uint8, 1 where the picture is to be replaced.
    """
    hole = cv2.dilate(hole, np.ones((_HALO_PX, _HALO_PX), np.uint8))
    filling = _smooth_fill(image, hole)
    if rng.random() < 0.5:
        other = hole[:, ::-1] > 0
        filling = np.where(other[..., None], filling, image[:, ::-1])
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), _SEAM_PX)
    soft = np.maximum(soft, hole)[..., None]  # nothing of the object shines through
    return (image + soft * (filling.astype(np.float32) - image)).astype(np.uint8)


def _smooth_fill(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill a hole by means of what is around it, from coarse to fine (a pull-push pyramid)."""
    weight = 1.0 - hole.astype(np.float32)
    levels = [(image * weight[..., None], weight)]
    while min(levels[-1][1].shape) > 2:
        color, share = levels[-1]
        levels.append((cv2.pyrDown(color), cv2.pyrDown(share)))
    total, share = levels[-1]
    filled = total / np.maximum(share, 1e-6)[..., None]
    for total, share in reversed(levels[:-1]):
        size = share.shape[1], share.shape[0]
        coarse = cv2.resize(filled, size, interpolation=cv2.INTER_LINEAR)
        own = total / np.maximum(share, 1e-6)[..., None]
        known = np.minimum(share, 1.0)[..., None]
        filled = known * own + (1.0 - known) * coarse
    return np.clip(filled, 0.0, 255.0).astype(np.uint8)
