"""Points in space to pixels, by the camera model of sensor_msgs/CameraInfo."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from robust_vos_ros.core.errors import PromptError

# Numbers of each model's `d`; OpenCV computes both models in the same way.
_DISTORTIONS = {'plumb_bob': 5, 'rational_polynomial': 8}
_ROUND_TRIP = 1e-3  # of the tangent of the viewing angle
_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)


def project(point_xyz: np.ndarray, info: Any, *, rectified: bool = False) -> tuple[float, float]:
    """Return the pixel (x right, y down) that shows a point.

    Args:
        point_xyz: (3,) float64, metres in the optical frame of the camera (x right, y down, z
            forward).
        info: sensor_msgs/CameraInfo of the image; its binning and its region of interest count.
        rectified: The image is rectified: use `p` of the camera info, which has no distortion.

    Raises:
        PromptError: The point is behind the camera or outside of the image, or the camera info
            has no calibration or a distortion model that is not known here.
    """
    x, y, z = point_xyz
    if not np.isfinite(point_xyz).all() or z <= 0:
        raise PromptError(
            f'the point is at ({x:g}, {y:g}, {z:g}) m in {info.header.frame_id!r}: it is behind '
            'the camera, or not a number. Click on something that the camera sees'
        )
    pixel = _by_p(point_xyz, info) if rectified else _by_k(point_xyz, info)
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
    """Return left, top, width, height of what is read out, in pixels of the whole sensor."""
    roi = info.roi
    if roi.width and roi.height:
        return roi.x_offset, roi.y_offset, roi.width, roi.height
    return 0, 0, info.width, info.height


def _by_p(point_xyz: np.ndarray, info: Any) -> np.ndarray:
    matrix = np.array(info.p, np.float64).reshape(3, 4)
    if matrix[0, 0] == 0:
        raise PromptError(_uncalibrated('p', info))
    u, v, w = matrix @ [*point_xyz, 1.0]
    return np.array([u / w, v / w])


def _by_k(point_xyz: np.ndarray, info: Any) -> np.ndarray:
    matrix = np.array(info.k, np.float64).reshape(3, 3)
    if matrix[0, 0] == 0:
        raise PromptError(_uncalibrated('k', info))
    flat = point_xyz[:2] / point_xyz[2]
    if not np.any(info.d):
        return matrix[:2, :2] @ flat + matrix[:2, 2]
    if len(info.d) > _DISTORTIONS.get(info.distortion_model, 0):
        raise PromptError(
            f'the distortion model {info.distortion_model!r} with {len(info.d)} numbers is not '
            f'known, only {" and ".join(_DISTORTIONS)}. Track the rectified image, with '
            'input.rectified true'
        )
    distortion = np.zeros(max(len(info.d), 4))
    distortion[: len(info.d)] = info.d
    ray = np.array([[*flat, 1.0]])
    pixel = cv2.projectPoints(ray, np.zeros(3), np.zeros(3), matrix, distortion)[0].reshape(2)
    # Far outside of the view the polynomial turns round, and points there seem to be in view.
    back = cv2.undistortPointsIter(
        pixel.reshape(1, 1, 2), matrix, distortion, None, None, _CRITERIA
    ).reshape(2)
    if not np.abs(back - flat).max() < _ROUND_TRIP * max(1.0, np.abs(flat).max()):
        raise PromptError(
            f'the point is too far from the axis of the camera {info.header.frame_id!r}, outside '
            'of the image. Click on something that the camera sees'
        )
    return pixel


def _uncalibrated(name: str, info: Any) -> str:
    return (
        f'the camera {info.header.frame_id!r} is not calibrated ({name}[0] of its camera_info is '
        '0), so a point in space has no pixel. Calibrate it, or click in a viewer of images'
    )
