"""Objects out of sight and what a detector shows of them."""

import numpy as np
import pytest
import torch

from robust_vos_ros.core.errors import PromptError, StampInFutureError, UnknownIdError
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import EventType, Frame, ObjectState, Prompt

SETTINGS = TrackerSettings(max_objects=3, occluded_after_s=0.1, lost_after_s=0.2)
NUM_HELD = round(SETTINGS.reacquire.hold_s * 15)  # frames


def blank(scene, index):
    empty = np.full((*scene.size_hw, 3), 128, np.uint8)
    return Frame(empty, scene.frame(index).stamp_ns, 'camera')


@pytest.fixture(scope='module')
def lost(model, make_scene):
    """What a tracker saved whose two objects left the view, and the scene."""
    scene = make_scene()
    tracker = VideoTracker(model, SETTINGS)
    tracker.step(scene.frame(0))
    tracker.add([mask_prompt(scene, disc, 0) for disc in range(2)])
    for index in range(1, 5):
        tracker.step(scene.frame(index))
    return tracker.save(), scene


@pytest.fixture
def tracker(model, lost):
    """A tracker that does not see its two objects for some frames."""
    data, scene = lost
    tracker = VideoTracker(model, SETTINGS)
    tracker.restore(data, lost=True)
    for index in range(5, 7):
        result = tracker.step(blank(scene, index))
    assert [item.state for item in result.objects] == [ObjectState.LOST] * 2
    return tracker


def mask_prompt(scene, disc, index, name=None):
    return Prompt(name or f'disc_{disc}', mask=scene.masks(index)[disc])


def hide(tracker, scene, index):
    """Process a frame of the scene and keep the tracker from finding anything in it."""
    tracker.settings = SETTINGS.model_copy(update={'visible_on': 1.0})
    result = tracker.step(scene.frame(index))
    tracker.settings = SETTINGS
    assert not result.label_mask.any()


def kinds(result):
    return [(event.type, event.object_id) for event in result.events]


def test_a_lost_object_is_found_where_it_is_shown(tracker, lost):
    scene, uuids = lost[1], tracker.uuids
    hide(tracker, scene, 7)
    done = tracker.reinitialize([mask_prompt(scene, 0, 7)])
    assert (done.accepted, done.rejected) == (('disc_0',), ())
    assert not done.result.mask('disc_0').any()  # it is no user's word
    events = []
    for index in range(8, 8 + NUM_HELD + 3):
        events += kinds(tracker.step(scene.frame(index)))
        if index < 8 + NUM_HELD - 1:  # it may look like itself in the hidden frame already
            assert not tracker.last_result.mask('disc_0').any()
    assert (EventType.REACQUIRED, 'disc_0') in events
    assert not any(kind in (EventType.ADDED, EventType.CONFIRMED) for kind, _ in events)
    assert tracker.uuids == uuids


def remembered(tracker, slot=0):
    """Frames that were prompted, and recent ones."""
    bank = tracker._tracks.propagator.memory.banks[0]
    prompted, recent = bank.frames[slot, :4], bank.recent[slot, 0]
    return prompted[prompted >= 0].tolist(), bank.frames[slot, recent[recent >= 0]].tolist()


def test_what_a_detector_shows_is_recent_memory_and_no_prompt(tracker, lost):
    scene = lost[1]
    hide(tracker, scene, 7)
    verified = tracker._tracks.propagator.reidentifier.gallery.verified_counts.clone()
    tracker.reinitialize([mask_prompt(scene, 0, 7)])
    assert remembered(tracker) == ([0], [7])
    assert torch.equal(tracker._tracks.propagator.reidentifier.gallery.verified_counts, verified)


def test_what_does_not_look_like_the_object_changes_nothing(tracker, lost):
    scene = lost[1]
    hide(tracker, scene, 7)
    tracker._tracks.propagator.reidentifier.gallery.centers.neg_()
    before = tracker.save()
    done = tracker.reinitialize([mask_prompt(scene, 0, 7)])
    assert done.accepted == ()
    assert 'similarity' in done.rejected[0]
    assert tracker.save() == before


