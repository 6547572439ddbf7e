import itertools
import typing

import cv2
import numpy as np
import pytest

from robust_vos_ros.core.errors import ConfigError, ImageError
from robust_vos_ros.data import sensor, weather
from robust_vos_ros.data.corruption import (
    COMPOUND,
    CORRUPTIONS,
    FURTHER,
    PRESETS,
    ROBUSTPVOS,
    YOUTUBE_VOS_P,
    Corruption,
    corrupt_live,
    find_corruptions,
)
from robust_vos_ros.data.severity import PROFILES, Profile, clip_seed, fourier_mixture
from robust_vos_ros.node.settings_sections import CorruptionName

GRADED = [*ROBUSTPVOS, *FURTHER, *COMPOUND]  # those that have a severity
SIZE_HW = (96, 128)


def scene(size_hw=SIZE_HW):
    """A smooth picture with some lines, neither black nor white."""
    rng = np.random.default_rng(1)
    small = rng.integers(60, 190, (8, 10, 3), np.uint8)
    image = cv2.resize(small, size_hw[::-1], interpolation=cv2.INTER_CUBIC)
    image[::16] = 220
    image[:, ::20] = 40
    return image


def make(name, severity=3.0, profile='constant', seed=5, num_frames=20):
    return Corruption(name, Profile(profile, severity, num_frames), seed)


def grey(value, size_hw=SIZE_HW):
    return np.full((*size_hw, 3), value, np.uint8)


def distance(a, b):
    return float(np.abs(a.astype(float) - b).mean())


@pytest.mark.parametrize('profile', PROFILES)
@pytest.mark.parametrize('name', CORRUPTIONS)
def test_a_frame_depends_on_its_index_and_not_on_what_came_before(name, profile):
    image = scene()
    before = image.copy()
    forwards = [make(name, profile=profile).apply(image, i) for i in range(8)]
    backwards = [make(name, profile=profile).apply(image, i) for i in reversed(range(8))]
    for one, other in zip(forwards, reversed(backwards), strict=True):
        assert one.shape == image.shape
        assert one.dtype == np.uint8
        assert np.array_equal(one, other)
    assert np.array_equal(image, before)


@pytest.mark.parametrize('name', CORRUPTIONS)
def test_it_changes_the_image_and_severity_0_does_not(name):
    image = scene()
    assert distance(make(name).apply(image, 3), image) > 0.1
    untouched = make(name, severity=0.0).apply(image, 3)
    assert np.array_equal(untouched, image)
    assert untouched is not image


@pytest.mark.parametrize('name', GRADED)
def test_more_severe_is_farther_from_the_clean_image(name):
    image = scene()
    means = [
        np.mean([distance(make(name, s).apply(image, i), image) for i in range(0, 40, 4)])
        for s in (1.0, 3.0, 5.0)
    ]
    assert means[0] < means[1] < means[2]


@pytest.mark.parametrize('name', [n for n in CORRUPTIONS if n not in {
    'resampling_blur', 'jpeg', 'blur_7', 'blur_9'}])  # fmt: skip
def test_another_seed_is_another_weather(name):
    image = scene()
    one, other = (make(name, seed=seed).apply(image, 10) for seed in (1, 2))
    assert not np.array_equal(one, other)


def shift_between(before, after):
    """The (x, y) by which the pattern of the second picture is moved, by phase correlation."""
    window = cv2.createHanningWindow(before.shape[::-1], cv2.CV_64F)
    (x, y), _ = cv2.phaseCorrelate(before.astype(float), after.astype(float), window)
    return x, y


@pytest.mark.parametrize(('name', 'fall'), [('rain', (4, 60)), ('snow', (0.3, 20))])
def test_particles_fall_instead_of_flickering(name, fall):
    """A part of the far particles is found again lower down in the next frame."""
    dark = grey(0, (240, 320))
    frames = [make(name, 2.0).apply(dark, i)[..., 0] for i in range(6)]
    amounts = [int((frame > 60).sum()) for frame in frames]
    assert max(amounts) < 1.5 * min(amounts)
    shifts = [shift_between(a, b)[1] for a, b in itertools.pairwise(frames)]
    assert fall[0] < np.median(shifts) < fall[1]


