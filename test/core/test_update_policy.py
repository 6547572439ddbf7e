"""What enters the memory of an object, and what does not."""

import dataclasses
import uuid

import pytest
import torch

from robust_vos_ros.core.confidence import states
from robust_vos_ros.core.confidence.evidence import Observation
from robust_vos_ros.core.memory import update_policy
from robust_vos_ros.core.objects import LiveObject, TrackState
from robust_vos_ros.core.tracking_settings import TrackerSettings

SEEN = Observation(6.0, 0.9, 0.1)
SETTINGS = TrackerSettings()
STEP_NS = 50_000_000


def judge(*observations, settings=SETTINGS):
    """Feed observations 50 ms apart to a prompted object; returns it and what was admitted."""
    item = LiveObject('it', uuid.UUID(int=1), '', 0, 0, TrackState(0, 0))
    states.start(item, SEEN, 0)
    admitted = []
    for index, seen in enumerate(observations, start=1):
        states.update(item, seen, index * STEP_NS, settings)
        enters = update_policy.may_update(item, seen, index * STEP_NS, settings.memory)
        if enters:
            update_policy.update_mean_coverage(item, seen)
        admitted.append(enters)
    return item, admitted


@pytest.mark.parametrize(
    ('last', 'enters'),
    [
        (SEEN, True),
        (Observation(-3.0, 0.9, 0.0), False),  # absent
        (Observation(6.0, 0.2, 0.1), False),  # low predicted IoU
        (Observation(6.0, 0.6, 0.1), False),  # low confidence
        (Observation(6.0, 0.9, 0.99), False),  # covers the image
        (Observation(6.0, 0.9, 0.4), False),  # four times the area at once
    ],
)
def test_only_frames_that_show_the_object_well_enter(last, enters):
    assert judge(SEEN, SEEN, last)[1] == [True, True, enters]


def test_a_new_size_that_stays_is_believed_after_a_while():
    large = Observation(6.0, 0.9, 0.4, verified=0.97)
    _, admitted = judge(SEEN, *[large] * 8)
    assert admitted == [True, *[False] * 6, True, True]  # for 0.3 s
    unlike = dataclasses.replace(large, verified=0.7)
    _, admitted = judge(SEEN, *[unlike] * 8)
    assert admitted == [True, *[False] * 8]  # it has become something else


def test_an_object_that_is_never_sure_is_remembered_at_its_usual_confidence(monkeypatch):
    weak = Observation(2.0, 0.7, 0.1)
    _, admitted = judge(*[weak] * 100)
    assert not any(admitted[:5])
    assert all(admitted[-5:])
    monkeypatch.setattr(update_policy, '_MEAN_SHARE', 1.0)
    assert sum(judge(*[weak] * 100)[1]) < sum(admitted)
    poor = Observation(6.0, 0.6, 0.1)  # right perhaps, but it would spoil the memory
    assert not any(judge(*[poor] * 100)[1])


@pytest.mark.parametrize(
    ('seen', 'jumped', 'enters'),
    [
        (Observation(6.0, 0.4, 0.1), False, True),  # unsure: that is what hypotheses are for
        (Observation(6.0, 0.2, 0.1), False, False),
        (Observation(-1.0, 0.9, 0.0), False, False),
        (Observation(6.0, 0.9, 0.99), False, False),  # covers the image
        (Observation(6.0, 0.9, 0.1), True, False),  # the area jumped a moment ago
    ],
)
def test_what_enters_one_hypothesis_among_several(seen, jumped, enters):
    item, _ = judge(SEEN)
    item.memory.jumped_ns = 2 * STEP_NS if jumped else -(10**12)
    assert update_policy.may_update_hypothesis(item, seen, 3 * STEP_NS, SETTINGS) is enters


def test_without_a_gate_everything_enters():
    absent = Observation(-3.0, 0.1, 0.0)
    assert judge(SEEN, absent, absent, settings=TrackerSettings.plain())[1] == [True] * 3


@pytest.mark.parametrize(
    ('change', 'anchor'),
    [
        ({}, True),
        ({'agreement': 0.9}, False),  # nothing alike in view
        ({'iou': 0.7}, False),  # not sure enough
        ({'coverage': 0.2}, False),  # not of its usual size
    ],
)
def test_anchors_are_good_masks_beside_a_look_alike(change, anchor):
    item, _ = judge(SEEN, SEEN)
    seen = dataclasses.replace(SEEN, agreement=0.5)
    seen = dataclasses.replace(seen, **change)
    assert update_policy.is_anchor(item, seen, 10 * STEP_NS, SETTINGS.memory) is anchor
    item.memory.anchored_ns = 9 * STEP_NS  # just now
    assert not update_policy.is_anchor(item, seen, 10 * STEP_NS, SETTINGS.memory)


def test_pixels_that_another_object_claims_more_strongly_are_taken_out():
    best = torch.full((2, 1, 4), -5.0)
    best[0, 0, :3] = torch.tensor([4.0, 3.0, 1.0])
    best[1, 0, 1:] = torch.tensor([-1.0, 2.0, 6.0])
    clean = update_policy.exclude_others(best, torch.tensor([0, 1]), best)
    assert (clean > 0).int().tolist() == [[[1, 1, 0, 0]], [[0, 0, 1, 1]]]
    kept = clean == best
    assert kept.sum() == 7  # one pixel changed
    # A hypothesis is compared with other objects, never with its own object's best hypothesis.
    weaker = best[:1] - 0.5
    assert (update_policy.exclude_others(weaker, torch.tensor([0]), best) > 0).sum() == 2
    assert update_policy.exclude_others(best[:1], torch.tensor([0]), best[:1]) is not None


def test_what_lies_in_front_of_something_much_larger_and_it_lose_no_pixels():
    best = torch.full((3, 1, 12), -5.0)
    best[0] = 4.0
    best[1, 0, 2:4] = 2.0  # on the first one, which claims these pixels more strongly
    best[2, 0, 3:10] = 6.0  # of the size of the first one
    clean = update_policy.exclude_others(best, torch.tensor([0, 1, 2]), best)
    assert (clean[0] > 0).sum() == 5  # only the third one takes pixels from it
    assert torch.equal(clean[1:], best[1:])
