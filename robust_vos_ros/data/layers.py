"""Layers of rendered clips: drawn or cut-out objects, and how they are pasted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

_MAX_CUTOUT_PX = 160  # larger side of a cut-out object
_SHADOW_PX = 20  # reach of a shadow around its layer


@dataclasses.dataclass(frozen=True, slots=True)
class Layer:
    """An object in T' frames, before it is placed in a clip.

    Attributes:
        colors: (T', h, w, 3) uint8, RGB: an array or a list of frames.
        alphas: (T', h, w) float32, 0 to 1; likewise.
    """

    colors: Sequence[np.ndarray] | np.ndarray
    alphas: Sequence[np.ndarray] | np.ndarray

    def at(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the (h, w, 3) uint8 colours and (h, w) float32 alpha in frame t of a clip."""
        index = bounce(t, len(self.colors))
        return self.colors[index], self.alphas[index]


def bounce(t: int, count: int) -> int:
    """Return the frame at step t if `count` frames play forwards, then backwards, and so on."""
    step = t % max(1, 2 * count - 2)
    return step if step < count else 2 * count - 2 - step


def cut_out(images: np.ndarray, masks: np.ndarray, *, margin: int = 3) -> Layer:
    """Cut an object out of consecutive frames; frames that do not show it are left out.

    Args:
        images: (T', H, W, 3) uint8, RGB.
        masks: (T', H, W) uint8, not empty in the first frame.
        margin: Pixels kept around the object.

    Raises:
        ValueError: The first mask is empty.
    """
    if not masks[0].any():
        raise ValueError('masks: expected an object in the first frame, got none')
    ys, xs = np.nonzero(masks.any(axis=0))
    top, left = max(0, ys.min() - margin), max(0, xs.min() - margin)
    window = (slice(top, ys.max() + margin + 1), slice(left, xs.max() + margin + 1))
    height, width = masks[0][window].shape
    scale = min(1.0, _MAX_CUTOUT_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    colors, alphas = [], []
    for image, mask in zip(images, masks, strict=True):
        if not mask.any():
            continue
        colors.append(cv2.resize(image[window], size, interpolation=cv2.INTER_AREA))
        soft = cv2.GaussianBlur(mask[window].astype(np.float32), (3, 3), 0)
        alphas.append(cv2.resize(soft, size, interpolation=cv2.INTER_AREA))
    return Layer(np.stack(colors), np.stack(alphas))


def place_at(
    rng: np.random.Generator, layer: Layer, area_px: float, center: np.ndarray
) -> np.ndarray:
    """Return a (2, 3) matrix that places a layer, rotated and mirrored at random.

    Args:
        rng: Source of randomness.
        layer: What is placed.
        area_px: Its area in the image, in pixels.
        center: (2,) x and y of its centre in the image, in pixels.
    """
    alpha = layer.alphas[0]
    height, width = alpha.shape
    scale = math.sqrt(area_px / max(float(alpha.sum()), 1.0))
    angle = rng.normal(0.0, 0.35)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    linear = turn @ np.diag([rng.choice([-1.0, 1.0]), 1.0]) * scale
    shift = center - linear @ [width / 2, height / 2]
    return np.concatenate([linear, shift[:, None]], axis=1)


def paste(
    image: np.ndarray,
    masks: np.ndarray,
    appearance: tuple[np.ndarray, np.ndarray],
    matrix: np.ndarray,
    *,
    shadow: bool,
    in_front: np.ndarray | None = None,
) -> None:
    """Draw a layer into an image and into the masks of its objects.

    Args:
        image: (S, S, 3) uint8, changed in place.
        masks: (k, S, S) uint8, changed in place; the last one is that of the layer.
        appearance: As in `blend`, `matrix`, `shadow` and `in_front` likewise.
    """
    placed = blend(image, appearance, matrix, shadow=shadow, in_front=in_front)
    if placed is not None:
        (rows, columns), solid = placed
        masks[:, rows, columns][:, solid] = 0
        masks[-1, rows, columns][solid] = 1


def blend(
    image: np.ndarray,
    appearance: tuple[np.ndarray, np.ndarray],
    matrix: np.ndarray,
    *,
    shadow: bool,
    in_front: np.ndarray | None = None,
) -> tuple[tuple[slice, slice], np.ndarray] | None:
    """Draw a layer into an image.

    Args:
        image: (S, S, 3) uint8, changed in place.
        appearance: (h, w, 3) uint8 colours and (h, w) float32 alpha.
        matrix: (2, 3), pixels of the layer -> pixels of the image.
        shadow: Whether it casts a shadow.
        in_front: (S, S) uint8, 1 where something hides the layer; None = nowhere.

    Returns:
        The window of the image that was changed, and a bool array of its size that is True where
        the layer is visible; None if the layer is out of view.
    """
    color, alpha = appearance
    height, width = alpha.shape
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix.T
    size = image.shape[0]
    room = _SHADOW_PX if shadow else 0  # a shadow cut off at the box would show the box
    left, top = np.clip(np.floor(corners.min(axis=0)) - room, 0, size).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1 + room, 0, size).astype(int)
    if right <= left or bottom <= top:
        return None
    box = (right - left, bottom - top)
    local = matrix - np.array([[0.0, 0.0, left], [0.0, 0.0, top]])
    covered = cv2.warpAffine(alpha, local, box)
    moved = cv2.warpAffine(color, local, box, borderMode=cv2.BORDER_REPLICATE)
    window = slice(top, bottom), slice(left, right)
    view = image[window]
    if in_front is not None:
        covered = covered * (1.0 - in_front[window])
    if shadow:
        lower = local + np.array([[0.0, 0.0, 4.0], [0.0, 0.0, 6.0]])
        dark = cv2.GaussianBlur(cv2.warpAffine(alpha, lower, box), (0, 0), 4.0)
        view[:] = (view * (1.0 - 0.45 * dark[..., None])).astype(np.uint8)
    weight = covered[..., None]
    view[:] = (view + weight * (moved.astype(np.float32) - view)).astype(np.uint8)
    return window, covered >= 0.5