def test_particles_wrap_and_never_run_out():
    dark = grey(0, (240, 320))
    for name in ('rain', 'snow'):
        early = (make(name).apply(dark, 0) > 60).sum()
        late = (make(name).apply(dark, 100_000) > 60).sum()
        assert 0.5 < late / early < 2.0


def test_fog_follows_the_law_of_koschmieder():
    """I = J t + A (1 - t) with a t in (0, 1) that depends on the place and not on the scene."""
    fog = make('fog')
    black, white, middle = (fog.apply(grey(v), 4).astype(float) for v in (0, 255, 100))
    transmission = (white - black) / 255.0
    assert ((transmission > 0.0) & (transmission < 1.0)).all()
    assert np.abs(middle - (black + 100.0 * transmission)).max() <= 2.0  # rounding of three
    air = make('fog', 5.0).apply(grey(0), 4)[0].mean(axis=0)
    assert (air > 150).all()
    # What is far, at the top, is seen worse.
    assert transmission[:20].mean() < transmission[-20:].mean()


@pytest.mark.parametrize('name', ['fog', 'color_jitter', 'motion_blur', 'defocus', 'droplets'])
def test_what_drifts_does_not_flicker(name):
    image = scene()
    frames = [make(name, profile='constant').apply(image, i) for i in range(49)]
    step = np.mean([distance(a, b) for a, b in itertools.pairwise(frames)])
    far = np.mean([distance(a, b) for a, b in zip(frames, frames[24:], strict=False)])
    assert step < 0.35 * far


@pytest.mark.parametrize(
    ('name', 'sigma'), [('gaussian_noise', 30.0), ('noise_10', 10.0), ('noise_30', 30.0)]
)
def test_noise_has_the_deviation_it_states(name, sigma):
    noise = make(name).apply(grey(127), 2).astype(float) - 127
    assert noise.std() == pytest.approx(sigma, rel=0.03)
    assert noise.mean() == pytest.approx(0.0, abs=0.5)
    assert not np.array_equal(noise, make(name).apply(grey(127), 3).astype(float) - 127)


def test_noise_of_the_night_grows_with_light():
    dark, bright = (
        make('night').apply(grey(v), 0).astype(float).std(axis=(0, 1)).mean() for v in (60, 250)
    )
    assert bright > 1.3 * dark


@pytest.mark.parametrize(('name', 'points'), [('salt_pepper_1k', 1000), ('salt_pepper_5k', 5000)])
def test_salt_and_pepper_are_as_many_points_as_stated(name, points):
    out = make(name).apply(grey(127, (480, 640)), 0)
    for value in (0, 255):
        count = int((out == value).all(axis=2).sum())
        assert 0.97 * points / 2 < count <= points / 2  # a few hit the same pixel


@pytest.mark.parametrize('size', [7, 9])
def test_blur_of_youtube_vos_p_is_that_of_opencv(size):
    image = scene()
    assert np.array_equal(
        make(f'blur_{size}').apply(image, 0), cv2.GaussianBlur(image, (size, size), 0)
    )


@pytest.mark.parametrize('name', YOUTUBE_VOS_P)
def test_fixed_corruptions_know_no_severity(name):
    image = scene()
    assert np.array_equal(make(name, 1.0).apply(image, 0), make(name, 5.0).apply(image, 0))


@pytest.mark.parametrize('name', GRADED)
def test_a_ramp_begins_with_the_clean_image(name):
    image = scene()
    assert distance(make(name, profile='ramp').apply(image, 0), image) < 0.6  # rounding


def test_kernel_of_motion_blur_is_a_line():
    kernel = sensor.line_kernel(9.0, 0.0)
    assert kernel.sum() == pytest.approx(1.0)
    assert (kernel > 0).any(axis=1).sum() == 1
    assert (kernel > 0.01).any(axis=0).sum() in {9, 10, 11}
    assert np.allclose(sensor.line_kernel(9.0, np.pi / 2), kernel.T, atol=1e-6)


def test_hue_rotation_keeps_grey_and_length():
    matrix = sensor.hue_rotation(1.0)
    assert np.allclose(matrix @ np.ones(3), 1.0)
    assert np.allclose(matrix @ matrix.T, np.eye(3))


