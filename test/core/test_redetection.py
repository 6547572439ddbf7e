"""Objects out of sight are searched for by their looks."""

import numpy as np
import pytest
import torch

from robust_vos_ros.core.reid.appearance import feature_map
from robust_vos_ros.core.reid.redetection import propose_boxes, redetect
from robust_vos_ros.core.reid.reidentifier import Scene
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, ObjectState, Prompt

QUIET = {'redetect': False, 'min_similarity': 1.0}  # nothing comes back by itself
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


def embedding(tracker, settings=SEARCHING):
    """Search the newest frame; returns the mask the next frame starts from, and memory."""
    live, propagator = list(tracker._tracks.objects), tracker._tracks.propagator
    with tracker.model.inference():
        redetect(
            live,
            tracker._tracks.segmenter,
            propagator,
            tracker._tracks.frames.history.newest(),
            settings,
        )
    recent = propagator.memory.banks[0].recent[live[0].slot, 0]
    return propagator.logits[live[0].slot, 0] > 0, recent[recent >= 0]


def test_what_is_alike_is_remembered_and_tracked_from(lost):
    tracker, scene = lost
    mask, recent = embedding(tracker)
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
        (lambda engine, item: engine.reidentifier.gallery.centers.neg_(), 'nothing looks like it'),
        (lambda engine, item: engine.reidentifier.gallery.clear(item.slot), 'nobody knows it'),
        (lambda engine, item: setattr(item.track, 'visible', True), 'it is in sight'),
    ],
)
def test_nothing_changes_where_there_is_nothing_to_find(lost, change, why):
    tracker, _ = lost
    change(tracker._tracks.propagator, next(iter(tracker._tracks.objects)))
    mask, _ = embedding(tracker)
    assert not mask.any(), why


def test_a_search_waits_for_its_turn(lost):
    tracker, _ = lost
    item = next(iter(tracker._tracks.objects))
    item.reid.searched_ns = tracker._tracks.frames.history.newest().stamp_ns - 50_000_000
    assert not embedding(tracker)[0].any()
    item.reid.searched_ns -= 60_000_000
    assert embedding(tracker)[0].any()


def test_a_find_is_no_mask_of_the_frame_it_was_found_in(lost):
    tracker, scene = lost
    tracker.settings = SEARCHING.model_copy(update={'lost_after_s': 0.2})
    before = tracker._tracks.propagator.masks(list(tracker._tracks.objects))
    result = tracker.step(scene.frame(16))
    after = tracker._tracks.propagator.masks(list(tracker._tracks.objects))
    assert (after > 0).any()
    assert not torch.equal(before, after)
    assert not result.objects[0].box_xywh[2]
    assert not (result.mask_logits > 0).any()


def test_objects_out_of_sight_take_turns(model, make_scene):
    """With one search in a frame each has its turn, the one longest not searched for first."""
    scene = make_scene(3)
    settings = SETTINGS.model_copy(update={'reacquire': SEARCHING.reacquire})
    tracker = VideoTracker(model, settings)
    tracker.step(scene.frame(0))
    tracker.add([Prompt(str(k), mask=mask) for k, mask in enumerate(scene.masks(0))])
    turns = []
    for index in range(1, 16):
        empty = np.full((*scene.size_hw, 3), 128, np.uint8)
        tracker.step(Frame(empty, index * 100_000_000))
        now = [
            item.object_id
            for item in tracker._tracks.objects
            if item.reid.searched_ns == index * 10**8
        ]
        turns.append(''.join(now))
    assert all(len(now) <= 1 for now in turns)
    assert ''.join(turns)[-6:] in {'012012', '120120', '201201'}


def test_a_small_object_is_searched_for_also_on_a_large_one_in_view(lost):
    tracker, _ = lost
    item = next(iter(tracker._tracks.objects))
    shown = torch.full((1, tracker.model.mask_size, tracker.model.mask_size), 5.0)
    with tracker.model.inference():
        planes = feature_map(
            tracker._tracks.segmenter.encode(tracker._tracks.frames.history.newest()),
            tracker._tracks.frames.history.newest().image,
        )
        scene = Scene(planes, [item])
        reidentifier = tracker._tracks.propagator.reidentifier
        assert propose_boxes(reidentifier, [item], scene, shown, 0.7)[0] is not None
        item.memory.mean_coverage = (
            0.5  # nothing much larger is in view: there it can only be that one
        )
        assert propose_boxes(reidentifier, [item], scene, shown, 0.7)[0] is None
