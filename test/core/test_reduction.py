"""What a tracker leaves out under overload, and how honest the results are then."""

import itertools
import math

import pytest

from robust_vos_ros.core.confidence import states
from robust_vos_ros.core.objects import LiveObject, TrackState
from robust_vos_ros.core.reduction import Reduction
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_sections import TreeSettings, ZoomSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import EventType, ObjectFlag, ObjectState, Prompt

SECOND = 10**9


def started(tracker, scene, num_discs):
    tracker.step(scene.frame(0))
    tracker.add([Prompt(f'disc_{disc}', mask=scene.masks(0)[disc]) for disc in range(num_discs)])
    for index in range(1, 3):  # tracked, not just prompted
        result = tracker.step(scene.frame(index))
    return result


def test_objects_in_turn_are_aged_and_not_fresh(tracker, make_scene):
    scene = make_scene(3)
    before = started(tracker, scene, 3)
    tracker.reduction = Reduction(turns=2)
    fresh = {item.object_id: 0 for item in before.objects}
    for index in range(4, 10):
        result = tracker.step(scene.frame(index))
        old = {item.object_id: item for item in before.objects}
        for item in result.objects:
            last = old[item.object_id]
            if item.flags & ObjectFlag.AGED:
                assert item.last_seen_ns == last.last_seen_ns < result.stamp_ns
                assert item.confidence < last.confidence
                assert item.existence_probability < last.existence_probability
                assert item.frames_since_seen == last.frames_since_seen + 1
                assert not item.memory_updated
                assert item.area_px > 0
            else:
                fresh[item.object_id] += 1
                assert item.last_seen_ns == result.stamp_ns
                assert item.frames_since_seen == 0
        assert sum(bool(item.flags & ObjectFlag.AGED) for item in result.objects) == 1
        before = result
    assert set(fresh.values()) == {4}  # of 6 frames: nobody is forgotten
    for disc, item in enumerate(result.objects):
        mask, truth = result.mask(item.object_id), scene.masks(9)[disc]
        assert (mask & truth).sum() / (mask | truth).sum() > 0.5


def test_leaving_out_nothing_again_gives_fresh_objects(tracker, make_scene):
    scene = make_scene(2)
    started(tracker, scene, 2)
    tracker.reduction = Reduction(turns=2)
    tracker.step(scene.frame(4))
    tracker.reduction = Reduction()
    result = tracker.step(scene.frame(5))
    assert not any(item.flags & ObjectFlag.AGED for item in result.objects)
    assert {item.last_seen_ns for item in result.objects} == {result.stamp_ns}


def test_nobody_starves_after_time_went_back(tracker, make_scene):
    scene = make_scene(2)
    started(tracker, scene, 2)
    for index in range(40, 42):
        tracker.step(scene.frame(index))
    tracker.reduction = Reduction(turns=2)
    fresh = set()
    for index in range(2, 6):
        result = tracker.step(scene.frame(index))
        fresh |= {x.object_id for x in result.objects if not x.flags & ObjectFlag.AGED}
    assert fresh == {'disc_0', 'disc_1'}


def test_a_resting_object_keeps_its_pixels_from_a_duplicate(model, make_scene):
    """Otherwise two objects that never share a turn could share a mask."""
    scene, same = make_scene(1), []
    for turns in (1, 2):
        tracker = VideoTracker(model, TrackerSettings(max_objects=4))
        tracker.step(scene.frame(0))
        mask = scene.masks(0)[0]
        tracker.add([Prompt('first', mask=mask), Prompt('second', mask=mask)])
        tracker.reduction = Reduction(turns=turns)
        for index in range(1, 7):
            result = tracker.step(scene.frame(index))
        same.append(sum(item.area_px > 0 for item in result.objects))
    assert same == [1, 1]


def test_one_hypothesis_per_object(model, scene):
    tree = TreeSettings(max_hypotheses=3, adaptive=False)
    tracker = VideoTracker(model, TrackerSettings(max_objects=2, tree=tree))
    started(tracker, scene, 1)
    numbers = []
    for reduction in (Reduction(), Reduction(one_hypothesis=True), Reduction()):
        tracker.reduction = reduction
        tracker.step(scene.frame(4))
        numbers.append(len(tracker._tracks.propagator.tree.scores(0)))
    assert numbers == [3, 1, 3]


def test_searches_are_rarer(model, scene, monkeypatch):
    whole = ZoomSettings(enabled=False)  # searches need the whole image
    tracker = VideoTracker(model, TrackerSettings(max_objects=2, zoom=whole))
    searched = []
    monkeypatch.setattr(
        'robust_vos_ros.core.tracker.redetect',
        lambda live, segmenter, propagator, record, settings: (
            searched.append(record.stamp_ns)
            or setattr(live[0].reid, 'searched_ns', record.stamp_ns)
        ),
    )
    started(tracker, scene, 1)
    searched.clear()
    tracker.reduction = Reduction(search_interval_s=0.3)
    for index in range(4, 14):
        tracker.step(scene.frame(index))
    gaps = [after - before for before, after in itertools.pairwise(searched)]
    assert gaps
    assert min(gaps) >= 0.3 * SECOND


def make_item(state, confidence, *, visible=True):
    track = TrackState(
        prompted_ns=0, last_seen_ns=SECOND, state=state, visible=visible, confidence=confidence,
        tracked_confidence=confidence, updated_ns=SECOND,
    )  # fmt: skip
    return LiveObject('it', None, '', 0, 0, track)


@pytest.mark.parametrize(
    ('state', 'confidence', 'after_s', 'becomes', 'events'),
    [
        (ObjectState.TRACKED, 0.9, 0.05, ObjectState.TRACKED, []),  # still good enough
        (ObjectState.TRACKED, 0.9, 0.5, ObjectState.UNCERTAIN, [EventType.UNCERTAIN]),
        (ObjectState.UNCERTAIN, 0.7, 0.0, ObjectState.UNCERTAIN, []),  # age improves nothing
        (ObjectState.INITIALIZING, 0.9, 0.05, ObjectState.INITIALIZING, []),
    ],
)
def test_age_lowers_the_state_and_never_raises_it(state, confidence, after_s, becomes, events):
    item = make_item(state, confidence)
    stamp_ns = SECOND + int(after_s * 1e9)
    assert states.age(item, stamp_ns, TrackerSettings()) == events
    assert item.track.state == becomes
    assert item.track.confidence == pytest.approx(confidence * 0.5 ** (after_s / 0.25))


def test_an_unseen_object_gets_lost_while_it_rests():
    item = make_item(ObjectState.OCCLUDED, 0.0, visible=False)
    assert states.age(item, 5 * SECOND, TrackerSettings()) == [EventType.LOST]
    assert not item.track.flags & ObjectFlag.AGED  # it has no mask that could be old
    assert math.isclose(item.track.existence, 0.5**4)
