"""A pinhole camera with the distortion models of ROS: pixels to rays and back.

`plumb_bob`, `rational_polynomial` and `equidistant` use OpenCV, which has the same formulas. Other
models raise CameraError.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np

from robust_vos_ros.core.errors import RobustVosError

PINHOLE_MODELS = ('', 'plumb_bob', 'rational_polynomial')
FISHEYE_MODELS = ('equidistant', 'kannala_brandt4')
_PINHOLE_LENGTHS = (0, 4, 5, 8, 12, 14)  # numbers of coefficients that OpenCV accepts
_FISHEYE_LENGTH = 4
_NUM_STEPS = 32  # from the axis to a point
_ROUNDING = 1e-9  # of the tangent of an angle


class CameraError(RobustVosError):
    """A camera_info cannot be used."""


@dataclasses.dataclass(frozen=True, slots=True)
class Camera:
    """The intrinsics of one image; in the optical frame, z is forward, x right and y down.

    Attributes:
        fx: Focal length in pixels; `fy` likewise.
        cx: Principal point in pixels, 0 = the centre of the first pixel; `cy` likewise.
        size_hw: Height and width of the image in pixels.
        distortion: Coefficients in the order of ROS and OpenCV; empty = no distortion.
        fisheye: Whether the coefficients are those of `equidistant`.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    size_hw: tuple[int, int]
    distortion: tuple[float, ...] = ()
    fisheye: bool = False

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) float64."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    def scaled(self, size_hw: tuple[int, int]) -> Camera:
        """Return the camera of the same view at another resolution.

        Args:
            size_hw: Height and width in pixels.
        """
        if size_hw == self.size_hw:
            return self
        y, x = size_hw[0] / self.size_hw[0], size_hw[1] / self.size_hw[1]
        return dataclasses.replace(
            self,
            fx=self.fx * x,
            fy=self.fy * y,
            cx=(self.cx + 0.5) * x - 0.5,
            cy=(self.cy + 0.5) * y - 0.5,
            size_hw=size_hw,
        )

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Return the rays of pixels.

        Args:
            pixels: (N, 2) float, (x, y).

        Returns:
            (N, 2) float64, (x, y) at z = 1 of the optical frame.
        """
        pixels = np.asarray(pixels, np.float64)
        if not any(self.distortion) or not len(pixels):
            return (pixels - (self.cx, self.cy)) / (self.fx, self.fy)
        undistort = cv2.fisheye.undistortPoints if self.fisheye else cv2.undistortPoints
        found = undistort(pixels[:, None], self.matrix, np.array(self.distortion, np.float64))
        return found[:, 0]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Return the pixels of points.

        Args:
            points: (N, 3) float, metres in the optical frame, in front of the camera.

        Returns:
            (N, 2) float64, (x, y).
        """
        points = np.asarray(points, np.float64).reshape(-1, 3)
        if not any(self.distortion) or not len(points):
            return points[:, :2] / points[:, 2:] * (self.fx, self.fy) + (self.cx, self.cy)
        zero = np.zeros(3)
        coefficients = np.array(self.distortion, np.float64)
        if self.fisheye:
            found, _ = cv2.fisheye.projectPoints(
                points[:, None], zero, zero, self.matrix, coefficients
            )
        else:
            found, _ = cv2.projectPoints(points[:, None], zero, zero, self.matrix, coefficients)
        return found[:, 0]

    def shows(self, point: np.ndarray) -> bool:
        """Whether the distortion model is valid at a point.

        Far outside of the view its polynomial is not monotonic, and projects points into the
        image.

        Args:
            point: (3,) float, metres in the optical frame, in front of the camera.
        """
        shares = np.linspace(0.0, 1.0, _NUM_STEPS + 1)[1:, None]
        line = np.column_stack([shares * point[:2], np.full(_NUM_STEPS, point[2])])
        offsets = (self.project(line) - (self.cx, self.cy)) / (self.fx, self.fy)
        return bool((np.diff(np.hypot(*offsets.T)) > -_ROUNDING).all())


def read_camera(msg: Any, *, rectified: bool = False, whole_sensor: bool = False) -> Camera:
    """Read a sensor_msgs/CameraInfo.

    Args:
        msg: Any object with its fields.
        rectified: Whether the images are rectified: P is used, without distortion. Otherwise K and
            D are used.
        whole_sensor: Return the camera of the whole sensor, even if the image is cropped or
            binned.

    Raises:
        CameraError: It is uncalibrated (K = 0), not finite, has an unsupported distortion model
            or, unless `whole_sensor`, is cropped or binned; the message says what to do.
    """
    height, width = int(msg.height), int(msg.width)
    if not height or not width:
        raise CameraError(
            f'camera_info of {width} x {height} pixels; the camera must say its size'
        )
    if not whole_sensor:
        _check_whole(msg)
    values = np.array(msg.k, np.float64)[[0, 4, 2, 5]]
    if rectified and np.any(msg.p):
        values = np.array(msg.p, np.float64)[[0, 5, 2, 6]]
    if not np.isfinite(values).all() or (values[:2] <= 0).any():
        raise CameraError(
            f'camera_info without calibration (focal lengths {values[0]:g} and {values[1]:g}); '
            'calibrate the camera, or set the driver up to load its calibration'
        )
    fx, fy, cx, cy = (float(value) for value in values)
    distortion: tuple[float, ...] = () if rectified else _read_distortion(msg)
    fisheye = msg.distortion_model in FISHEYE_MODELS
    return Camera(fx, fy, cx, cy, (height, width), distortion, fisheye)


def _check_whole(msg: Any) -> None:
    """Raise CameraError if the image is cropped or binned, so that K does not apply to it."""
    roi = msg.roi
    cropped = roi.width and (roi.width, roi.height) != (msg.width, msg.height)
    if msg.binning_x > 1 or msg.binning_y > 1 or cropped:
        raise CameraError(
            'camera_info with binning or a region of interest; publish one for the image as it is '
            '(image_proc crop_decimate does)'
        )


def _read_distortion(msg: Any) -> tuple[float, ...]:
    values = tuple(float(value) for value in msg.d)
    if not any(values):
        return ()
    model = msg.distortion_model
    known = (model in PINHOLE_MODELS and len(values) in _PINHOLE_LENGTHS) or (
        model in FISHEYE_MODELS and len(values) == _FISHEYE_LENGTH
    )
    if not known or not np.isfinite(values).all():
        raise CameraError(
            f'camera_info with distortion model {model!r} and {len(values)} coefficients; '
            'expected finite ones of plumb_bob, rational_polynomial or equidistant'
        )
    return values
