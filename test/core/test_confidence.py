import dataclasses
import uuid

import pytest

from robust_vos_ros.core.confidence import states
from robust_vos_ros.core.confidence.calibration import FEATURES, to_features
from robust_vos_ros.core.confidence.evidence import Observation
from robust_vos_ros.core.objects import LiveObject, TrackState
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import EventType, ObjectFlag, ObjectState

SEEN = Observation(6.0, 0.9, 0.1)
WEAK = Observation(6.0, 0.5, 0.1)  # between tracked_off and tracked_on
BAD = Observation(6.0, 0.35, 0.1)  # below tracked_off, but still a mask
GONE = Observation(-5.0, 0.9, 0.0)
SETTINGS = TrackerSettings()
AT_ONCE = TrackerSettings(reacquire={'hold_s': 0.0})
STEP_NS = 100_000_000


def run(*observations, settings=SETTINGS, prompted=SEEN):
    """Feed observations 0.1 s apart; returns the object and (states, events) by frame."""
    item = LiveObject('it', uuid.UUID(int=1), '', 0, 0, TrackState(0, 0))
    states.start(item, prompted, 0)
    entered, events = [], []
    for index, observation in enumerate(observations, start=1):
        events.append(states.update(item, observation, index * STEP_NS, settings))
        entered.append(item.track.state)
    return item, entered, events


def test_an_object_is_confirmed_after_a_while():
    _, states, events = run(SEEN, SEEN, SEEN)
    assert states == [ObjectState.INITIALIZING, ObjectState.TRACKED, ObjectState.TRACKED]
    assert events == [[], [EventType.CONFIRMED], []]


def test_between_the_two_thresholds_the_state_stays():
    _, states, _ = run(SEEN, SEEN, WEAK, BAD, WEAK, SEEN)
    assert states[1:] == [
        ObjectState.TRACKED,
        ObjectState.TRACKED,  # weak is good enough to stay
        ObjectState.UNCERTAIN,
        ObjectState.UNCERTAIN,  # but not good enough to come back
        ObjectState.TRACKED,
    ]


def test_an_unseen_object_goes_from_uncertain_to_occluded_to_lost_and_back():
    num_held = round(SETTINGS.reacquire.hold_s / 0.1)
    item, states, events = run(SEEN, SEEN, *[GONE] * 31, *[SEEN] * (num_held + 1))
    assert states[2] == ObjectState.UNCERTAIN  # 0.1 s
    assert states[3] == ObjectState.OCCLUDED  # 0.2 s
    assert states[30] == ObjectState.OCCLUDED  # 2.9 s
    assert states[31] == ObjectState.LOST  # 3.0 s
    assert states[-2:] == [ObjectState.LOST, ObjectState.TRACKED]
    kinds = [kind for frame in events for kind in frame]
    assert kinds == [
        EventType.CONFIRMED, EventType.UNCERTAIN, EventType.OCCLUDED, EventType.LOST,
        EventType.REACQUIRED,
    ]  # fmt: skip
    assert item.track.frames_since_seen == 0


def test_confidence_is_existence_times_predicted_iou_and_zero_when_unseen():
    item, _, _ = run(SEEN)
    assert item.track.confidence == pytest.approx(item.track.existence * 0.9)
    item, _, _ = run(SEEN, GONE)
    assert item.track.confidence == 0.0
    assert item.track.mask_quality != item.track.mask_quality  # NaN: there is no mask to judge


def test_existence_halves_while_unseen_and_is_back_when_seen():
    item, _, _ = run(SEEN)
    seen = item.track.existence
    settings = AT_ONCE.model_copy(update={'existence_half_life_s': 0.5})
    item, _, _ = run(SEEN, *[GONE] * 5, settings=settings)
    assert item.track.existence == pytest.approx(seen / 2)
    item, _, _ = run(SEEN, *[GONE] * 5, SEEN, settings=settings)
    assert item.track.existence == pytest.approx(seen)


