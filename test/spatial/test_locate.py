"""Positions of synthetic objects, one kind of trouble each."""

import numpy as np
import pytest

from robust_vos_ros.spatial.camera import Camera
from robust_vos_ros.spatial.depth import DepthImage
from robust_vos_ros.spatial.locate import locate
from robust_vos_ros.spatial.settings import LocateSettings

SIZE_HW = (480, 640)
CAMERA = Camera(500.0, 500.0, 319.5, 239.5, SIZE_HW)
SETTINGS = LocateSettings()
BACKGROUND_M = 4.0
Y, X = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
BOX = (200, 150, 120, 100)  # x, y, width, height of the object


def make_mask(box=BOX):
    x, y, width, height = box
    return (x <= X) & (x + width > X) & (y <= Y) & (y + height > Y)


def make_depth(mask, object_m=2.0):
    return np.where(mask, object_m, BACKGROUND_M).astype(np.float32)


def middle(depth_m, box=BOX):
    """The point in the middle of a box of pixels."""
    x, y, width, height = box
    pixel = np.array([x + (width - 1) / 2, y + (height - 1) / 2])
    return np.array([*(pixel - (CAMERA.cx, CAMERA.cy)) / CAMERA.fx * depth_m, depth_m])


def flat():
    mask = make_mask()
    return make_depth(mask), mask


def tilted():
    """From 1.5 m on the left to 2.5 m on the right."""
    mask = make_mask()
    depth = make_depth(mask)
    plane = 1.5 + (X - BOX[0]) / BOX[2]
    depth[mask] = plane[mask]
    return depth, mask


def flying():
    """A border of three pixels in which depth is anything between object and background."""
    depth, mask = flat()
    inner = make_mask((BOX[0] + 3, BOX[1] + 3, BOX[2] - 6, BOX[3] - 6))
    border = mask & ~inner
    depth[border] = np.random.default_rng(1).uniform(2.0, BACKGROUND_M, border.sum())
    return depth, mask


def leaking():
    """The mask is four pixels too large on every side."""
    depth, _ = flat()
    return depth, make_mask((BOX[0] - 4, BOX[1] - 4, BOX[2] + 8, BOX[3] + 8))


def with_hole():
    """The handle of a cup: the background is seen through a third of the mask."""
    depth, mask = flat()
    depth[make_mask((225, 175, 70, 50))] = BACKGROUND_M
    return depth, mask


def half_unknown():
    depth, mask = flat()
    depth[(Y % 2 == 0) & mask] = np.nan
    return depth, mask


def speckled():
    """Some values are far too near, far too far, infinite or 0."""
    depth, mask = flat()
    rng = np.random.default_rng(2)
    for value in (0.15, 40.0, np.inf, 0.0):
        depth[(rng.random(SIZE_HW) < 0.05) & mask] = value
    return depth, mask


def noisy():
    depth, mask = flat()
    noise = np.random.default_rng(3).normal(0, 0.02, SIZE_HW)
    return (depth + noise).astype(np.float32), mask


@pytest.mark.parametrize(
    ('make', 'tolerance_m'),
    [
        (flat, 0.006),
        (tilted, 0.03),  # the median of a tilted plane is a little nearer than its middle
        (flying, 0.006),
        (leaking, 0.006),
        (with_hole, 0.02),
        (half_unknown, 0.02),  # the grid of samples beats with the stripes
        (speckled, 0.01),
        (noisy, 0.01),
    ],
    ids=lambda value: getattr(value, '__name__', None),
)
def test_position(make, tolerance_m):
    depth, mask = make()
    found = locate(DepthImage(depth), mask, CAMERA, SETTINGS)
    error = np.linalg.norm(found.position - middle(2.0))
    assert error < tolerance_m, (found.position, middle(2.0))
    assert np.linalg.eigvalsh(found.covariance).min() > 0
    np.testing.assert_allclose(found.covariance, found.covariance.T)


@pytest.mark.parametrize('make', [flat, flying, leaking, with_hole, speckled])
def test_box_is_that_of_the_object(make):
    depth, mask = make()
    found = locate(DepthImage(depth), mask, CAMERA, SETTINGS)
    width, height = BOX[2] / CAMERA.fx * 2.0, BOX[3] / CAMERA.fy * 2.0
    # Flying pixels at its border are not counted as its own.
    assert found.box_size[0] == pytest.approx(width, rel=0.15)
    assert found.box_size[1] == pytest.approx(height, rel=0.15)
    assert found.box_size[2] < 0.12  # the background is not in it
    assert np.linalg.norm(found.box_center - middle(2.0)) < 0.06


def test_box_of_a_tilted_plane_reaches_over_all_of_it():
    depth, mask = tilted()
    found = locate(DepthImage(depth), mask, CAMERA, SETTINGS)
    assert 0.85 < found.box_size[2] < 1.0


def test_millimetres_give_the_same():
    depth, mask = flat()
    metres = locate(DepthImage(depth), mask, CAMERA, SETTINGS)
    millimetres = DepthImage((depth * 1000).astype(np.uint16), 0.001)
    found = locate(millimetres, mask, CAMERA, SETTINGS)
    np.testing.assert_allclose(found.position, metres.position, atol=1e-5)


