"""Organised point clouds as depth, and point clouds of masks."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from robust_vos_ros.spatial.camera import Camera
from robust_vos_ros.spatial.depth import DepthError, DepthImage
from robust_vos_ros.spatial.rigid import Rigid

# sensor_msgs/PointField: datatype to NumPy type.
_FLOATS = {7: 'f4', 8: 'f8'}
# As PCL's PointXYZRGBL: rgb is 0x00RRGGBB.
POINT = np.dtype([('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('rgb', '<u4'), ('label', '<u4')])
POINT_WITHOUT_COLOR = np.dtype([(name, POINT[name]) for name in ('x', 'y', 'z', 'label')])


def read_cloud(msg: Any) -> DepthImage:
    """Read the depth of an organised sensor_msgs/PointCloud2 without a copy.

    The cloud must be in the optical frame of the image and registered to it: then z is depth, and
    x and y follow from the pixel.

    Args:
        msg: With `height` rows of `width` points; NaN = unknown.

    Raises:
        DepthError: The cloud is not organised, has no floating-point z, or steps, size and data
            are inconsistent.
    """
    height, width, step, row_step = msg.height, msg.width, msg.point_step, msg.row_step
    if height <= 1 or not width:
        raise DepthError(
            f'point cloud of {height} rows with {width} points; expected an organised one, with '
            'the rows and columns of the image (depth_image_proc makes one)'
        )
    field = next((item for item in msg.fields if item.name == 'z'), None)
    if field is None or field.datatype not in _FLOATS:
        raise DepthError(
            'point cloud without z as FLOAT32 or FLOAT64; its fields are '
            f'{", ".join(item.name for item in msg.fields) or "none"}'
        )
    kind = np.dtype(f'{">" if msg.is_bigendian else "<"}{_FLOATS[field.datatype]}')
    if field.offset + kind.itemsize > step or step * width > row_step:
        raise DepthError(
            f'point cloud with point_step {step} and row_step {row_step} for {width} points a row '
            f'and z at byte {field.offset}; correct the driver'
        )
    if len(msg.data) < row_step * height:
        raise DepthError(
            f'point cloud with {len(msg.data)} bytes, but {height} rows of row_step {row_step} '
            f'need {row_step * height}; it is cut off'
        )
    values: np.ndarray = np.ndarray(
        (height, width), kind, buffer=msg.data, offset=field.offset, strides=(row_step, step)
    )
    return DepthImage(values)


def crop_cloud(
    depth: DepthImage,
    label_mask: np.ndarray,
    ranges_m: Mapping[int, tuple[float, float]],
    camera: Camera,
    *,
    rgb: np.ndarray | None,
    rigid: Rigid,
    max_points: int,
) -> np.ndarray:
    """Return the 3D points of all masks.

    Args:
        depth: Registered to the image, of any size.
        label_mask: (H, W) labels, 0 = background.
        ranges_m: Minimum and maximum depth by label; other labels have no points.
        camera: Of the image.
        rgb: (H, W, 3) uint8, the image; None = points without colour.
        rigid: Transform from the camera's optical frame to that of the points.
        max_points: With more, only each second (third, ...) row and column is used.

    Returns:
        (N,) of POINT, or of POINT_WITHOUT_COLOR; metres.
    """
    height, width = label_mask.shape
    step = max(1, math.ceil(math.sqrt(np.count_nonzero(label_mask) / max_points)))
    labels = np.ascontiguousarray(label_mask[::step, ::step])
    limits = np.full((2, int(np.iinfo(label_mask.dtype).max) + 1), np.nan, np.float32)
    for label, range_m in ranges_m.items():
        limits[:, label] = range_m
    z = depth.sample(np.arange(0, height, step), np.arange(0, width, step), (height, width))
    with np.errstate(invalid='ignore'):
        known = np.flatnonzero((z >= limits[0][labels]) & (z <= limits[1][labels]))
    z = z.ravel()[known]
    cloud = np.empty(len(z), POINT_WITHOUT_COLOR if rgb is None else POINT)
    points = np.empty((len(z), 3), np.float32)
    points[:, :2] = _make_rays(camera, step).take(known, axis=0) * z[:, None]
    points[:, 2] = z
    cloud['x'], cloud['y'], cloud['z'] = rigid.move(points).T
    cloud['label'] = labels.ravel()[known]
    if rgb is not None:
        rows, columns = np.divmod(known, labels.shape[1])
        at = (rows * width + columns) * step
        colors = rgb.reshape(-1, 3).take(at, axis=0).astype(np.uint32)
        cloud['rgb'] = colors[:, 0] << 16 | colors[:, 1] << 8 | colors[:, 2]
    return cloud


@functools.lru_cache(maxsize=4)  # with distortion, it takes a tenth of a second
def _make_rays(camera: Camera, step: int) -> np.ndarray:
    """Return (N, 2) float32: `Camera.rays` of each `step`-th pixel of each `step`-th row."""
    height, width = camera.size_hw
    y, x = np.mgrid[:height:step, :width:step]
    return camera.rays(np.column_stack([x.ravel(), y.ravel()])).astype(np.float32)
