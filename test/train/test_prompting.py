"""Simulated prompts lie where a user would put them."""

import numpy as np
import pytest
import torch

from robust_vos_ros.train import prompting


def blob(size=64):
    mask = np.zeros((size, size), np.uint8)
    mask[10:40, 20:50] = 1
    return mask


@pytest.mark.parametrize('form', prompting.CLICK_FORMS)
def test_prompts_are_the_same_for_the_same_seed(form):
    truth = np.stack([blob(), blob().T])
    one, two = (prompting.make_clicks(np.random.default_rng(3), truth, form) for _ in range(2))
    assert torch.equal(one.coords, two.coords)
    assert torch.equal(one.labels, two.labels)


def test_box_corners_are_near_the_object_and_inside_the_image():
    rng = np.random.default_rng(0)
    exact = 0
    for _ in range(50):
        clicks = prompting.make_clicks(rng, blob()[None], 'box')
        assert clicks.labels.tolist() == [[2, 3]]
        (x0, y0), (x1, y1) = clicks.coords[0].tolist()
        assert np.abs(np.subtract((x0, y0, x1, y1), (20, 10, 50, 40))).max() <= 3
        exact += (x0, y0, x1, y1) == (20, 10, 50, 40)
    assert 10 < exact < 40, 'about half of the boxes are exact'


def test_clicks_say_the_truth():
    rng = np.random.default_rng(0)
    mask, negatives = blob(), 0
    for form, count in (('click1', 1), ('clicks3', 3)):
        for _ in range(50):
            clicks = prompting.make_clicks(rng, mask[None], form)
            assert clicks.coords.shape == (1, count, 2)
            for (x, y), label in zip(clicks.coords[0], clicks.labels[0], strict=True):
                assert mask[int(y), int(x)] == label
                negatives += int(label == 0)
    assert negatives, 'some clicks say what the object is not'


def test_an_empty_mask_is_prompted_anywhere():
    empty = np.zeros((1, 16, 16), np.uint8)
    for form in prompting.CLICK_FORMS:
        coords = prompting.make_clicks(np.random.default_rng(0), empty, form).coords
        assert ((coords >= 0) & (coords <= 16)).all()


def test_correction_goes_to_the_middle_of_the_largest_error():
    truth = blob()
    missing, extra = truth.copy(), truth.copy()
    missing[10:30, 20:50] = 0
    extra[50:60, 0:60] = 1
    shown = np.stack([missing, extra]) * 2.0 - 1.0
    rng = np.random.default_rng(0)
    clicks = prompting.correction_clicks(
        rng, torch.from_numpy(shown).float(), np.stack([truth, truth])
    )
    assert clicks.labels.tolist() == [[1], [0]]
    (x, y), (u, v) = clicks.coords[:, 0].tolist()
    assert 20 <= x <= 50
    assert 15 <= y <= 25
    assert 0 <= u <= 60
    assert 52 <= v <= 58


def test_correction_of_a_perfect_mask_says_what_is_known():
    truth = np.stack([blob(), np.zeros((64, 64), np.uint8)])
    logits = torch.from_numpy(truth).float() * 2 - 1
    clicks = prompting.correction_clicks(np.random.default_rng(0), logits, truth)
    for mask, (x, y), label in zip(truth, clicks.coords[:, 0], clicks.labels[:, 0], strict=True):
        assert mask[int(y), int(x)] == label


def test_masks_are_degraded_at_times_and_never_vanish():
    rng = np.random.default_rng(0)
    mask, dot = blob(), np.zeros((32, 32), np.uint8)
    dot[5, 5] = 1
    changed = [prompting.degrade_mask(rng, mask) for _ in range(60)]
    same = sum(np.array_equal(c, mask) for c in changed)
    assert 15 < same < 45
    for other in changed:
        assert (other & mask).sum() / (other | mask).sum() > 0.7
    assert all(prompting.degrade_mask(rng, dot).any() for _ in range(60))
