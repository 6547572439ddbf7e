"""The 3D position of an object from its mask and a depth image.

The range is the median depth inside the eroded mask. Depth far from it, measured by the median
absolute deviation, is discarded: flying pixels at the outline, holes that show the background, and
borders where mask or depth is one pixel off. This works if most of the depth in the mask is that
of the object.

The position is the per-axis median of the visible surface, not the centre of the body.
"""

from __future__ import annotations

import dataclasses
import math

import cv2
import numpy as np

from robust_vos_ros.spatial.camera import Camera
from robust_vos_ros.spatial.depth import DepthImage
from robust_vos_ros.spatial.settings import LocateSettings

_MAD_TO_SIGMA = 1.4826  # standard deviation / median absolute deviation of a normal distribution
# Errors of points on one surface are correlated: this many count as independent.
_INDEPENDENT_POINTS = 10
_OUTLINE_PX = 1.5  # standard deviation of the centre of a mask
_MIN_SIGMA_M = 1e-3
_KERNEL = np.ones((3, 3), np.uint8)


@dataclasses.dataclass(frozen=True, slots=True)
class Located:
    """The 3D position of an object, in metres in the camera's optical frame.

    Attributes:
        position: (3,) float64, the median of the visible surface.
        covariance: (3, 3) float64 in square metres, of the position: noise of the depth camera
            along the ray, uncertainty of the mask's outline across it, and spread of the surface.
        box_center: (3,) float64, the centre of the box around the visible surface.
        box_size: (3,) float64, its edge lengths along x, y and z, above 0.
        num_points: Number of used depth pixels.
        depth_share: Share of the mask's pixels with known depth, in [0, 1].
        range_m: Minimum and maximum depth that counts as the object's.
    """

    position: np.ndarray
    covariance: np.ndarray
    box_center: np.ndarray
    box_size: np.ndarray
    num_points: int
    depth_share: float
    range_m: tuple[float, float]


def locate(
    depth: DepthImage,
    mask: np.ndarray,
    camera: Camera,
    settings: LocateSettings,
    *,
    origin_xy: tuple[int, int] = (0, 0),
    size_hw: tuple[int, int] | None = None,
) -> Located | None:
    """Return the position of an object; None if its mask has too little depth.

    Args:
        depth: Registered to the image of the mask, of any size.
        mask: (h, w) bool, the object in the image or in a part of it.
        camera: Of the image.
        settings: Thresholds.
        origin_xy: Pixel of the image at the first pixel of the mask.
        size_hw: Height and width of the image; None = those of the mask.
    """
    size_hw = size_hw or (mask.shape[0], mask.shape[1])
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    if not width:
        return None
    mask = mask[y : y + height, x : x + width]
    x, y = x + origin_xy[0], y + origin_xy[1]
    stride = max(1.0, math.sqrt(mask.size / settings.max_points))
    rows, columns = _spread(height, stride), _spread(width, stride)
    small = mask[rows[:, None], columns[None]]
    area = int(np.count_nonzero(small))
    if not area:
        return None
    rows, columns = rows + y, columns + x
    z = depth.sample(rows, columns, size_hw)
    with np.errstate(invalid='ignore'):
        known = small & (z >= settings.min_range_m) & (z <= settings.max_range_m)
    share = np.count_nonzero(known) / area
    if share < settings.min_share:
        return None
    inside = known & _erode(small, area, settings.erosion)
    if np.count_nonzero(inside) < settings.min_points:  # a thin mask: use its border as well
        inside = known
    inner = z[inside]
    if len(inner) < settings.min_points:
        return None
    low, high = _band(inner, settings)
    with np.errstate(invalid='ignore'):
        near = known & (z >= low) & (z <= high)
    points = _points(z, near, rows, columns, camera)
    return _measure(points, inside[near], camera, settings, share=share, range_m=(low, high))