def test_without_known_looks_a_candidate_is_believed(tracker, lost):
    scene = lost[1]
    hide(tracker, scene, 7)
    tracker._tracks.propagator.reidentifier.gallery.counts.zero_()
    assert tracker.reinitialize([mask_prompt(scene, 0, 7)]).accepted == ('disc_0',)


def planted(tracker):
    """The (H, W) bool mask that the first object is tracked from."""
    logits = tracker._tracks.propagator.masks(list(tracker._tracks.objects))[:1]
    size_hw = tracker.last_result.label_mask.shape
    return (torch.nn.functional.interpolate(logits[None], size_hw)[0, 0] > 0).numpy()


def test_the_best_of_several_candidates_is_taken(tracker, lost):
    scene = lost[1]
    hide(tracker, scene, 7)
    background = np.zeros(scene.size_hw, bool)
    background[-40:, :40] = True
    wrong = Prompt('disc_0', mask=background)
    done = tracker.reinitialize([wrong, mask_prompt(scene, 0, 7)])
    assert done.accepted == ('disc_0',)
    assert len(done.rejected) == 1
    assert (planted(tracker) & scene.masks(7)[0]).sum() > 1000


def test_an_object_in_view_is_neither_moved_nor_taken_for_another(tracker, lost):
    scene = lost[1]
    tracker._tracks.propagator.reidentifier.gallery.counts.zero_()  # both look alike
    hide(tracker, scene, 7)
    tracker.refine(mask_prompt(scene, 1, 7))
    logits = tracker.last_result.mask_logits.clone()
    done = tracker.reinitialize([mask_prompt(scene, 0, 7, 'disc_1')])  # in view, somewhere else
    assert (done.accepted, done.rejected) == ((), ())
    done = tracker.reinitialize([mask_prompt(scene, 1, 7, 'disc_0')])  # where the other one is
    assert done.accepted == ()
    assert 'another object' in done.rejected[0]
    assert torch.equal(done.result.mask_logits, logits)


def test_one_candidate_is_given_to_one_object(tracker, lost):
    scene = lost[1]
    tracker._tracks.propagator.reidentifier.gallery.counts.zero_()
    hide(tracker, scene, 7)
    done = tracker.reinitialize([mask_prompt(scene, 0, 7, f'disc_{k}') for k in range(2)])
    assert len(done.accepted) == 1
    assert 'another object' in done.rejected[0]


def test_a_candidate_of_a_past_frame_is_tracked_forward(tracker, lost):
    scene = lost[1]
    for index in range(7, 10):
        hide(tracker, scene, index)
    done = tracker.reinitialize([mask_prompt(scene, 0, 8)], frame=scene.frame(8))
    assert done.accepted == ('disc_0',)
    assert done.result.stamp_ns == scene.frame(9).stamp_ns
    assert 8 in remembered(tracker)[1]


@pytest.mark.parametrize(
    ('prompt', 'frame', 'error'),
    [
        (Prompt('nobody', box=np.array([1, 1, 9, 9])), None, UnknownIdError),
        (Prompt('disc_0', box=np.array([1, 1, 9999, 9])), None, PromptError),
        (Prompt('disc_0'), None, PromptError),
        (Prompt('disc_0', box=np.array([1, 1, 9, 9])), 50, StampInFutureError),
    ],
)
def test_bad_candidates_change_nothing(tracker, lost, prompt, frame, error):
    scene, before = lost[1], tracker.save()
    good = mask_prompt(scene, 0, 7)
    with pytest.raises(error):
        tracker.reinitialize([good, prompt], frame=None if frame is None else scene.frame(frame))
    assert tracker.save() == before


def test_no_candidates_are_no_change(tracker):
    before = tracker.save()
    assert tracker.reinitialize([]).accepted == ()
    assert tracker.save() == before
