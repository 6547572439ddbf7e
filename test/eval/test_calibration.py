import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.eval.calibration import bin_sums, expected_errors, squared_error
from robust_vos_ros.eval.intervals import bootstrap_interval
from robust_vos_ros.eval.stability import JitterMeter, decay

outcomes = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ('confidence', 'correct', 'ece', 'brier', 'why'),
    [
        ([1.0, 1.0], [1, 1], 0.0, 0.0, 'sure and right'),
        ([1.0, 1.0], [0, 0], 1.0, 1.0, 'sure and wrong'),
        ([0.5, 0.5], [1, 0], 0.0, 0.25, 'undecided and even'),
        ([0.9] * 10, [1] * 9 + [0], 0.0, 0.09, 'nine of ten'),
        ([0.9, 0.1], [1, 1], 0.5, (0.01 + 0.81) / 2, 'gaps of 0.1 and 0.9'),
        ([0.0, 1.0], [0, 1], 0.0, 0.0, 'the ends belong to a bin'),
    ],
)
def test_values_worked_out_by_hand(confidence, correct, ece, brier, why):
    confidence, correct = np.array(confidence), np.array(correct, bool)
    assert expected_errors(bin_sums(confidence, correct)) == pytest.approx(ece), why
    assert squared_error(confidence, correct) / len(correct) == pytest.approx(brier), why


@given(outcomes)
def test_every_outcome_is_in_one_bin(pairs):
    confidence, correct = (np.array(column) for column in zip(*pairs, strict=True))
    count, sums, right = bin_sums(confidence, correct)
    assert count.sum() == len(pairs)
    assert right.sum() == correct.sum()
    assert (right <= count).all()
    edges = np.arange(16) / 15
    assert (sums >= count * edges[:-1] - 1e-9).all()
    assert (sums <= count * edges[1:] + 1e-9).all()
    assert 0.0 <= expected_errors(bin_sums(confidence, correct)) <= 1.0


def test_no_masks_have_no_error():
    assert expected_errors(bin_sums(np.zeros(0), np.zeros(0, bool))) == 0.0


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(200):
        low, high = bootstrap_interval(rng.normal(1.0, 2.0, 40), seed=seed)
        hits += low < 1.0 < high
    assert 180 <= hits <= 198  # of 200, at 95%


def test_the_interval_is_reproducible_and_needs_data():
    values = [0.1, 0.5, -0.2, 0.4]
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert bootstrap_interval([2.0]) == (2.0, 2.0)
    with pytest.raises(ConfigError, match='at least one sequence'):
        bootstrap_interval([])


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ([0.7] * 9, 0.0),
        # Quarters share their ends: 0 to 2 and 6 to 8.
        ([1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.4, 0.3, 0.2], 0.7),
        ([0.3], 0.0),
        ([0.2, 0.8], -0.6),
    ],
)
def test_decay(values, expected):
    assert decay(values) == pytest.approx(expected)


def test_jitter_is_what_does_not_move_with_the_image(clip):
    meter = JitterMeter()
    rng = np.random.default_rng(0)
    for image, mask in zip(clip.images, clip.masks, strict=True):
        shake = np.roll(mask, tuple(rng.integers(-15, 16, 2)), axis=(0, 1))
        meter.add(image, {'true': mask, 'shaken': shake, 'never': np.zeros_like(mask)})
    assert meter.mean('never') is None
    assert meter.mean('true') < 0.1
    assert meter.mean('shaken') > meter.mean('true') + 0.15


@pytest.mark.parametrize('size_hw', [(8, 600), (600, 8), (24, 256), (1, 1), (2000, 10)])
def test_jitter_of_any_shape_of_image(size_hw):
    meter = JitterMeter()
    image, mask = np.zeros((*size_hw, 3), np.uint8), np.ones(size_hw, bool)
    for _ in range(2):
        meter.add(image, {'all': mask})
    assert meter.mean('all') == 0.0


def test_jitter_skips_frames_without_a_mask(clip):
    meter = JitterMeter()
    for index, (image, mask) in enumerate(zip(clip.images, clip.masks, strict=True)):
        meter.add(image, {'object': mask if index % 2 else np.zeros_like(mask)})
    assert meter.mean('object') is None
