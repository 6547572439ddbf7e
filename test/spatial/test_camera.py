"""Pixels to rays and back."""

import types

import cv2
import numpy as np
import pytest

from robust_vos_ros.spatial.camera import Camera, CameraError, read_camera

PIXELS = np.array([[0.0, 0.0], [320.0, 240.0], [610.5, 33.25], [100.0, 470.0]])


def make_info(**changes):
    roi = types.SimpleNamespace(width=0, height=0)
    fields = {
        'height': 480, 'width': 640, 'distortion_model': 'plumb_bob', 'd': [0.0] * 5,
        'k': [500.0, 0, 320, 0, 510.0, 240, 0, 0, 1], 'p': [0.0] * 12,
        'binning_x': 0, 'binning_y': 0, 'roi': roi,
    }  # fmt: skip
    return types.SimpleNamespace(**{**fields, **changes})


def test_rays_of_an_ideal_lens():
    camera = read_camera(make_info())
    np.testing.assert_allclose(camera.rays([[320, 240]]), [[0, 0]])
    np.testing.assert_allclose(camera.rays([[820, 750]]), [[1, 1]])


@pytest.mark.parametrize(
    ('model', 'coefficients'),
    [
        ('plumb_bob', [0.1, -0.2, 0.001, 0.002, 0.05]),
        ('rational_polynomial', [0.1, -0.05, 0.001, 0.0, 0.01, 0.02, 0.01, 0.0]),
        ('equidistant', [0.02, -0.01, 0.002, 0.0]),
        ('plumb_bob', []),  # as simulators send it
    ],
)
def test_projecting_rays_gives_the_pixels(model, coefficients):
    camera = read_camera(make_info(distortion_model=model, d=coefficients))
    rays = camera.rays(PIXELS)
    points = np.column_stack([rays, np.ones(len(rays))]) * [[1], [2], [3], [4]]
    np.testing.assert_allclose(camera.project(points), PIXELS, atol=0.02)


def test_plumb_bob_is_that_of_opencv():
    camera = read_camera(make_info(d=[0.1, -0.2, 0.001, 0.002, 0.05]))
    expected, _ = cv2.projectPoints(
        np.array([[0.3, -0.2, 1.0]]), np.zeros(3), np.zeros(3), camera.matrix,
        np.array(camera.distortion),
    )  # fmt: skip
    np.testing.assert_allclose(camera.project([[0.3, -0.2, 1.0]]), expected[0])


def test_rectified_images_have_p_and_no_distortion():
    p = [400.0, 0, 300, 0, 0, 400.0, 200, 0, 0, 0, 1, 0]
    camera = read_camera(make_info(d=[0.1] * 5, p=p), rectified=True)
    assert camera == Camera(400.0, 400.0, 300.0, 200.0, (480, 640))
    without_p = read_camera(make_info(d=[0.1] * 5), rectified=True)
    assert (without_p.fx, without_p.distortion) == (500.0, ())


def test_scaled_camera_looks_the_same_way():
    camera = read_camera(make_info())
    half = camera.scaled((240, 320))
    corner = [[-0.5, -0.5]]  # the corner of the image
    np.testing.assert_allclose(camera.rays(corner), half.rays(corner))
    np.testing.assert_allclose(camera.rays([[639.5, 479.5]]), half.rays([[319.5, 239.5]]))
    assert camera.scaled((480, 640)) is camera


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'k': [0.0] * 9}, 'without calibration'),  # a driver without its calibration
        ({'k': [float('nan')] * 9}, 'without calibration'),
        ({'k': [-500.0, 0, 320, 0, 500.0, 240, 0, 0, 1]}, 'without calibration'),
        ({'height': 0}, 'must say its size'),
        ({'binning_y': 2}, 'binning'),
        ({'roi': types.SimpleNamespace(width=100, height=100)}, 'region of interest'),
        ({'distortion_model': 'thin_prism', 'd': [0.1] * 5}, "'thin_prism'"),
        ({'d': [0.1, 0.2, 0.3]}, '3 coefficients'),  # of which OpenCV knows nothing
        ({'d': [0.1, float('nan'), 0.0, 0.0, 0.0]}, 'finite'),
        ({'distortion_model': 'equidistant', 'd': [0.1] * 5}, 'equidistant'),
    ],
)
def test_unusable_messages(changes, words):
    with pytest.raises(CameraError, match=words):
        read_camera(make_info(**changes))


def test_where_the_lens_model_holds():
    camera = read_camera(make_info(d=[-0.12, 0.0, 0.0, 0.0, 0.0]))
    assert camera.shows(np.array([1e-14, 0.0, 2.0]))
    assert camera.shows(np.array([1.0, 0.0, 1.0]))
    assert not camera.shows(np.array([2.9, 0.0, 1.0])), 'its polynomial has turned round'


def test_a_roi_of_the_whole_image_is_no_crop():
    roi = types.SimpleNamespace(width=640, height=480)
    assert read_camera(make_info(roi=roi)).fx == 500.0


def test_no_pixels():
    assert read_camera(make_info(d=[0.1] * 5)).rays(np.zeros((0, 2))).shape == (0, 2)
