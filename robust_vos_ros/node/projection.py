"""Project 3D points to pixels of an image, which may be cropped or binned."""

from __future__ import annotations

from typing import Any

import numpy as np

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.spatial.camera import CameraError, read_camera


def project(point_xyz: np.ndarray, info: Any, *, rectified: bool = False) -> tuple[float, float]:
    """Return the pixel (x right, y down) of a point.

    Args:
        point_xyz: (3,) float64, metres in the optical frame of the camera (x right, y down, z
            forward).
        info: sensor_msgs/CameraInfo of the image, including binning and region of interest.
        rectified: Whether the image is rectified: `p` of the camera info is used, without
            distortion.

    Raises:
        PromptError: The point is behind the camera or outside of the image, or the camera info is
            uncalibrated or has an unsupported distortion model.
    """
    x, y, z = point_xyz
    if not np.isfinite(point_xyz).all() or z <= 0:
        raise PromptError(
            f'the point is at ({x:g}, {y:g}, {z:g}) m in {info.header.frame_id!r}: it is behind '
            'the camera, or not a number. Click on something that the camera sees'
        )
    try:
        camera = read_camera(info, rectified=rectified, whole_sensor=True)
    except CameraError as error:
        raise PromptError(
            f'{error}. Without it a point in space has no pixel in {info.header.frame_id!r}: '
            'click in a viewer of images'
        ) from error
    if rectified:  # the right camera of a stereo pair is offset from its frame
        baseline = np.array([info.p[3] / camera.fx, info.p[7] / camera.fy, 0.0])
        point_xyz = point_xyz + baseline
    if not camera.shows(point_xyz):
        raise PromptError(
            f'the point is too far from the axis of the camera {info.header.frame_id!r}, outside '
            'of the image. Click on something that the camera sees'
        )
    (pixel,) = camera.project(point_xyz)
    left, top, width, height = _region(info)
    binning = max(info.binning_x, 1), max(info.binning_y, 1)
    column, row = (pixel[0] - left) / binning[0], (pixel[1] - top) / binning[1]
    size = width // binning[0], height // binning[1]
    if not (0 <= column < size[0] and 0 <= row < size[1]):
        raise PromptError(
            f'the point would be at pixel ({column:.0f}, {row:.0f}), outside of the image of '
            f'{size[0]} x {size[1]}. Click on something that the camera sees'
        )
    return column, row


def image_size(info: Any) -> tuple[int, int]:
    """Return (width, height) of the images a sensor_msgs/CameraInfo belongs to."""
    _, _, width, height = _region(info)
    return width // max(info.binning_x, 1), height // max(info.binning_y, 1)


def _region(info: Any) -> tuple[int, int, int, int]:
    """Return left, top, width, height of the region of interest in pixels of the sensor."""
    roi = info.roi
    if roi.width and roi.height:
        return roi.x_offset, roi.y_offset, roi.width, roi.height
    return 0, 0, info.width, info.height
