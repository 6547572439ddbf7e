"""Motion: bounded, smooth in time, and the same for images, masks and points."""

import itertools

import cv2
import numpy as np
import pytest

from robust_vos_ros.data import motion

EYE = np.eye(2, 3)


def rng(seed=0):
    return np.random.default_rng(seed)


def path(seed, num_frames=6, *, size=100, center=None, **limits):
    limits = {'shift': 0.0, 'turn_deg': 0.0, 'log_scale': 0.0, 'shear': 0.0} | limits
    return motion.affine_path(rng(seed), num_frames, size=size, center=center, **limits)


@pytest.mark.parametrize('num_frames', [1, 2, 3, 16])
def test_a_path_starts_with_the_identity(num_frames):
    matrices = path(1, num_frames, shift=20.0, turn_deg=40.0, log_scale=0.3, shear=0.2)
    assert matrices.shape == (num_frames, 2, 3)
    assert matrices.dtype == np.float64
    np.testing.assert_allclose(matrices[0], EYE, atol=1e-9)


def test_a_path_follows_its_seed():
    limits = {'shift': 20.0, 'turn_deg': 40.0, 'log_scale': 0.3, 'shear': 0.2}
    assert np.array_equal(path(1, **limits), path(1, **limits))
    assert not np.array_equal(path(1, **limits), path(2, **limits))


def test_limits_hold_for_the_whole_clip():
    middle = np.array([49.5, 49.5, 1.0])
    for seed in range(50):
        moved = path(seed, shift=20.0) @ middle - middle[:2]
        assert np.linalg.norm(moved, axis=1).max() <= 20.0 + 1e-9
        grown = np.log(np.linalg.det(path(seed, log_scale=0.3)[:, :, :2])) / 2
        assert np.abs(grown).max() <= 0.3 + 1e-9
        turned = path(seed, turn_deg=40.0)
        angle = np.degrees(np.arctan2(turned[:, 1, 0], turned[:, 0, 0]))
        assert np.abs(angle).max() <= 40.0 + 1e-9


def test_the_centre_stays_when_nothing_shifts():
    for center in (None, (10.0, 80.0)):
        matrices = path(3, turn_deg=90.0, log_scale=0.5, shear=0.3, center=center)
        pivot = np.array([*(center or (49.5, 49.5)), 1.0])
        np.testing.assert_allclose(matrices @ pivot, np.tile(pivot[:2], (6, 1)), atol=1e-9)


def test_more_frames_make_smaller_steps():
    def largest_step(num_frames):
        centers = path(5, num_frames, shift=50.0)[:, :, 2]
        return np.linalg.norm(np.diff(centers, axis=0), axis=1).max()

    assert largest_step(40) < 0.5 * largest_step(5)


def test_no_frames_are_an_error():
    with pytest.raises(ValueError, match='num_frames'):
        path(0, 0)


def test_compose_applies_the_inner_matrix_first():
    double = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    right = np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]])
    point = np.array([1.0, 1.0, 1.0])
    np.testing.assert_array_equal(motion.compose(double, right) @ point, [8.0, 2.0])
    np.testing.assert_array_equal(motion.compose(right, double) @ point, [5.0, 2.0])
    assert motion.compose(np.stack([double, right]), EYE).shape == (2, 2, 3)


def test_fields_are_smooth_and_bounded():
    field = motion.smooth_field(rng(), 64, cells=3, amplitude=5.0)
    assert field.shape == (64, 64, 2)
    assert field.dtype == np.float32
    assert 0.5 < np.abs(field).max() < 7.5
    assert np.abs(np.diff(field, axis=0)).max() < 2.0


def test_fields_change_over_frames_in_small_steps():
    def largest_step(num_frames):
        fields = motion.field_path(rng(2), num_frames, 32, cells=3, amplitude=4.0)
        assert len(fields) == num_frames
        assert fields[0].any(), 'frame 0 is displaced too'
        return max(np.abs(b - a).max() for a, b in itertools.pairwise(fields))

    assert 0.0 < largest_step(60) < 0.4 * largest_step(12)
    assert len(motion.field_path(rng(2), 1, 32, cells=3, amplitude=4.0)) == 1


def test_a_warp_moves_pixels_as_the_matrix_says():
    image = np.zeros((20, 30), np.uint8)
    image[5, 7] = 255
    matrix = np.array([[1.0, 0.0, 4.0], [0.0, 1.0, 2.0]])
    for field in (None, np.zeros((20, 30, 2), np.float32)):
        moved = motion.warp(image, matrix, field, border='zero')
        assert moved[7, 11] == 255
        assert moved.sum() == 255


def test_a_field_says_where_the_output_looks():
    image = np.zeros((20, 20), np.float32)
    image[10, 12] = 1.0
    field = np.zeros((20, 20, 2), np.float32)
    field[..., 0] = 3.0
    assert motion.warp(image, EYE, field)[10, 9] == 1.0


def test_matrix_alone_and_with_an_empty_field_agree():
    smooth = cv2.GaussianBlur(rng(1).random((48, 48, 3), np.float32), (0, 0), 3.0)
    matrix = path(4, 2, size=48, shift=8.0, turn_deg=20.0, log_scale=0.2, shear=0.1)[1]
    empty = np.zeros((48, 48, 2), np.float32)
    np.testing.assert_allclose(
        motion.warp(smooth, matrix), motion.warp(smooth, matrix, empty), atol=0.02
    )


@pytest.mark.parametrize(
    ('border', 'corner'), [('zero', 0), ('edge', 10), ('reflect', 40)], ids=str
)
def test_borders(border, corner):
    image = np.tile(np.arange(10, 110, 10, dtype=np.uint8), (10, 1))
    matrix = np.array([[1.0, 0.0, 3.0], [0.0, 1.0, 0.0]])
    assert motion.warp(image, matrix, border=border)[5, 0] == corner


def test_what_cannot_be_warped_is_an_error():
    image = np.zeros((8, 8), np.uint8)
    with pytest.raises(ValueError, match='border'):
        motion.warp(image, EYE, border='wrap')
    with pytest.raises(ValueError, match='field'):
        motion.warp(image, EYE, np.zeros((4, 8, 2), np.float32))