@pytest.mark.parametrize('size_hw', [(240, 320), (960, 1280), (120, 160), (240, 424)])
def test_depth_of_another_size(size_hw):
    depth, mask = flat()
    rows = (np.arange(size_hw[0]) + 0.5) * SIZE_HW[0] / size_hw[0]
    columns = (np.arange(size_hw[1]) + 0.5) * SIZE_HW[1] / size_hw[1]
    other = depth[rows.astype(int)[:, None], columns.astype(int)[None]]
    found = locate(DepthImage(other), mask, CAMERA, SETTINGS)
    assert np.linalg.norm(found.position - middle(2.0)) < 0.01


def test_a_crop_gives_what_the_whole_image_gives():
    depth, mask = flat()
    x, y, width, height = BOX
    found = locate(
        DepthImage(depth), mask[y : y + height, x : x + width], CAMERA, SETTINGS,
        origin_xy=(x, y), size_hw=SIZE_HW,
    )  # fmt: skip
    assert np.linalg.norm(found.position - middle(2.0)) < 0.006


@pytest.mark.parametrize(
    'box', [(0, 0, 60, 40), (300, 200, 5, 4), (100, 100, 2, 200), (0, 0, 640, 480)]
)
def test_corners_small_thin_and_large_objects(box):
    mask = make_mask(box)
    found = locate(DepthImage(make_depth(mask)), mask, CAMERA, SETTINGS)
    assert np.linalg.norm(found.position - middle(2.0, box)) < 0.02


@pytest.mark.parametrize(
    ('spoil', 'reason'),
    [
        (lambda depth, mask: np.zeros_like(depth), 'all zeros'),
        (lambda depth, mask: np.full_like(depth, np.nan), 'all NaN'),
        (lambda depth, mask: np.full_like(depth, np.inf), 'all inf'),
        (lambda depth, mask: np.full_like(depth, 500.0), 'beyond max_range_m'),
        (lambda depth, mask: np.where(mask, np.nan, depth), 'none on the object'),
        (lambda depth, mask: np.where((X + Y) % 20 == 0, depth, np.nan), 'too little'),
    ],
)
def test_no_depth_no_position(spoil, reason):
    depth, mask = flat()
    assert locate(DepthImage(spoil(depth, mask)), mask, CAMERA, SETTINGS) is None, reason


@pytest.mark.parametrize('shape', [SIZE_HW, (1, 1), (2, 3)])
def test_an_empty_mask_has_no_position(shape):
    assert locate(DepthImage(np.ones(SIZE_HW)), np.zeros(shape, bool), CAMERA, SETTINGS) is None


def test_single_pixels_have_no_position_unless_asked_for():
    depth, mask = DepthImage(np.full(SIZE_HW, 2.0)), make_mask((10, 10, 1, 1))
    assert locate(depth, mask, CAMERA, SETTINGS) is None
    one = SETTINGS.model_copy(update={'min_points': 1, 'max_points': 10**6})
    found = locate(depth, mask, CAMERA, one)
    assert found.num_points == 1
    assert np.isfinite(found.covariance).all()


def test_covariance_grows_with_range_and_is_largest_along_the_ray():
    mask = make_mask((310, 230, 20, 20))
    sigmas = []
    for range_m in (1.0, 2.0, 4.0, 8.0):
        found = locate(DepthImage(make_depth(mask, range_m)), mask, CAMERA, SETTINGS)
        values = np.sqrt(np.diag(found.covariance))
        assert values[2] == pytest.approx(0.005 + 0.003 * range_m**2, rel=0.05)
        sigmas.append(values[2])
    assert sigmas == sorted(sigmas)


def test_covariance_along_a_slanted_ray():
    mask = make_mask((600, 200, 30, 30))
    found = locate(DepthImage(make_depth(mask, 6.0)), mask, CAMERA, SETTINGS)
    assert found.covariance[0, 2] > 0  # right and far go together on the right of the image


def test_the_distortion_of_the_lens_counts():
    depth, mask = flat()
    bent = Camera(500.0, 500.0, 319.5, 239.5, SIZE_HW, (-0.3, 0.1, 0.0, 0.0, 0.0))
    found = locate(DepthImage(depth), mask, bent, SETTINGS)
    np.testing.assert_allclose(bent.project(found.position)[0], [259.5, 199.5], atol=1.5)
    assert np.linalg.norm(found.position - middle(2.0)) > 0.001


def test_eight_objects_of_a_label_mask():
    boxes = [(20 + 150 * (i % 4), 30 + 220 * (i // 4), 130, 170) for i in range(8)]
    values = np.full(SIZE_HW, int(BACKGROUND_M * 1000), np.uint16)
    for number, (x, y, width, height) in enumerate(boxes, 1):
        values[y : y + height, x : x + width] = 500 * number
    depth = DepthImage(values, 0.001)
    for number, box in enumerate(boxes, 1):
        x, y, width, height = box
        found = locate(
            depth, np.ones((height, width), bool), CAMERA, SETTINGS, origin_xy=(x, y),
            size_hw=SIZE_HW,
        )  # fmt: skip
        assert np.linalg.norm(found.position - middle(0.5 * number, box)) < 0.003 * number