def test_an_unseen_object_becomes_lost_also_after_time_went_backwards():
    item, _, _ = run(SEEN, SEEN)
    for index in range(-1000, -1000 + 45):
        states.update(item, GONE, index * STEP_NS, SETTINGS)
    assert item.track.state == ObjectState.LOST
    assert item.track.existence < 0.2


UNLIKE = dataclasses.replace(SEEN, similarity=0.1)
ALIKE = dataclasses.replace(SEEN, similarity=0.9)


@pytest.mark.parametrize(
    ('found', 'verify', 'back'),
    [
        ([ALIKE, ALIKE], True, True),
        ([ALIKE], True, False),  # not for long enough
        ([UNLIKE] * 5, True, False),
        ([ALIKE, UNLIKE, ALIKE], True, False),  # a look-alike does now and then
        ([UNLIKE], False, True),
        ([SEEN, SEEN], True, True),  # nothing is known of its looks
    ],
)
def test_a_lost_object_is_back_when_it_has_looked_like_itself_for_a_while(found, verify, back):
    settings = TrackerSettings(lost_after_s=0.2, reacquire={'verify': verify, 'hold_s': 0.1})
    item, states, _ = run(SEEN, SEEN, *[GONE] * 4, *found, settings=settings)
    assert states[5] == ObjectState.LOST
    assert item.track.visible is back
    assert item.track.state == (ObjectState.TRACKED if back else ObjectState.LOST)


@pytest.mark.parametrize(
    ('found', 'back'),
    [
        ([ALIKE, ALIKE, ALIKE], True),
        ([ALIKE, ALIKE, UNLIKE, ALIKE], False),
        ([ALIKE, ALIKE, UNLIKE, ALIKE, ALIKE], True),  # a bad frame costs as much as it lasts
        ([ALIKE, UNLIKE, UNLIKE, ALIKE, ALIKE], False),
    ],
)
def test_bad_frames_count_against_good_ones(found, back):
    settings = TrackerSettings(lost_after_s=0.2, reacquire={'hold_s': 0.2})
    item, _, _ = run(SEEN, SEEN, *[GONE] * 4, *found, settings=settings)
    assert item.track.visible is back


@pytest.mark.parametrize(
    ('num_gone', 'returned_ns', 'why'),
    [
        (0, None, 'it was never gone'),
        (1, None, 'a frame without it is no absence'),
        (4, 7 * STEP_NS, 'it was OCCLUDED'),
    ],
)
def test_when_an_object_came_back_is_noted(num_gone, returned_ns, why):
    item, _, _ = run(SEEN, SEEN, *[GONE] * num_gone, SEEN, SEEN, settings=AT_ONCE)
    assert item.reid.reacquired_ns == returned_ns, why


@pytest.mark.parametrize(
    ('mean_similarity', 'similarity', 'drop'),
    [(0.9, 0.6, 0.3), (0.9, 0.95, 0.0), (float('nan'), 0.6, 0.0), (0.9, float('nan'), 0.0)],
)
def test_evidence_tells_how_much_less_alike_than_usual_a_mask_is(
    mean_similarity, similarity, drop
):
    item, _, _ = run(SEEN)
    item.reid.mean_similarity = mean_similarity
    seen = dataclasses.replace(SEEN, similarity=similarity)
    features = to_features(states.gather(item, seen, STEP_NS))
    assert features[FEATURES.index('drop')] == pytest.approx(drop)


def test_an_unseen_object_needs_more_evidence_than_a_seen_one():
    hint = Observation(0.8, 0.9, 0.1)  # above visible_off, below visible_on
    item, _, _ = run(SEEN, hint)
    assert item.track.visible
    item, _, _ = run(GONE, hint)
    assert not item.track.visible


