"""Fitting of calibrations: from masks and whether they were right to P(right)."""

import dataclasses
import types

import numpy as np
import pytest

from robust_vos_ros.core.confidence.calibration import (
    FEATURES,
    Calibration,
    Evidence,
    SavedProjection,
)
from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.eval.calibration import bin_sums, expected_errors
from robust_vos_ros.eval.calibration_clips import make_clips
from robust_vos_ros.eval.fitting import Samples, fit, keep_visibility
from robust_vos_ros.eval.labelled import LabelledFrame

LOOKS = SavedProjection(center=[0.0], matrix=[[1.0]])
MODEL = types.SimpleNamespace(name='nano', weights_hash='ab' * 32)


def draw(seed, num=4000, *, age_helps=False):
    """Masks of which the sure and alike ones are right more often."""
    rng = np.random.default_rng(seed)
    samples = Samples()
    for _ in range(num):
        iou, score = rng.uniform(0.3, 0.99), rng.normal(4.0, 3.0)
        alike, age = rng.uniform(0.0, 1.0), rng.exponential(1.0)
        logit = -6.0 + 3.0 * iou + 0.4 * score + 5.0 * alike + (0.5 if age_helps else -0.5) * age
        samples.evidence.append(
            Evidence(
                iou,
                score,
                memory_age_s=age,
                similarity=alike,
                area_change=rng.uniform(),
                searching=bool(rng.random() < 0.3),
            )
        )
        right = rng.random() < 1.0 / (1.0 + np.exp(-logit))
        samples.iou.append(rng.uniform(0.5, 1.0) if right else rng.uniform(0.0, 0.2))
    return samples


def test_a_fitted_confidence_means_what_it_says_on_other_masks():
    calibration = Calibration(fit(draw(0), LOOKS, MODEL, 'drawn'))
    other = draw(1)
    beliefs = [calibration.estimate(evidence) for evidence in other.evidence]
    chance = np.array([belief.p_correct for belief in beliefs])
    right = np.array(other.iou) > 0.5
    there = np.array([belief.p_on_object for belief in beliefs])
    assert expected_errors(bin_sums(there, np.array(other.iou) > 0.1)) < 0.04
    raw = np.array([e.iou / (1.0 + np.exp(-e.object_score)) for e in other.evidence])
    assert expected_errors(bin_sums(chance, right)) < 0.04
    assert expected_errors(bin_sums(raw, right)) > 0.1
    assert chance[right].mean() > chance[~right].mean() + 0.2


def test_a_fit_of_the_confidence_alone_keeps_what_is_shown():
    start = fit(draw(0, 1000), LOOKS, MODEL, 'drawn')
    file = keep_visibility(fit(draw(1, 1000, age_helps=True), LOOKS, MODEL, 'other'), start)
    assert file.data == 'other'
    for group in ('following', 'searching'):
        before, after = getattr(start, group), getattr(file, group)
        assert after.p_on_object == before.p_on_object
        assert after.p_correct != before.p_correct


def test_features_keep_the_sign_they_can_have():
    weights = fit(draw(0, age_helps=True), LOOKS, MODEL, 'drawn').following.p_correct.weights
    assert weights['memory_age'] == 0.0
    assert weights['similarity'] > 0.0
    assert set(weights) == set(FEATURES)


def test_the_same_samples_give_the_same_file():
    one, two = (fit(draw(0, 1000), LOOKS, MODEL, 'drawn') for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ('num', 'iou', 'says'),
    [
        (50, 0.9, 'following, right.*got 50'),
        (300, 0.9, 'following, right.*of which 300 are right'),
        (300, 0.0, 'following, right.*of which 0 are right'),
    ],
)
def test_too_little_to_learn_from_is_said(num, iou, says):
    samples = Samples([Evidence(0.9, 5.0)] * num, [iou] * num)
    with pytest.raises(DatasetError, match=says):
        fit(samples, LOOKS, MODEL, 'drawn')


def test_where_no_object_was_out_of_sight_the_first_fit_takes_all_masks():
    seen = draw(0, 1000)
    seen.evidence = [dataclasses.replace(evidence, searching=False) for evidence in seen.evidence]
    file = fit(seen, LOOKS, MODEL, 'drawn', first=True)
    assert file.searching == file.following
    with pytest.raises(DatasetError, match=r'searching, right.*got 0'):
        fit(seen, LOOKS, MODEL, 'drawn')


def test_masks_of_a_rendered_clip_are_collected():
    model = load_model(ModelSettings(device='cpu', calibration='none'))
    (source,) = make_clips(None, conditions=1, num_clips=1, num_frames=5, seed=3)
    samples = Samples()
    samples.collect(model, source.frames())
    assert len(samples.evidence) == len(samples.iou) >= 8
    assert all(0.0 <= evidence.iou <= 1.0 for evidence in samples.evidence)
    assert max(samples.iou) > 0.5


def test_size_and_look_of_the_prompt_are_evidence_for_the_fit():
    """Masks are wrong where they grew, or look like something else; nothing else tells."""
    rng = np.random.default_rng(0)
    samples = Samples()
    for _ in range(3000):
        growth, verified = rng.uniform(-0.5, 2.0), rng.uniform(0.3, 1.0)
        wrong = growth > 1.0 or verified < 0.6
        samples.evidence.append(
            Evidence(
                0.8,
                6.0,
                growth=growth,
                extent=0.5 * growth,
                verified=verified,
                searching=bool(rng.random() < 0.3),
            )
        )
        samples.iou.append(0.05 if wrong else 0.9)
    calibration = Calibration(fit(samples, LOOKS, MODEL, 'drawn'))
    good = calibration.estimate(Evidence(0.8, 6.0, verified=0.95))
    grown = calibration.estimate(Evidence(0.8, 6.0, verified=0.95, growth=1.8, extent=0.9))
    other = calibration.estimate(Evidence(0.8, 6.0, verified=0.35))
    assert good.p_correct > 0.9
    assert max(grown.p_correct, other.p_correct) < 0.3


def test_boxes_are_a_prompt_of_calibration_clips(clip):
    model = load_model(ModelSettings(device='cpu', calibration='none'))
    frames = [
        LabelledFrame(image, {1: mask})
        for image, mask in zip(clip.images[:3], clip.masks[:3], strict=True)
    ]
    by_mask, by_box = Samples(), Samples()
    by_mask.collect(model, frames)
    by_box.collect(model, frames, 'box')
    assert len(by_mask.iou) == len(by_box.iou) == 2
    assert by_mask.evidence[0] != by_box.evidence[0]


def test_a_few_cases_do_not_decide_alone():
    """Of 1,000 masks five have a small misfit, and all of these are wrong."""
    samples = draw(0, 1000)
    for index in range(5):
        samples.evidence[index] = dataclasses.replace(samples.evidence[index], misfit=0.02)
        samples.iou[index] = 0.0
    weights = fit(samples, LOOKS, MODEL, 'drawn').following.p_correct.weights
    assert -10.0 <= weights['misfit'] < 0.0
