import importlib.util
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robust_vos_ros.core.errors import ImageError
from robust_vos_ros.eval.metrics import boundary_accuracy, region_similarity, score_sequence

HERE = Path(__file__).parent
DAVIS = HERE.parents[2] / 'shared' / 'davis2016_train' / 'Annotations'
GOLDEN = json.loads((HERE / 'golden_metrics.json').read_text())

pairs_of_masks = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


def golden_script():
    path = HERE.parents[1] / 'scripts' / 'make_golden_metrics.py'
    spec = importlib.util.spec_from_file_location('make_golden_metrics', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rectangle(size_hw, top, left, bottom, right):
    mask = np.zeros(size_hw, bool)
    mask[top:bottom, left:right] = True
    return mask


def both(pred, true, void=None):
    return region_similarity(pred, true, void), boundary_accuracy(pred, true, void)


# The boundary of a 4 x 4 square is a ring of 16 pixels, as it includes those above and left of the
# square. The tolerance in a 20 x 20 image is 1 px.
SQUARE = rectangle((20, 20), 5, 5, 9, 9)
EMPTY = np.zeros((20, 20), bool)


@pytest.mark.parametrize(
    ('pred', 'true', 'j', 'f', 'why'),
    [
        (SQUARE, SQUARE, 1.0, 1.0, 'equal'),
        (EMPTY, EMPTY, 1.0, 1.0, 'nothing, rightly'),
        (EMPTY, SQUARE, 0.0, 0.0, 'missed'),
        (SQUARE, EMPTY, 0.0, 0.0, 'invented'),
        (~EMPTY, ~EMPTY, 1.0, 1.0, 'a full image has no boundary'),
        (~EMPTY, EMPTY, 0.0, 1.0, 'two masks without boundary'),
        (SQUARE, rectangle((20, 20), 5, 6, 9, 10), 12 / 20, 1.0, 'shifted within the tolerance'),
        (SQUARE, rectangle((20, 20), 13, 13, 17, 17), 0.0, 0.0, 'elsewhere'),
        (
            # Rings in rows 4 to 8, of columns 4 to 8 and 6 to 10. Near the second are of the
            # first, in columns 4 to 8: none, the ends, the ends, the ends, all but the middle.
            SQUARE,
            rectangle((20, 20), 5, 7, 9, 11),
            8 / 24,
            10 / 16,
            'shifted by 2 px, one beyond the tolerance',
        ),
    ],
)
def test_values_worked_out_by_hand(pred, true, j, f, why):
    assert both(pred, true) == (pytest.approx(j), pytest.approx(f)), why


def test_boundary_at_the_edge_of_the_image_needs_no_pixels_outside():
    # The left half: its boundary is its last column, 8 pixels; the image's border is none.
    half = rectangle((8, 8), 0, 0, 8, 4)
    other = rectangle((8, 8), 0, 0, 4, 4)
    # Of its column and row (3, 0 to 3), 4 + 4 - 1 pixels, those in columns 2 and 3 are near.
    # Tolerance 1: of the column of 8, rows 0 to 4 are near.
    precision, recall = 5 / 7, 5 / 8
    assert boundary_accuracy(other, half) == pytest.approx(
        2 * precision * recall / (precision + recall)
    )


def test_tolerance_grows_with_the_image():
    for size, shift, expected in ((124, 1, 1.0), (1000, 12, 1.0), (1000, 13, 0.0)):
        line = rectangle((size, size), size // 2, 0, size // 2 + 1, size)
        # The boundary of a line is two rows; a shift of 13 leaves 12 between the inner ones.
        far = np.roll(line, shift + (shift > 12), axis=0)
        assert boundary_accuracy(line, far) == expected, (size, shift)


@settings(max_examples=200, deadline=None)
@given(pairs_of_masks)
def test_measures_are_symmetric_and_bounded(pair):
    first, second = pair
    values = both(first, second)
    assert values == pytest.approx(both(second, first))
    assert all(0.0 <= value <= 1.0 for value in values)
    assert both(first, first) == (1.0, 1.0)


@settings(max_examples=100, deadline=None)
@given(pairs_of_masks)
def test_void_pixels_count_for_nothing(pair):
    truth, void = pair
    assert both(truth ^ void, truth, void) == (1.0, 1.0)
    nowhere = np.zeros_like(void)
    assert both(void, truth, nowhere) == both(void, truth)


def test_golden_values_of_vos_benchmark():
    make_masks = golden_script().make_masks
    for seed, expected in GOLDEN.items():
        values = both(*make_masks(int(seed)))
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9, err_msg=f'seed {seed}')


def test_agrees_with_vos_benchmark_where_it_is_installed():
    pytest.importorskip('vos_benchmark')
    script = golden_script()
    for seed in range(1000, 1200):
        pair = script.make_masks(seed)
        np.testing.assert_allclose(both(*pair), script.reference(*pair), rtol=0, atol=1e-9)


@pytest.mark.skipif(not DAVIS.is_dir(), reason='needs the sequences of DAVIS')
def test_agrees_with_vos_benchmark_on_real_masks():
    pytest.importorskip('vos_benchmark')
    from PIL import Image

    script = golden_script()
    for folder in sorted(DAVIS.iterdir())[:6]:
        files = sorted(folder.glob('*.png'))[::10]
        masks = [np.array(Image.open(file)) > 0 for file in files]
        for pair in itertools.pairwise(masks):
            np.testing.assert_allclose(both(*pair), script.reference(*pair), rtol=0, atol=1e-9)


def test_first_and_last_frames_are_not_scored():
    true = [SQUARE] * 4
    wrong = [EMPTY, SQUARE, SQUARE, EMPTY]
    assert score_sequence(wrong, true).jf == 1.0
    assert score_sequence(wrong, true, skip_first=False).j == pytest.approx(2 / 3)
    assert score_sequence(wrong, true, skip_last=False).f == pytest.approx(2 / 3)
    assert score_sequence(wrong, true, skip_first=False, skip_last=False).jf == 0.5


def test_sequence_score_is_the_mean_of_frames():
    shifted = rectangle((20, 20), 5, 7, 9, 11)
    score = score_sequence([SQUARE] * 4, [SQUARE, shifted, SQUARE, SQUARE])
    assert score.j == pytest.approx((8 / 24 + 1) / 2)
    assert score.f == pytest.approx((10 / 16 + 1) / 2)
    assert score.jf == pytest.approx((score.j + score.f) / 2)
    # Without what differs, all is right.
    voids = [None, SQUARE ^ shifted, None, None]
    assert score_sequence([SQUARE] * 4, [SQUARE, shifted, SQUARE, SQUARE], voids).jf == 1.0


@pytest.mark.parametrize(
    ('pred', 'true', 'void'),
    [
        (SQUARE, SQUARE[:-1], None),
        (SQUARE.astype(np.uint8), SQUARE, None),
        (SQUARE[None], SQUARE[None], None),
        (SQUARE, SQUARE, SQUARE[:, 1:]),
    ],
)
def test_unusable_masks_are_refused(pred, true, void):
    for measure in (region_similarity, boundary_accuracy):
        with pytest.raises(ImageError, match='bool masks of one size'):
            measure(pred, true, void)


def test_unusable_sequences_are_refused():
    with pytest.raises(ImageError, match='expected 3 predicted masks'):
        score_sequence([SQUARE] * 2, [SQUARE] * 3)
    with pytest.raises(ImageError, match='expected more than 2 frames'):
        score_sequence([SQUARE] * 2, [SQUARE] * 2)
