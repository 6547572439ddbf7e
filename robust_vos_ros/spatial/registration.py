"""Select the camera model of an image, and check that its depth has the same view."""

from __future__ import annotations

from typing import Any

from robust_vos_ros.spatial.camera import Camera, CameraError, read_camera
from robust_vos_ros.spatial.depth import DepthError

# Registered depth has the intrinsics of the image. Different cameras of one device differ by much
# more than these tolerances.
_FOCAL_TOLERANCE = 0.03  # as a share of the focal length
_CENTER_TOLERANCE = 0.03  # as a share of the width
_ASPECT_TOLERANCE = 0.02
_HINT = 'register the depth to the image (depth_image_proc, or aligned depth of the driver)'


def choose_camera(
    image_info: Any | None,
    depth_info: Any | None,
    *,
    image_size_hw: tuple[int, int],
    depth_size_hw: tuple[int, int],
    frames: tuple[str, str] | None,
    rectified: bool,
) -> Camera:
    """Return the camera of an image with registered depth.

    Args:
        image_info: sensor_msgs/CameraInfo of the image, or None.
        depth_info: sensor_msgs/CameraInfo of the depth, or None; one of the two suffices.
        image_size_hw: Height and width in pixels.
        depth_size_hw: Those of the depth.
        frames: frame_id of image and depth to compare; None = no comparison.
        rectified: As in `read_camera`.

    Raises:
        CameraError: There is no usable camera_info for these sizes.
        DepthError: The depth has another view.
    """
    if frames is not None and frames[0] != frames[1]:
        raise DepthError(
            f'depth is in frame {frames[1]!r}, the image in {frames[0]!r}; {_HINT}, or set '
            'spatial.check_frame to false if only the name differs'
        )
    _check_aspect(image_size_hw, depth_size_hw)
    of_image = _fitting(image_info, image_size_hw, rectified)
    of_depth = _fitting(depth_info, depth_size_hw, rectified)
    if of_depth is not None:
        of_depth = of_depth.scaled(image_size_hw)
    if of_image is not None and of_depth is not None:
        _check_same_view(of_image, of_depth)
    camera = of_image or of_depth
    if camera is None:
        raise CameraError(
            f'no camera_info for an image of {_text(image_size_hw)} or depth of '
            f'{_text(depth_size_hw)}; remap camera_info and depth/camera_info to those of the '
            'camera'
        )
    return camera


def _fitting(info: Any | None, size_hw: tuple[int, int], rectified: bool) -> Camera | None:
    if info is None or (info.height, info.width) != size_hw:
        return None
    return read_camera(info, rectified=rectified)


def _check_aspect(image_hw: tuple[int, int], depth_hw: tuple[int, int]) -> None:
    ratio = image_hw[1] * depth_hw[0] / (image_hw[0] * depth_hw[1])
    if abs(ratio - 1) > _ASPECT_TOLERANCE:
        raise DepthError(
            f'depth of {_text(depth_hw)} has another shape than the image of {_text(image_hw)}; '
            f'{_HINT}'
        )


def _check_same_view(image: Camera, depth: Camera) -> None:
    focal = max(abs(depth.fx / image.fx - 1), abs(depth.fy / image.fy - 1))
    center = max(abs(depth.cx - image.cx), abs(depth.cy - image.cy)) / image.size_hw[1]
    if focal > _FOCAL_TOLERANCE or center > _CENTER_TOLERANCE:
        raise DepthError(
            f'depth was made with focal length {depth.fx:.0f} and centre ({depth.cx:.0f}, '
            f'{depth.cy:.0f}), the image with {image.fx:.0f} and ({image.cx:.0f}, '
            f'{image.cy:.0f}) pixels; {_HINT}'
        )


def _text(size_hw: tuple[int, int]) -> str:
    return f'{size_hw[1]} x {size_hw[0]} pixels'
