"""The rules by which hypotheses survive."""

import math

import numpy as np
import pytest
import torch

from robust_vos_ros.core.memory import hypotheses
from robust_vos_ros.core.memory.hypotheses import MemoryTree, Proposals, expand, is_uncertain
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_sections import TreeSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Prompt

TREE = TreeSettings(max_hypotheses=3)
ALWAYS = TreeSettings(max_hypotheses=3, adaptive=False)
SURE, UNSURE, ABSENT = 6.0, 1.0, -6.0


def propose(*proposals):
    """Each path: its three IoUs and its object score."""
    return Proposals(
        np.array([ious for ious, _ in proposals]), np.array([score for _, score in proposals])
    )


def picks(chosen):
    return [(hypothesis.parent, hypothesis.candidate) for hypothesis in chosen]


@pytest.mark.parametrize(
    ('proposals', 'scores', 'settings', 'expected'),
    [
        # Alone and sure: the best mask.
        ([([0.2, 0.9, 0.8], SURE)], [0.0], TREE, [(0, 1)]),
        # Always three: the best three of the tree, all of one parent if they are.
        (
            [([0.9, 0.8, 0.7], SURE), ([0.1, 0.1, 0.1], SURE)], [0.0, -0.1], ALWAYS,
            [(0, 0), (0, 1), (0, 2)],
        ),
        # Unsure: masks of equal IoU are one hypothesis, the next distinct one is taken.
        (
            [([0.801, 0.8, 0.6], UNSURE)], [0.0], TREE, [(0, 0), (0, 2)],
        ),
        # Unsure and too few distinct ones: hypotheses without a branch get one.
        (
            [([0.8, 0.8, 0.8], UNSURE), ([0.8, 0.8, 0.8], UNSURE)], [0.0, -0.5], ALWAYS,
            [(0, 0), (1, 0)],
        ),
        # Scores add up: a good past outweighs one good frame.
        (
            [([0.6, 0.5, 0.4], SURE), ([0.9, 0.1, 0.1], SURE)], [0.0, -1.0],
            TREE, [(0, 0), (1, 0)],
        ),
        # ... until the sum says otherwise.
        (
            [([0.3, 0.2, 0.1], SURE), ([0.9, 0.1, 0.1], SURE)], [0.0, -1.0],
            TREE, [(1, 0), (0, 0)],
        ),
        # One hypothesis only, however unsure.
        ([([0.3, 0.4, 0.1], UNSURE)], [0.0], TreeSettings(max_hypotheses=1), [(0, 1)]),
    ],
)  # fmt: skip
def test_branches_that_survive(proposals, scores, settings, expected):
    assert picks(expand(propose(*proposals), np.array(scores), settings)) == expected


def test_scores_are_relative_and_follow_the_equation():
    first, second = expand(
        propose(([0.9, 0.1, 0.1], SURE), ([0.8, 0.1, 0.1], SURE)),
        np.array([0.0, -0.2]),
        TREE,
    )
    assert first.score == 0.0
    assert second.score == pytest.approx(-0.2 + math.log(0.8 + 1e-5) - math.log(0.9 + 1e-5))


def test_absence_does_not_move_scores():
    before = np.array([0.0, -0.7])
    proposals = propose(([0.1, 0.2, 0.1], ABSENT), ([0.9, 0.8, 0.1], ABSENT))
    hypotheses = expand(proposals, before, TREE)
    assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx([0.0, -0.7])


@pytest.mark.parametrize(('absent_score', 'winner'), [(-6.0, 0), (-0.1, 1)])
def test_a_hypothesis_that_sees_nothing_wins_only_if_it_is_sure(absent_score, winner):
    proposals = propose(([0.9, 0.9, 0.9], absent_score), ([0.8, 0.1, 0.1], SURE))
    assert expand(proposals, np.zeros(2), TREE)[0].parent == winner


def test_a_hypothesis_far_behind_is_given_up():
    proposals = propose(([0.9, 0.1, 0.1], SURE), ([0.9, 0.1, 0.1], SURE))
    assert len(expand(proposals, np.array([0.0, -2.9]), TREE)) == 2
    assert len(expand(proposals, np.array([0.0, -3.1]), TREE)) == 1


@pytest.mark.parametrize(
    ('ious', 'score', 'uncertain'),
    [
        ([0.9, 0.8, 0.7], SURE, False),
        ([0.9, 0.8, 0.7], UNSURE, True),
        ([0.25, 0.2, 0.1], SURE, True),  # surely there, but where?
        ([0.25, 0.2, 0.1], ABSENT, False),  # surely not there
    ],
)
def test_when_a_frame_is_uncertain(ious, score, uncertain):
    assert is_uncertain(propose((ious, score)), TREE) is uncertain


def test_the_batch_has_a_row_for_each_hypothesis():
    tree = MemoryTree(4, 3)
    proposals = propose(([0.9, 0.5, 0.3], UNSURE))
    tree.keep(2, expand(proposals, tree.scores(2), TREE))
    owners, rows = tree.rows(np.array([0, 2, 3]))
    assert owners.tolist() == [0, 1, 1, 1, 2]
    assert rows.tolist() == [0, 0, 1, 2, 0]
    tree.collapse(np.array([2]))
    assert tree.rows(np.array([0, 2, 3]))[0].tolist() == [0, 1, 2]


def run(model, scene, settings, num_frames=12):
    """Track two discs; returns the result of every frame."""
    tracker = VideoTracker(model, settings)
    prompts = [Prompt(f'disc {k}', mask=mask) for k, mask in enumerate(scene.masks(0))]
    results = []
    for index in range(num_frames):
        tracker.step(scene.frame(index))
        if index == 0:
            tracker.add(prompts)
        results.append(tracker.last_result)
    return results


def test_hypotheses_that_are_never_needed_change_no_bit(model, scene, monkeypatch):
    monkeypatch.setattr(hypotheses, '_UNCERTAIN_IOU', 0.0)
    plain = TrackerSettings.plain()
    calm = TreeSettings(max_hypotheses=3, uncertain_score=0.0)
    grown = plain.model_copy(update={'tree': calm})
    for one, other in zip(run(model, scene, plain), run(model, scene, grown), strict=True):
        assert torch.equal(one.mask_logits, other.mask_logits)
        assert repr(one.objects) == repr(other.objects)


def test_an_uncertain_object_has_several_hypotheses(model, scene, monkeypatch):
    monkeypatch.setattr(hypotheses, '_MAX_SCORE_GAP', 100.0)
    rows, attend = [], model.attend
    monkeypatch.setattr(
        model, 'attend', lambda f, view, *a: rows.append(len(view.spatial)) or attend(f, view, *a)
    )
    always = TreeSettings(max_hypotheses=3, adaptive=False, uncertain_score=20.0)
    settings = TrackerSettings.plain().model_copy(update={'tree': always})
    results = run(model, scene, settings, 20)
    assert rows[0] == 2
    assert set(rows[1:]) <= {4, 5, 6}  # distinct ones are few where all agree
    assert max(rows) == 6
    # The best hypothesis is published: its masks sit on the discs.
    for mask, item in zip(scene.masks(19), results[-1].objects, strict=True):
        found = results[-1].mask(item.object_id)
        assert (found & mask).sum() / (found | mask).sum() > 0.5