def _points(
    z: np.ndarray, near: np.ndarray, rows: np.ndarray, columns: np.ndarray, camera: Camera
) -> np.ndarray:
    """Return (3, N) float32 points in m of the samples that are `near`, row by row.

    Args:
        z: (h, w) depths in m.
        near: (h, w) bool, the samples to use.
        rows: (h,) rows of the samples in the image; `columns` (w,) likewise.
        camera: Of the image.
    """
    at_row, at_column = np.nonzero(near)
    depths = z[at_row, at_column]
    pixels = np.empty((len(depths), 2))
    pixels[:, 0], pixels[:, 1] = columns[at_column], rows[at_row]
    points = np.empty((3, len(depths)), np.float32)  # contiguous axes sort twice as fast
    points[:2] = camera.rays(pixels).T * depths
    points[2] = depths
    return points


def _spread(size: int, stride: float) -> np.ndarray:
    """Return (n,) int indices in [0, size), about `stride` apart and symmetric about the centre.

    Their distance is not an integer, so that depth known only in every other row is sampled too.
    """
    count = math.ceil(size / stride)
    if count < size and size % count == 0:
        count += 1
    return ((np.arange(count) + 0.5) * (size / count)).astype(np.intp)


def _erode(mask: np.ndarray, area: int, share: float) -> np.ndarray:
    """Return a mask without its border; the edge of the array counts as border."""
    steps = max(1, round(share * math.sqrt(area)))
    outside = {'borderType': cv2.BORDER_CONSTANT, 'borderValue': 0}
    eroded = cv2.erode(mask.view(np.uint8), _KERNEL, iterations=steps, **outside)
    return eroded.view(bool)


def _band(depths: np.ndarray, settings: LocateSettings) -> tuple[float, float]:
    """Return the minimum and maximum depth that counts as the object's, in metres."""
    median = float(_median(np.sort(depths)))
    sigma = _MAD_TO_SIGMA * float(_median(np.sort(np.abs(depths - median))))
    reach = max(settings.outlier_mads * sigma, settings.min_band_m)
    return median - reach, median + reach


def _measure(
    points: np.ndarray,
    inner: np.ndarray,
    camera: Camera,
    settings: LocateSettings,
    *,
    share: float,
    range_m: tuple[float, float],
) -> Located:
    """Measure points of one surface.

    Args:
        points: (3, N) float32 in metres.
        inner: (N,) bool, those not at the border of the mask; at least one.
        camera: Of the image.
        settings: Percentile and noise.
        share: `Located.depth_share`.
        range_m: `Located.range_m`.
    """
    core = points[:, inner]
    position = _median(np.sort(core)).astype(np.float64)
    cut = settings.extent_percentile / 100
    ordered = np.sort(points).astype(np.float64)
    low, high = _quantile(ordered, cut), _quantile(ordered, 1 - cut)
    size = np.maximum(high - low, _MIN_SIGMA_M)
    covariance = _noise(position, camera, settings)
    spread = core - core.mean(axis=1, keepdims=True)
    covariance += spread @ spread.T / (core.shape[1] * _INDEPENDENT_POINTS)
    return Located(
        position, covariance, (low + high) / 2, size, core.shape[1], float(share), range_m
    )


def _median(ordered: np.ndarray) -> np.ndarray:
    """Return the median of (..., N) sorted values."""
    count = ordered.shape[-1]
    return (ordered[..., (count - 1) // 2] + ordered[..., count // 2]) / 2


def _quantile(ordered: np.ndarray, share: float) -> np.ndarray:
    """Return the value at a share in [0, 1] of (..., N) sorted values.

    `numpy.quantile` interpolates, which takes longer than the rest of `locate`.
    """
    return ordered[..., round(share * (ordered.shape[-1] - 1))]


def _noise(position: np.ndarray, camera: Camera, settings: LocateSettings) -> np.ndarray:
    """Return the (3, 3) covariance of the measurement, independent of the object's shape.

    Along the ray it is that of the depth camera, across it that of the mask's outline.
    """
    z = float(position[2])
    along = settings.noise_floor_m + settings.noise_per_m2 * z * z
    across = max(_OUTLINE_PX * z / min(camera.fx, camera.fy), _MIN_SIGMA_M)
    ray = position / np.linalg.norm(position)
    outer = np.outer(ray, ray)
    return max(along, _MIN_SIGMA_M) ** 2 * outer + across**2 * (np.eye(3) - outer)
