"""Objects that move through a clip: cut out of images, moved, drawn in order of depth.

Shape legend: T frames, S side of the square images, K objects that are in the images already.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.data import motion
from robust_vos_ros.data.layers import Layer, paste

_MARGIN = 3  # px around a cut-out object
_HALO_PX = 9  # also replaced around a removed object: its soft outline
_SEAM_PX = 2.0  # blur of the border between image and filling


@dataclasses.dataclass(frozen=True, slots=True)
class MovingObject:
    """One object and its motion.

    Attributes:
        layer: Its appearance.
        path: (T, 2, 3) matrices, pixels of the layer -> pixels of the image.
        shadow: Whether it casts a shadow.
        behind: Whether it passes behind the objects that are in the images already.
    """

    layer: Layer
    path: np.ndarray
    shadow: bool = False
    behind: bool = False


def draw(images: np.ndarray, masks: np.ndarray, objects: Sequence[MovingObject]) -> np.ndarray:
    """Draw objects into a clip, the last one in front.

    Args:
        images: (T, S, S, 3) uint8, changed in place.
        masks: (K, T, S, S) uint8 of the objects that are in the images already.
        objects: N of them.

    Returns:
        (K + N, T, S, S) uint8 masks of what is visible of each object.
    """
    count, num_frames = len(masks), len(images)
    out = np.zeros((count + len(objects), *images.shape[:3]), np.uint8)
    out[:count] = masks
    for t in range(num_frames):
        before = masks[:, t].max(axis=0) if count else None
        for row, item in enumerate(objects, count):
            paste(
                images[t], out[: row + 1, t], item.layer.at(t), item.path[t], shadow=item.shadow,
                in_front=before if item.behind else None,
            )  # fmt: skip
    return out


def cut_in_place(image: np.ndarray, mask: np.ndarray) -> tuple[Layer, np.ndarray]:
    """Cut an object out of an image.

    Args:
        image: (S, S, 3) uint8.
        mask: (S, S) uint8, not empty.

    Returns:
        The object, and the (2, 3) matrix from its pixels to those of the image.
    """
    x, y, width, height = cv2.boundingRect(mask)
    left, top = max(0, x - _MARGIN), max(0, y - _MARGIN)
    window = slice(top, y + height + _MARGIN), slice(left, x + width + _MARGIN)
    alpha = cv2.GaussianBlur(mask[window].astype(np.float32), (3, 3), 0)
    place = np.array([[1.0, 0.0, left], [0.0, 1.0, top]])
    return Layer([image[window].copy()], [alpha]), place


def deform(rng: np.random.Generator, layer: Layer, num_frames: int) -> Layer:
    """Return a layer of one frame as one of T frames that changes its shape smoothly."""
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


def draw_path(
    rng: np.random.Generator,
    num_frames: int,
    size: int,
    *,
    center: tuple[float, float],
    away: float,
    far: float,
    speed: float = 1.0,
) -> np.ndarray:
    """Draw the motion of an object: a little, across the image, or out of it and back.

    Args:
        rng: Source of randomness.
        num_frames: T.
        size: Side of the image in pixels.
        center: (x, y) of the object.
        away: Share of objects that leave the image and come back (in clips of 4 frames or more).
        far: Share of the others that may cross the image.
        speed: Factor of the motion of these others.

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
        rng, num_frames, size=size, shift=shift * speed, turn_deg=25 * speed,
        log_scale=0.3 * speed, shear=0.1 * speed, center=center,
    )  # fmt: skip
    return path[::-1] if rng.random() < 0.5 else path


def inpaint(rng: np.random.Generator, image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return an image without what is in a hole; its outline does not stay either.

    In half of the cases the hole shows the mirrored image where that has no hole itself. What is
    left is filled smoothly from around the hole.

    Args:
        rng: Source of randomness.
        image: (S, S, 3) uint8.
        hole: (S, S) uint8, 1 where the image is replaced.
    """
    hole = cv2.dilate(hole, np.ones((_HALO_PX, _HALO_PX), np.uint8))
    filling = _smooth_fill(image, hole)
    if rng.random() < 0.5:
        other = hole[:, ::-1] > 0
        filling = np.where(other[..., None], filling, image[:, ::-1])
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), _SEAM_PX)
    soft = np.maximum(soft, hole)[..., None]  # 1 in the hole: nothing of the object stays visible
    return (image + soft * (filling.astype(np.float32) - image)).astype(np.uint8)


def _smooth_fill(image: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill a hole from around it, from coarse to fine (a pull-push pyramid)."""
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
