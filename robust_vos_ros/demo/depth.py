"""Depth of the generated clip, and the true positions of its objects.

Fish, starfish and rock are planes, tilted a little; the sand is a plane up to the horizon. At
their borders depth is blended by coverage, like the flying pixels of a real camera.
"""

from __future__ import annotations

import math

import numpy as np

from robust_vos_ros.demo import scene
from robust_vos_ros.demo.art import SIZE_HW
from robust_vos_ros.spatial.camera import Camera

CAMERA = Camera(525.0, 525.0, 319.5, 239.5, SIZE_HW)
MM_PER_M = 1000.0
_FAR_M, _SAND_M = 6.0, 1.9  # depth at the horizon and above, and at the lower border
_HORIZON_Y = 300.0
_ROCK_M = 1.7
# Depth at scale 1, and its slope per metre to the right and down.
_PLANES = {scene.FISH: (2.2, (0.3, 0.0)), scene.STAR: (1.4, (0.0, -0.2))}


def render_depth(index: int, view: scene.View) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the depth of a frame, and the true positions of its objects.

    Args:
        index: Index of the frame.
        view: The frame.

    Returns:
        (H, W) uint16 in millimetres, and for each visible object the (3,) float64 median of its
        visible points in metres, in the optical frame of the camera.
    """
    y, x = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]].astype(np.float32)
    near = np.clip((y - _HORIZON_Y) / (SIZE_HW[0] - 1 - _HORIZON_Y), 0.0, 1.0)
    depth = 1.0 / ((1.0 - near) / _FAR_M + near / _SAND_M)  # a plane is linear in 1 / z
    depth += (_ROCK_M - depth) * view.rock
    positions = {}
    for name, pose in scene.poses_at(index).items():
        alpha = view.alphas[name]
        range_m, tilt = _PLANES[name]
        plane = _plane(x - pose.x, y - pose.y, range_m / pose.scale, tilt)
        depth += (plane - depth) * alpha
        rows, columns = np.nonzero(alpha > 0.5)
        if len(rows):
            z = plane[rows, columns].astype(np.float64)
            rays = CAMERA.rays(np.column_stack([columns, rows]))
            points = np.column_stack([rays * z[:, None], z])
            positions[name] = np.median(points, axis=0)
    return np.round(depth * MM_PER_M).astype(np.uint16), positions


def _plane(x: np.ndarray, y: np.ndarray, range_m: float, tilt: tuple[float, float]) -> np.ndarray:
    """Return the depth in metres of a tilted plane.

    Args:
        x: (H, W) float32, pixels right of the point at `range_m`; `y` likewise, below it.
        range_m: Depth of that point.
        tilt: Metres of depth per metre to the right, and down.
    """
    assert math.isfinite(range_m)
    slope = (tilt[0] * x + tilt[1] * y) / CAMERA.fx
    return range_m / (1.0 - slope)