@pytest.mark.parametrize(
    ('prompted', 'coverage', 'vetoed'),
    [
        (0.1, 0.99, True),  # a lost object swallows the image
        (0.1, 0.9, False),  # a near object may fill most of it
        (0.99, 0.985, False),  # the user said it fills the image
    ],
)
def test_masks_of_the_whole_image_are_vetoed(prompted, coverage, vetoed):
    item, _, _ = run(Observation(6.0, 0.9, coverage), prompted=Observation(6.0, 0.9, prompted))
    assert item.track.visible is not vetoed
    assert bool(item.track.flags & ObjectFlag.COVERS_IMAGE) is vetoed


@pytest.mark.parametrize(
    ('ratio', 'flagged'), [(1.5, False), (3.5, True), (0.5, False), (0.2, True)]
)
def test_sudden_changes_of_area_are_flagged(ratio, flagged):
    item, _, _ = run(SEEN, Observation(6.0, 0.9, 0.1 * ratio))
    assert bool(item.track.flags & ObjectFlag.AREA_JUMP) is flagged


def test_extreme_scores_do_not_overflow():
    item, _, _ = run(Observation(-1e6, 0.9, 0.0), Observation(1e6, 0.9, 0.1))
    assert item.track.existence == pytest.approx(1.0)


def sized(growth=1.0, spread=1.0, verified=0.85):
    """A sure mask of some times the area and spread of the prompt, and how alike it is."""
    return Observation(6.0, 0.95, 0.04 * growth, verified=verified, spread=0.08 * spread)


@pytest.mark.parametrize(
    ('seen', 'changed', 'why'),
    [
        (sized(), False, 'it is what was pointed at'),
        (sized(growth=2.0), False, 'it came nearer'),
        (sized(growth=4.0), True, 'it spilled onto what it lies on'),
        (sized(growth=4.0, verified=float('nan')), True, 'nothing is known of its look'),
        (sized(growth=4.0, verified=0.97), False, 'it is larger, but looks as it did'),
        (sized(growth=12.0, verified=0.97), True, 'too large for anything'),
        (sized(spread=3.0), True, 'parts of it are elsewhere'),
        (sized(growth=0.3), False, 'it is half hidden'),
        (sized(verified=0.1), True, 'it is another thing of the same size'),
    ],
)
def test_a_mask_that_became_something_else_is_never_tracked(seen, changed, why):
    item, states, _ = run(*[sized()] * 3, *[seen] * 5, prompted=sized())
    assert states[2] == ObjectState.TRACKED
    assert item.track.changed is changed, why
    assert bool(item.track.flags & ObjectFlag.CHANGED) is changed
    if changed:
        assert states[3:] == [ObjectState.UNCERTAIN] * 5  # at once, and for as long as it stays
        assert item.track.confidence <= SETTINGS.guard.max_confidence
        assert item.track.visible
    else:
        assert states[-1] == ObjectState.TRACKED
    item, states, _ = run(*[sized()] * 3, seen, sized(), prompted=sized())
    assert states[-1] == ObjectState.TRACKED, 'it is itself again'


def test_the_expected_size_follows_slowly():
    steps = [sized(growth=1.04**index) for index in range(1, 46)]  # 5.8 times in 4.5 s
    _, states, _ = run(*steps, prompted=sized())
    assert set(states[1:]) == {ObjectState.TRACKED}
    fast = [sized(growth=1.2**index) for index in range(1, 15)]
    assert run(*fast, prompted=sized())[1][-1] == ObjectState.UNCERTAIN


def test_tiny_masks_may_change_by_a_few_cells():
    tiny = Observation(6.0, 0.95, 0.0005, spread=0.005)
    item, _, _ = run(dataclasses.replace(tiny, coverage=0.003, spread=0.015), prompted=tiny)
    assert not item.track.changed


def test_without_the_guard_the_network_is_believed():
    off = TrackerSettings(guard={'enabled': False})
    item, states, _ = run(*[sized()] * 3, sized(growth=4.0), prompted=sized(), settings=off)
    assert states[-1] == ObjectState.TRACKED
    assert item.track.confidence > 0.9