def test_parameters_have_curves_of_their_own():
    asked = {}

    def level(parameter):
        asked[parameter] = Profile('fourier', 3.0, 20).at(7, 5, parameter)
        return asked[parameter]

    weather.rain(scene(), level, 5, 7)
    assert len(asked) == 3
    assert len(set(asked.values())) == 3


def test_a_camera_gets_the_frame_of_its_stamp():
    image = scene()
    direct = make('snow', 2.0, seed=0, num_frames=1).apply(image, 48)
    assert np.array_equal(corrupt_live(image, 'snow', 2.0, 2_000_000_000), direct)
    today = 1_790_000_000_000_000_000
    assert corrupt_live(image, 'rain', 3.0, today).shape == image.shape


def test_the_node_offers_the_same_names():
    assert typing.get_args(CorruptionName) == ('none', *CORRUPTIONS)


def test_names_and_presets():
    assert find_corruptions('fog,compound,fog') == ('fog', *COMPOUND)
    assert find_corruptions('all') == tuple(CORRUPTIONS)
    assert len(find_corruptions('robustpvos-c')) == 8
    assert len(find_corruptions('ytvos-p')) == 6
    assert set(PRESETS).isdisjoint(CORRUPTIONS)


@pytest.mark.parametrize(
    ('build', 'error', 'text'),
    [
        (lambda: make('hail'), ConfigError, "expected one of color_jitter, fog.*got 'hail'"),
        (lambda: find_corruptions('fog,hail'), ConfigError, "got 'hail'"),
        (lambda: make('fog', 5.1), ConfigError, 'severity: expected 0 to 5, got 5.1'),
        (lambda: make('fog', profile='sudden'), ConfigError, "got 'sudden'"),
        (lambda: make('fog', num_frames=0), ConfigError, 'num_frames: expected at least 1'),
        (lambda: make('fog').apply(scene()[..., 0], 0), ImageError, r'expected \(H, W, 3\) uint8'),
        (lambda: make('fog').apply(scene() / 255.0, 0), ImageError, 'float64'),
    ],
)
def test_errors_say_what_was_expected(build, error, text):
    with pytest.raises(error, match=text):
        build()


@pytest.mark.parametrize('size_hw', [(1, 1), (3, 500), (37, 53)])
@pytest.mark.parametrize('name', CORRUPTIONS)
def test_any_size_of_image_will_do(name, size_hw):
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    assert make(name, 5.0).apply(image, 3).shape == image.shape


@pytest.mark.parametrize(
    ('profile', 'values'),
    [
        ('constant', {0: 4.0, 10: 4.0, 20: 4.0, 50: 4.0}),
        ('ramp', {0: 0.0, 10: 2.0, 20: 4.0, 50: 4.0}),
        ('burst', {0: 0.0, 5: 0.0, 10: 4.0, 12: 4.0, 16: 0.0, 20: 0.0, 30: 4.0}),
    ],
)
def test_severity_over_time(profile, values):
    course = Profile(profile, 4.0, 21)
    assert {i: pytest.approx(course.at(i, seed=1)) for i in values} == values


def test_the_fourier_mixture_varies_around_the_severity():
    courses = np.array(
        [[Profile('fourier', 3.0, 60).at(i, seed) for i in range(60)] for seed in range(400)]
    )
    assert ((courses >= 0.0) & (courses <= 5.0)).all()
    assert courses.mean() == pytest.approx(3.0, abs=0.1)
    assert np.median(np.ptp(courses, axis=1)) > 1.0
    # Slow: at most 1.5 cycles in a clip.
    assert np.abs(np.diff(courses, axis=1)).max() < 0.5
    assert fourier_mixture(0.3, 1, 'a') == fourier_mixture(0.3, 1, 'a')
    assert fourier_mixture(0.3, 1, 'a') != fourier_mixture(0.3, 1, 'b')


def test_seeds_of_clips_come_from_their_names():
    assert clip_seed('bear') == clip_seed('bear', 0) == 6589717494060329834
    assert len({clip_seed('bear'), clip_seed('bear', 1), clip_seed('dog')}) == 3
