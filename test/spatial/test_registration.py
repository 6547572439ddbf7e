"""Which camera counts, and depth that shows another view."""

import types

import pytest

from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.spatial.camera import CameraError
from robust_vos_ros.spatial.depth import DepthError
from robust_vos_ros.spatial.registration import choose_camera

SIZE_HW = (480, 640)
SAME = ('optical', 'optical')


def make_info(size_hw=SIZE_HW, focal=500.0, shift=0.0):
    height, width = size_hw
    return types.SimpleNamespace(
        height=height, width=width, distortion_model='plumb_bob', d=[], p=[0.0] * 12,
        k=[focal, 0, width / 2 - 0.5 + shift, 0, focal, height / 2 - 0.5, 0, 0, 1],
        binning_x=0, binning_y=0, roi=types.SimpleNamespace(width=0, height=0),
    )  # fmt: skip


def choose(image, depth, *, depth_hw=SIZE_HW, frames=SAME):
    return choose_camera(
        image, depth, image_size_hw=SIZE_HW, depth_size_hw=depth_hw, frames=frames,
        rectified=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ('image', 'depth', 'depth_hw', 'focal'),
    [
        (make_info(), None, SIZE_HW, 500.0),  # registered depth needs no camera_info of its own
        (None, make_info(focal=490.0), SIZE_HW, 490.0),  # and that of the depth is enough
        (make_info(), make_info(focal=505.0), SIZE_HW, 500.0),  # that of the image counts
        (None, make_info((240, 320), 250.0), (240, 320), 500.0),  # half the resolution
        (make_info(), make_info((240, 320), 250.0), (240, 320), 500.0),
        (make_info(), make_info((100, 100)), SIZE_HW, 500.0),  # of an older resolution: left out
    ],
)
def test_camera(image, depth, depth_hw, focal):
    camera = choose(image, depth, depth_hw=depth_hw)
    assert camera.fx == pytest.approx(focal)
    assert camera.size_hw == SIZE_HW


def test_frames_may_differ_where_that_is_said():
    assert choose(make_info(), None, frames=None).fx == 500.0


@pytest.mark.parametrize(
    ('arguments', 'kind', 'words'),
    [
        ((None, None), CameraError, 'no camera_info for an image of 640 x 480'),
        ((make_info((100, 100)), None), CameraError, 'no camera_info'),
        ((make_info(focal=0.0), None), CameraError, 'without calibration'),
        ((make_info(), make_info(focal=380.0)), DepthError, 'focal length 380'),
        ((make_info(), make_info(shift=40.0)), DepthError, 'register the depth'),
    ],
)
def test_misfits(arguments, kind, words):
    with pytest.raises(kind, match=words):
        choose(*arguments)


def test_another_frame_is_another_view():
    with pytest.raises(DepthError, match=r"'depth_optical'.*spatial\.check_frame"):
        choose(make_info(), None, frames=('optical', 'depth_optical'))


def test_another_shape_is_another_view():
    with pytest.raises(RobustVosError, match='another shape'):
        choose(make_info(), None, depth_hw=(480, 848))
