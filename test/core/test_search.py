"""Objects out of sight are searched for by their looks."""

import numpy as np
import pytest
import torch

from robust_vos_ros.core.search import search
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_config import TrackerSettings
from robust_vos_ros.core.types import Frame, ObjectState, Prompt

QUIET = {'search': False, 'min_similarity': 1.0}  # nothing comes back by itself
SETTINGS = TrackerSettings(occluded_after_s=0.1, lost_after_s=0.2, reacquire=QUIET)
SEARCHING = TrackerSettings()


@pytest.fixture
def lost(model, make_scene):
    """A tracker that lost its disc, which is in view again, and the scene."""
    scene = make_scene()
    tracker = VideoTracker(model, SETTINGS)
    tracker.step(scene.frame(0))
    tracker.add([Prompt('disc', mask=scene.masks(0)[0])])
    for index in range(1, 5):
        tracker.step(scene.frame(index))
    for index in range(5, 15):
        empty = np.full((*scene.size_hw, 3), 128, np.uint8)
        tracker.step(Frame(empty, scene.frame(index).stamp_ns))
    result = tracker.step(scene.frame(15))
    assert result.objects[0].state == ObjectState.LOST
    return tracker, scene


def look(tracker, settings=SEARCHING):
    """Search the newest frame; returns the mask the next frame starts from, and memory."""
    live, propagator = list(tracker._objects), tracker._propagator
    with tracker.model.inference():
        search(live, tracker._segmenter, propagator, tracker._history.newest(), settings)
    recent = propagator.memory.banks[0].recent[live[0].slot, 0]
    return propagator.logits[live[0].slot, 0] > 0, recent[recent >= 0]


def test_what_is_alike_is_remembered_and_tracked_from(lost):
    tracker, scene = lost
    mask, recent = look(tracker)
    assert len(recent) == 1
    true = torch.nn.functional.interpolate(
        torch.from_numpy(scene.masks(15)[0])[None, None].float(), mask.shape
    )[0, 0]
    overlap = (mask & (true > 0)).sum() / (mask | (true > 0)).sum()
    assert overlap > 0.5
    tracker.settings = SEARCHING.model_copy(update={'lost_after_s': 0.2})
    states = [tracker.step(scene.frame(index)).objects[0].state for index in range(16, 30)]
    assert ObjectState.TRACKED in states


@pytest.mark.parametrize(
    ('change', 'why'),
    [
        (lambda engine, item: engine.likeness.prototypes.centers.neg_(), 'nothing looks like it'),
        (lambda engine, item: engine.likeness.prototypes.clear(item.slot), 'nobody knows it'),
        (lambda engine, item: setattr(item, 'visible', True), 'it is in sight'),
    ],
)
def test_nothing_changes_where_there_is_nothing_to_find(lost, change, why):
    tracker, _ = lost
    change(tracker._propagator, next(iter(tracker._objects)))
    mask, _ = look(tracker)
    assert not mask.any(), why


def test_a_search_waits_for_its_turn(lost):
    tracker, _ = lost
    item = next(iter(tracker._objects))
    item.searched_ns = tracker._history.newest().stamp_ns - 50_000_000
    assert not look(tracker)[0].any()
    item.searched_ns -= 60_000_000
    assert look(tracker)[0].any()


def test_a_find_is_no_mask_of_the_frame_it_was_found_in(lost):
    tracker, scene = lost
    tracker.settings = SEARCHING.model_copy(update={'lost_after_s': 0.2})
    before = tracker._propagator.masks(list(tracker._objects))
    result = tracker.step(scene.frame(16))
    after = tracker._propagator.masks(list(tracker._objects))
    assert (after > 0).any()
    assert not torch.equal(before, after)
    assert not result.objects[0].box_xywh[2]
    assert not (result.mask_logits > 0).any()
