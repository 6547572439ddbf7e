"""Geometric motion, smooth in time: affine paths, displacement fields, and the warp for both.

Matrices are (2, 3) and map input pixels (x, y) to output pixels; pixel centres are integers.
"""

from __future__ import annotations

import math
from typing import Literal

import cv2
import numpy as np

Border = Literal['reflect', 'edge', 'zero']

_BORDERS = {
    'reflect': cv2.BORDER_REFLECT_101,
    'edge': cv2.BORDER_REPLICATE,
    'zero': cv2.BORDER_CONSTANT,
}


def smooth_curve(rng: np.random.Generator, num_frames: int, channels: int = 1) -> np.ndarray:
    """Return (T, C) float64 curves: constant velocity, acceleration and some jerk.

    They start at 0, and the vector of all channels reaches length 1 in some frame (T >= 2).
    """
    time = np.linspace(0.0, 1.0, num_frames)[:, None]
    velocity, acceleration, jerk = rng.normal(size=(3, 1, channels))
    phase = rng.uniform(0.0, 2.0 * math.pi, (1, channels))
    curve = velocity * time + 0.7 * acceleration * time**2
    curve += 0.25 * jerk * (np.sin(2.0 * math.pi * time + phase) - np.sin(phase))
    longest = np.linalg.norm(curve, axis=1).max()
    return curve / longest if longest > 0.0 else curve


def affine_path(
    rng: np.random.Generator,
    num_frames: int,
    *,
    size: int,
    shift: float,
    turn_deg: float,
    log_scale: float,
    shear: float,
    center: tuple[float, float] | None = None,
) -> np.ndarray:
    """Draw a smooth random motion: how every pixel of frame 0 has moved in each frame.

    The four limits hold for the whole clip, however many frames it has: how far each motion goes
    is uniform in [0, limit], and frame 0 does not move.

    Args:
        rng: Source of randomness.
        num_frames: T, at least 1.
        size: Side of the square image in pixels.
        shift: Largest distance of the centre from its place in frame 0, in pixels.
        turn_deg: Largest rotation about `center`, in degrees.
        log_scale: Largest absolute logarithm of the magnification.
        shear: Largest absolute shear along x (a pure number).
        center: (x, y) in pixels, which rotation and magnification leave in place; None = the
            centre of the image.

    Returns:
        (T, 2, 3) float64 matrices, frame 0 -> frame t; the first one is the identity.

    Raises:
        ValueError: `num_frames` is less than 1.
    """
    if num_frames < 1:
        raise ValueError(f'num_frames: expected 1 or more, got {num_frames}')
    pivot = np.full(2, (size - 1) / 2) if center is None else np.asarray(center, np.float64)
    reach = rng.uniform(0.0, 1.0, 4) * (shift, math.radians(turn_deg), log_scale, shear)
    offset = smooth_curve(rng, num_frames, 2) * reach[0]
    angle, growth, slant = (smooth_curve(rng, num_frames)[:, 0] * limit for limit in reach[1:])

    scale = np.exp(growth)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    path = np.empty((num_frames, 2, 3))
    path[:, 0, 0], path[:, 0, 1] = cos, cos * slant - sin
    path[:, 1, 0], path[:, 1, 1] = sin, sin * slant + cos
    path[:, :, 2] = pivot + offset - path[:, :, :2] @ pivot
    return path


def compose(outer: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return (..., 2, 3) matrices that apply `inner` first, then `outer` (both (..., 2, 3))."""
    linear = outer[..., :2] @ inner[..., :2]
    moved = outer[..., :2] @ inner[..., 2:] + outer[..., 2:]
    return np.concatenate([linear, moved], axis=-1)


def smooth_in_time(curves: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth (T, C) float64 curves by a Gaussian of `sigma` frames; the ends are continued."""
    return cv2.GaussianBlur(
        curves, (0, 0), sigmaX=1e-3, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE
    )


def _grid(rng: np.random.Generator, cells: int, amplitude: float) -> np.ndarray:
    return rng.uniform(-amplitude, amplitude, (cells + 1, cells + 1, 2)).astype(np.float32)


def smooth_field(
    rng: np.random.Generator, size: int, *, cells: int, amplitude: float
) -> np.ndarray:
    """Draw a smooth random displacement field.

    Args:
        rng: Source of randomness.
        size: Side of the field in pixels.
        cells: Cells of the random grid along a side, at least 1.
        amplitude: Largest displacement along an axis at the points of the grid, in pixels;
            between them the cubic interpolation may exceed it a little.

    Returns:
        (size, size, 2) float32, x and y displacement in pixels.
    """
    grid = _grid(rng, cells, amplitude)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)


def field_path(
    rng: np.random.Generator, num_frames: int, size: int, *, cells: int, amplitude: float
) -> list[np.ndarray]:
    """Draw T smooth fields that change smoothly between two random ones.

    Frame 0 is displaced too. Arguments as for `smooth_field`.

    Returns:
        T arrays (size, size, 2) float32, x and y displacement in pixels.
    """
    first, last = _grid(rng, cells, amplitude), _grid(rng, cells, amplitude)
    share = smooth_curve(rng, num_frames).astype(np.float32)
    return [
        cv2.resize(first + part * (last - first), (size, size), interpolation=cv2.INTER_CUBIC)
        for part in np.abs(share[:, 0])
    ]


def warp(
    image: np.ndarray,
    matrix: np.ndarray,
    field: np.ndarray | None = None,
    *,
    border: Border = 'reflect',
) -> np.ndarray:
    """Move an image, with linear interpolation.

    Output pixel p shows the input at `inverse(matrix) p + field[p]`. A mask is passed as float32,
    with border 'zero', and the result is thresholded at 0.5.

    Args:
        image: (H, W) or (H, W, C) uint8 or float32.
        matrix: (2, 3), input pixel -> output pixel.
        field: (H, W, 2) float32 displacement in pixels; None = none.
        border: How the input continues outside of itself.

    Returns:
        Array of the shape and type of `image`.

    Raises:
        ValueError: The border is unknown, or the field is not as large as the image.
    """
    if border not in _BORDERS:
        raise ValueError(f'border: expected one of {", ".join(_BORDERS)}, got {border!r}')
    height, width = image.shape[:2]
    mode = _BORDERS[border]
    if field is None:
        return cv2.warpAffine(image, matrix, (width, height), borderMode=mode)
    if field.shape != (height, width, 2):
        raise ValueError(f'field: expected {(height, width, 2)}, got {field.shape}')
    back = cv2.invertAffineTransform(np.asarray(matrix, np.float64)).astype(np.float32)
    x = np.arange(width, dtype=np.float32)
    y = np.arange(height, dtype=np.float32)[:, None]
    map_x = field[..., 0] + back[0, 0] * x + (back[0, 1] * y + back[0, 2])
    map_y = field[..., 1] + back[1, 0] * x + (back[1, 1] * y + back[1, 2])
    return cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=mode)
