"""Results some frames later, along the hypothesis that is best then."""

import numpy as np
import pytest
import torch

from robust_vos_ros.core.memory import hypotheses
from robust_vos_ros.core.memory.hypotheses import Hypothesis
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings, TreeSettings
from robust_vos_ros.core.types import EventType, Prompt

LAG = 3


@pytest.fixture(scope='module')
def scene(make_scene):
    return make_scene()


def make(model, *, lag=LAG, **tree):
    return VideoTracker(model, TrackerSettings(tree=TreeSettings(lag_frames=lag, **tree)))


def mask_prompt(scene, disc, index=0, name=None):
    return Prompt(name or f'disc_{disc}', mask=scene.masks(index)[disc])


def run(tracker, scene, count, start=0):
    """Process frames; the first one is prompted. Return all results, and the final ones."""
    results, final = [], []
    for index in range(start, start + count):
        results.append(tracker.step(scene.frame(index)))
        final += tracker.finished()
        if index == 0:
            tracker.add([mask_prompt(scene, disc) for disc in range(2)])
    return results, final


def hypothesis(proposals, parent, candidate):
    return Hypothesis(parent, candidate, 0.0, float(proposals.ious[parent, candidate]))


def test_the_mask_is_that_of_the_pathway_that_wins_later(model, scene, monkeypatch):
    frames = iter(range(1, 100))

    def expand(proposals, scores, settings):
        """Two hypotheses from frame 1 on, of different masks; from frame 4 on the second leads."""
        frame = next(frames)
        best, worst = int(proposals.ious[0].argmax()), int(proposals.ious[0].argmin())
        if frame == 1:
            return [hypothesis(proposals, 0, best), hypothesis(proposals, 0, worst)]
        order = (1, 0) if frame == 4 else (0, 1)
        return [hypothesis(proposals, k, int(proposals.ious[k].argmax())) for k in order]

    tracker = make(model, max_hypotheses=2, adaptive=False)
    tracker.step(scene.frame(0))
    tracker.add([mask_prompt(scene, 0)])
    monkeypatch.setattr(hypotheses, 'expand', expand)
    logits, final, published = {}, [], []
    for index in range(1, 8):
        published.append(tracker.step(scene.frame(index)))
        logits[index] = tracker._propagator.logits[0, :2].clone()
        final += tracker.finished()
    final += tracker.finished(flush=True)
    winners = {
        1: 1,
        2: 1,
        3: 1,
        4: 0,
        5: 0,
        6: 0,
        7: 0,
    }  # row of the hypothesis that leads at the end
    assert not torch.equal(logits[1][0], logits[1][1])
    for result in final[1:]:
        expected = logits[result.frame_index][winners[result.frame_index]]
        assert torch.equal(result.mask_logits[0], expected)
    assert [result.objects[0].path_switched for result in final[1:]] == [False] * 7
    assert [result.objects[0].path_switched for result in published] == [
        index == 4 for index in range(1, 8)
    ]
    late, early = final[1].objects[0], published[0].objects[0]
    assert (late.object_id, late.uuid, late.label) == (early.object_id, early.uuid, early.label)
    assert late.mask_quality != early.mask_quality


def test_without_a_switch_the_results_are_those_of_no_lag_only_later(model, scene):
    plain, nothing = run(make(model, lag=0), scene, 7)
    results, final = run(make(model), scene, 7)
    assert nothing == []
    assert len(final) == 7 - LAG
    for ours, theirs in zip(results, plain, strict=True):  # the newest one is not touched
        assert torch.equal(ours.mask_logits, theirs.mask_logits)
        assert repr(ours.objects) == repr(theirs.objects)  # NaN is not equal to itself
    for late, theirs in zip(final[1:], plain[1:], strict=False):
        assert torch.equal(late.mask_logits, theirs.mask_logits)
        assert np.array_equal(late.label_mask, theirs.label_mask)
        assert repr((late.objects, late.events)) == repr((theirs.objects, theirs.events))
        assert (late.frame_index, late.stamp_ns) == (theirs.frame_index, theirs.stamp_ns)


def test_every_frame_comes_once_and_in_order(model, scene):
    tracker = make(model)
    _, final = run(tracker, scene, 6)
    final += tracker.finished(flush=True)
    assert [result.frame_index for result in final] == list(range(6))
    assert tracker.finished(flush=True) == []


def test_a_prompt_is_known_from_its_frame_on(model, scene):
    tracker = make(model)
    for index in range(4):
        tracker.step(scene.frame(index))
    tracker.add([mask_prompt(scene, 0, 2)], frame=scene.frame(2))
    final = tracker.finished(flush=True)
    assert [len(result.objects) for result in final] == [0, 0, 1, 1]
    assert (final[2].mask('disc_0') & scene.masks(2)[0]).sum() > 1000


def test_removed_and_replaced_objects(model, scene):
    tracker = make(model)
    run(tracker, scene, 2)
    tracker.remove(['disc_0'])
    tracker.step(scene.frame(2))
    tracker.add([mask_prompt(scene, 1, 2)], replace_existing=True)
    tracker.step(scene.frame(3))
    newest = tracker.last_result.objects[0].uuid
    final = tracker.finished(flush=True)
    ids = [[item.object_id for item in result.objects] for result in final]
    assert ids == [['disc_0', 'disc_1']] * 2 + [['disc_1']] * 2
    assert [result.objects[-1].uuid == newest for result in final] == [False, False, True, True]


def test_events_come_with_their_frame(model, scene):
    tracker = make(model)
    results, final = run(tracker, scene, 8)
    final += tracker.finished(flush=True)
    confirmed = [r.frame_index for r in results for e in r.events if e.type == EventType.CONFIRMED]
    assert confirmed
    assert confirmed == [
        r.frame_index for r in final for e in r.events if e.type == EventType.CONFIRMED
    ]


def test_a_reset_forgets_what_was_not_asked_for(model, scene):
    tracker = make(model)
    run(tracker, scene, 3)
    tracker.reset()
    assert tracker.finished(flush=True) == []
    tracker.step(scene.frame(0))
    (result,) = tracker.finished(flush=True)
    assert (result.frame_index, result.objects) == (0, ())


def test_a_frame_that_failed_is_left_out(model, scene, monkeypatch):
    tracker = make(model)
    run(tracker, scene, 3)
    with monkeypatch.context() as patch:
        patch.setattr(tracker._propagator.reidentifier, 'learn', None)
        with pytest.raises(TypeError):
            tracker.step(scene.frame(3))
    run(tracker, scene, 3, start=4)
    final = tracker.finished(flush=True)
    assert [result.frame_index for result in final] == [4, 5, 6]
