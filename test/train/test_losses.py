"""Losses against values worked out by hand."""

import math

import pytest
import torch

from robust_vos_ros.core.network.tensors import Candidates
from robust_vos_ros.train import losses


def candidates(logits, *, scores=None, ious=None):
    count, masks = logits.shape[:2]
    return Candidates(
        logits,
        torch.full((count, masks), 0.5) if ious is None else ious,
        torch.zeros(count) if scores is None else scores,
        torch.zeros(count, masks, 4),
    )


def square_truth(size=32):
    truth = torch.zeros(1, size, size, dtype=torch.uint8)
    truth[:, : size // 2, : size // 2] = 1
    return truth


def test_focal_of_an_undecided_pixel_is_the_formula():
    # p = 0.5: alpha_t * 0.5^2 * ln 2
    logits = torch.zeros(1, 1, 2, 2)
    positive = losses.focal_loss(logits, torch.ones(1, 2, 2))
    negative = losses.focal_loss(logits, torch.zeros(1, 2, 2))
    assert positive.item() == pytest.approx(0.25 * 0.25 * math.log(2))
    assert negative.item() == pytest.approx(0.75 * 0.25 * math.log(2))


def test_dice_of_perfect_empty_and_disjoint_masks():
    truth = torch.zeros(1, 4, 4)
    truth[:, :2] = 1
    sure = truth[:, None] * 200.0 - 100.0
    assert losses.dice_loss(sure, truth).item() == pytest.approx(0.0, abs=1e-6)
    # disjoint: overlap 0, both areas 8, smoothed by one pixel
    assert losses.dice_loss(-sure, truth).item() == pytest.approx(1 - 1 / 17, abs=1e-6)
    empty = torch.full((1, 1, 4, 4), -100.0)
    assert losses.dice_loss(empty, torch.zeros(1, 4, 4)).item() == pytest.approx(0.0, abs=1e-6)


def test_truth_shrinks_by_majority():
    truth = torch.zeros(1, 4, 4, dtype=torch.uint8)
    truth[0, :2, :2] = 1
    truth[0, 3, 3] = 1  # a quarter of its cell
    assert losses.shrink_truth(truth, 2).tolist() == [[[1.0, 0.0], [0.0, 0.0]]]


def test_only_the_best_of_three_masks_gets_a_gradient_from_the_mask():
    truth = square_truth()
    right = torch.nn.functional.interpolate(truth[:, None].float(), (8, 8)) * 8 - 4
    logits = torch.cat([-right, right, torch.zeros_like(right)], dim=1).requires_grad_()
    losses.frame_loss(candidates(logits), truth).total.backward()
    assert logits.grad[0, 1].abs().sum() > 0
    assert logits.grad[0, 0].abs().sum() == 0
    assert logits.grad[0, 2].abs().sum() == 0


def test_an_absent_object_teaches_the_object_score_alone():
    logits = torch.randn(1, 3, 8, 8, requires_grad=True)
    ious = torch.rand(1, 3, requires_grad=True)
    scores = torch.zeros(1, requires_grad=True)
    truth = torch.zeros(1, 32, 32, dtype=torch.uint8)
    loss = losses.frame_loss(candidates(logits, scores=scores, ious=ious), truth)
    loss.total.backward()
    assert loss.total.item() == pytest.approx(math.log(2))
    assert scores.grad.item() == pytest.approx(0.5)
    assert not logits.grad.any()
    assert not ious.grad.any()


def test_kept_iou_is_that_of_the_highest_predicted_iou():
    truth = square_truth()
    right = torch.nn.functional.interpolate(truth[:, None].float(), (8, 8)) * 8 - 4
    logits = torch.cat([right, -right], dim=1)
    for ious, expected in (([0.9, 0.1], 1.0), ([0.1, 0.9], 0.0)):
        loss = losses.frame_loss(candidates(logits, ious=torch.tensor([ious])), truth)
        assert loss.iou.item() == pytest.approx(expected, abs=0.05)


def test_total_is_the_weighted_sum_of_sam2():
    torch.manual_seed(0)
    raw = candidates(torch.randn(2, 3, 8, 8), scores=torch.tensor([1.0, -1.0]))
    loss = losses.frame_loss(raw, square_truth().expand(2, -1, -1))
    parts = loss.parts
    expected = 20 * parts['focal'] + parts['dice'] + parts['iou'] + parts['object']
    assert loss.total.item() == pytest.approx(expected.item())


def test_deep_supervision_prefers_the_share_of_each_cell():
    truth = square_truth()
    share = torch.nn.functional.interpolate(truth[:, None].float(), (4, 4), mode='area')[:, 0]
    good = losses.deep_supervision((share * 12 - 6), truth)
    bad = losses.deep_supervision((6 - share * 12), truth)
    assert good < 0.1 < bad
