"""Changes of appearance: each one alone does what it says, over the whole clip."""

import cv2
import numpy as np
import pytest

from robust_vos_ros.data.photometric import PhotometricSettings, degrade

NAMES = ('tone', 'color', 'drift', 'shadow', 'blur', 'noise', 'jpeg')


def rng(seed=0):
    return np.random.default_rng(seed)


def only(*names, **more):
    shares = {f'{name}_probability': float(name in names) for name in NAMES}
    return PhotometricSettings(**shares, **more)


def clip(num_frames=4, height=48, width=64):
    """Return the same colourful, smooth picture T times."""
    picture = cv2.GaussianBlur(rng(9).random((height, width, 3), np.float32), (0, 0), 4.0)
    picture = cv2.normalize(picture, None, 40.0, 215.0, cv2.NORM_MINMAX).astype(np.uint8)
    return np.stack([picture] * num_frames)


def test_nothing_is_changed_when_nothing_is_on():
    images = clip()
    result = degrade(rng(), images, only())
    assert np.array_equal(result, images)
    assert result is not images


@pytest.mark.parametrize('name', NAMES)
def test_each_change_follows_its_seed_and_leaves_the_input(name):
    images, before = clip(), clip()
    settings = only(name, blur_px=8.0)  # images this small would hide a smaller blur
    one, same, other = (degrade(rng(seed), images, settings) for seed in (1, 1, 2))
    assert one.shape == images.shape
    assert one.dtype == np.uint8
    assert np.array_equal(images, before)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, images)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize('name', ['tone', 'color', 'blur', 'jpeg'])
def test_changes_of_the_whole_clip_are_the_same_in_every_frame(name):
    for seed in range(5):
        result = degrade(rng(seed), clip(), only(name))
        assert (result == result[:1]).all()


@pytest.mark.parametrize('name', ['drift', 'shadow', 'noise'])
def test_changes_over_time_differ_between_frames(name):
    changes = [
        (result != result[:1]).any()
        for result in (degrade(rng(seed), clip(), only(name)) for seed in range(5))
    ]
    assert sum(changes) >= 4


def test_drift_is_slow():
    result = degrade(rng(1), clip(16), only('drift', drift_strength=0.3)).astype(float)
    levels = result.mean(axis=(1, 2, 3))
    assert 0.0 < np.abs(np.diff(levels)).max() < 0.1 * levels[0]


def test_greys_stay_grey_whatever_the_hue():
    grey = np.full((1, 8, 8, 3), 120, np.uint8)
    for seed in range(5):
        result = degrade(rng(seed), grey, only('color', hue_deg=180.0)).astype(int)
        assert np.abs(result - 120).max() <= 1


def test_blur_keeps_the_brightness_and_removes_detail():
    sharp = np.zeros((1, 64, 64, 3), np.uint8)
    sharp[:, 20:44, 20:44] = 200
    for seed in range(8):
        result = degrade(rng(seed), sharp, only('blur', blur_px=8.0))
        assert result.mean() == pytest.approx(sharp.mean(), rel=0.05)
        assert ((result > 5) & (result < 195)).any()


def test_noise_has_the_level_that_was_asked_for():
    grey = np.full((3, 64, 64, 3), 128, np.uint8)
    spread = [
        degrade(rng(seed), grey, only('noise', noise_level=10.0)).std() for seed in range(20)
    ]
    assert max(spread) <= 10.5
    assert min(spread) >= 1.0
    assert np.ptp(spread) > 3.0


def test_shadows_only_darken():
    images = clip()
    for seed in range(5):
        assert (degrade(rng(seed), images, only('shadow')) <= images).all()


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (17, 90), (64, 64)])
def test_any_size_goes_through_every_change(height, width):
    images = np.full((2, height, width, 3), 90, np.uint8)
    assert degrade(rng(), images, only(*NAMES)).shape == images.shape


def test_what_is_no_clip_is_an_error():
    for images in (np.zeros((8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3), np.float32)):
        with pytest.raises(ValueError, match='images: expected'):
            degrade(rng(), images, PhotometricSettings())
