"""Small objects through a window: the real model, with frames of which it sees a part."""

import dataclasses
import uuid

import cv2
import numpy as np
import pytest
import torch

from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_sections import ZoomSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, ObjectFlag, ObjectState, Prompt

STEP_NS = 66_666_667
SIZE_HW = (480, 640)
RADIUS = 15
ON = TrackerSettings(max_objects=4, zoom=ZoomSettings(enabled=True))
OFF = TrackerSettings(max_objects=4, zoom=ZoomSettings(enabled=False))


class Discs:
    """Small textured discs that cross a textured image."""

    def __init__(self, num=1):
        rng = np.random.default_rng(4)
        noise = rng.normal(size=(15, 20, 3)).astype(np.float32)
        large = cv2.resize(noise, SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC)
        self._background = np.clip([70, 90, 60] + 18 * large, 0, 255).astype(np.uint8)
        self._num = num

    def center(self, index, disc=0):
        return 150 + 6 * index, 180 + 80 * disc

    def mask(self, index, disc=0):
        x, y = self.center(index, disc)
        ys, xs = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
        return (xs - x) ** 2 + (ys - y) ** 2 <= RADIUS**2

    def frame(self, index, *, shown=True):
        rgb = self._background.copy()
        for disc in range(self._num if shown else 0):
            x, y = self.center(index, disc)
            cv2.circle(rgb, (x, y), RADIUS, [(230, 60, 40), (60, 80, 240)][disc], -1)
            cv2.circle(rgb, (x, y), RADIUS // 3, (250, 250, 90), -1)
        return Frame(rgb, index * STEP_NS, 'camera')

    def box(self, index, disc=0):
        x, y = self.center(index, disc)
        return np.array([x - 15, y - 15, x + 16, y + 16], np.float32)


@pytest.fixture(scope='module')
def discs():
    return Discs()


def iou(ours, truth):
    return (ours & truth).sum() / max(1, (ours | truth).sum())


def begin(model, discs, settings=ON, **kind):
    tracker = VideoTracker(model, settings)
    tracker.step(discs.frame(0))
    result = tracker.add([Prompt('disc', **(kind or {'mask': discs.mask(0)}))])
    return tracker, result


def window(tracker):
    return tracker._tracks.frames.zoom.window


def follow(tracker, discs, first, last):
    return [tracker.step(discs.frame(index)) for index in range(first, last)]


def mean_iou(results, discs):
    return np.mean(
        [iou(r.mask('disc'), discs.mask(r.frame_index)) for r in results]
    )  # fmt: skip


def test_a_small_object_is_seen_larger_and_followed_better(model, discs):
    zoomed, first = begin(model, discs)
    plain, _ = begin(model, discs, OFF)
    assert window(zoomed).share < 0.5
    assert iou(first.mask('disc'), discs.mask(0)) > 0.9
    begun = window(zoomed)
    results, reference = follow(zoomed, discs, 1, 20), follow(plain, discs, 1, 20)
    assert window(zoomed) != begun, 'the object has left the first window'
    assert mean_iou(results, discs) > max(0.8, mean_iou(reference, discs))
    newest = results[-1]
    assert newest.label_mask.shape == SIZE_HW
    (item,) = newest.objects
    assert item.state == ObjectState.TRACKED
    assert np.hypot(*(np.array(item.centroid_xy) - discs.center(19))) < 3
    assert not item.flags & ObjectFlag.TOUCHES_BORDER
    shown = newest.mask_logits[0] > 0  # of the whole image, whatever the network saw
    assert float(shown.float().mean()) == pytest.approx(discs.mask(19).mean(), rel=0.5)


@pytest.mark.parametrize('kind', ['box', 'point', 'mask'])
def test_every_kind_of_prompt_is_followed(model, discs, kind):
    point = {
        'points': np.array([discs.center(0)], np.float32),
        'point_labels': np.array([1], np.int32),
    }
    prompts = {'box': {'box': discs.box(0)}, 'mask': {'mask': discs.mask(0)}, 'point': point}
    tracker, first = begin(model, discs, **prompts[kind])
    assert iou(first.mask('disc'), discs.mask(0)) > (0.5 if kind == 'point' else 0.8)
    results = follow(tracker, discs, 1, 6)
    assert window(tracker).share < 0.7
    assert mean_iou(results[1:], discs) > 0.7


def test_the_whole_image_is_seen_while_an_object_is_out_of_sight(model, discs):
    tracker, _ = begin(model, discs)
    follow(tracker, discs, 1, 6)
    assert not window(tracker).is_whole
    hidden = [tracker.step(discs.frame(index, shown=False)) for index in range(6, 12)]
    assert window(tracker).is_whole
    assert not hidden[-1].label_mask.any()


def test_what_covers_much_of_the_image_is_seen_as_ever(model, make_scene):
    scene = make_scene()
    results = []
    for settings in (ON, OFF):
        tracker = VideoTracker(model, settings)
        tracker.step(scene.frame(0))
        tracker.add([Prompt(str(k), mask=mask) for k, mask in enumerate(scene.masks(0))])
        results.append([tracker.step(scene.frame(index)) for index in range(1, 5)])
    for zoomed, plain in zip(*results, strict=True):
        assert torch.equal(zoomed.mask_logits, plain.mask_logits)
        assert np.array_equal(zoomed.label_mask, plain.label_mask)


def test_objects_near_each_other_share_a_window(model):
    discs = Discs(2)
    tracker = VideoTracker(model, ON)
    tracker.step(discs.frame(0))
    tracker.add([Prompt(str(k), mask=discs.mask(0, k)) for k in range(2)])
    assert window(tracker).share < 0.8
    for index in range(1, 10):
        result = tracker.step(discs.frame(index))
        for k in range(2):
            assert iou(result.mask(str(k)), discs.mask(index, k)) > 0.7
    far = np.array([560, 400, 620, 460], np.float32)
    tracker.add([Prompt('far', box=far)])
    assert window(tracker).is_whole
    assert iou(tracker.last_result.mask('0'), discs.mask(9, 0)) > 0.5


def test_the_same_input_gives_the_same_bits(model, discs):
    first, second = (
        [begin(model, discs)[0]] for _ in range(2)
    )  # fmt: skip
    for ours, theirs in zip(
        follow(first[0], discs, 1, 12), follow(second[0], discs, 1, 12), strict=True
    ):
        assert torch.equal(ours.mask_logits, theirs.mask_logits)
        assert np.array_equal(ours.label_mask, theirs.label_mask)


def test_a_resumed_tracker_gives_the_same_bits(model, discs):
    tracker, _ = begin(model, discs)
    follow(tracker, discs, 1, 6)
    data = tracker.save()
    expected = follow(tracker, discs, 6, 18)
    other = VideoTracker(model, ON)
    other.restore(data)
    for ours, theirs in zip(follow(other, discs, 6, 18), expected, strict=True):
        assert torch.equal(ours.mask_logits, theirs.mask_logits)
        assert np.array_equal(ours.label_mask, theirs.label_mask)


def test_after_a_restart_lost_objects_are_looked_for_in_the_whole_image(model, discs):
    tracker, _ = begin(model, discs)
    undisturbed, _ = begin(model, discs)
    follow(tracker, discs, 1, 6), follow(undisturbed, discs, 1, 6)
    data = tracker.save()
    for ours, theirs in zip(
        follow(tracker, discs, 6, 9), follow(undisturbed, discs, 6, 9), strict=True
    ):
        assert torch.equal(ours.mask_logits, theirs.mask_logits)
    restored = VideoTracker(model, ON, session=uuid.UUID(int=3))
    restored.restore(data, lost=True)
    (item,) = restored.step(discs.frame(6)).objects
    assert item.state == ObjectState.LOST
    assert window(restored).is_whole
    masks = restored._tracks.propagator.raw_masks  # what it sees, before it is believed
    seen = torch.nn.functional.interpolate(masks[0][None, None], SIZE_HW, mode='bilinear')
    assert iou(seen[0, 0].numpy() > 0, discs.mask(6)) > 0.3


def test_a_prompt_on_a_past_frame_is_tracked_forward(model, discs):
    tracker = VideoTracker(model, ON)
    follow(tracker, discs, 0, 5)
    tracker.add([Prompt('disc', mask=discs.mask(1))], frame=discs.frame(1))
    assert iou(tracker.last_result.mask('disc'), discs.mask(4)) > 0.6
    results = follow(tracker, discs, 5, 10)
    assert not window(tracker).is_whole
    assert mean_iou(results[1:], discs) > 0.75
    again = Prompt('disc', mask=discs.mask(7))
    result = tracker.refine(again, frame=discs.frame(7))
    assert iou(result.mask('disc'), discs.mask(9)) > 0.6


def test_clicks_correct_an_object_through_the_window(model, discs):
    tracker, _ = begin(model, discs)
    follow(tracker, discs, 1, 5)
    labels = np.array([1], np.int32)
    at = np.array([discs.center(4)], np.float32)
    result = tracker.refine(Prompt('disc', points=at, point_labels=labels))
    assert not window(tracker).is_whole
    assert iou(result.mask('disc'), discs.mask(4)) > 0.7
    assert mean_iou(follow(tracker, discs, 5, 9), discs) > 0.7


def test_the_image_may_change_its_size(model, discs):
    tracker, _ = begin(model, discs)
    follow(tracker, discs, 1, 5)
    half = np.ascontiguousarray(discs.frame(5).rgb[::2, ::2])
    result = tracker.step(Frame(half, 5 * STEP_NS, 'camera'))
    assert result.label_mask.shape == (240, 320)
    assert window(tracker).image_hw == (240, 320)
    tracker.reset_memory()
    result = tracker.step(Frame(half, 6 * STEP_NS, 'camera'))
    assert result.label_mask.shape == (240, 320)


def test_removed_objects_leave_nothing_behind(model, discs):
    tracker, _ = begin(model, discs)
    follow(tracker, discs, 1, 4)
    tracker.remove(['disc'])
    assert tracker.step(discs.frame(4)).objects == ()
    assert window(tracker).is_whole
    tracker.add([Prompt('other', mask=discs.mask(4))])
    assert set(tracker._tracks.frames.zoom._sources.shown[0]) == {4}
    tracker.reset()
    assert window(tracker) is None


def test_tracks_are_restored_after_another_object_was_removed_or_given_up(model):
    discs, settings = Discs(2), ON.model_copy(update={'remove_lost_after_s': 0.1})
    tracker = VideoTracker(model, settings)
    tracker.step(discs.frame(0))
    tracker.add([Prompt(name, mask=discs.mask(0, disc)) for disc, name in enumerate('ab')])
    follow(tracker, discs, 1, 3)
    tracker.remove(['b'])
    restored = VideoTracker(model, settings)
    restored.restore(tracker.save())
    for index in range(3, 5):
        (one,), (other,) = (each.step(discs.frame(index)).objects for each in (restored, tracker))
        assert (one.confidence, one.box_xywh) == (other.confidence, other.box_xywh)
    assert window(restored) == window(tracker)
    late = dataclasses.replace(discs.frame(5, shown=False), stamp_ns=10**12)
    tracker.step(late)
    tracker.step(dataclasses.replace(late, stamp_ns=2 * 10**12))
    assert not tracker.uuids
    assert not tracker._tracks.frames.zoom._sources.shown


def test_frames_of_prompts_are_kept_as_far_as_there_is_room(model, discs):
    small = ON.model_copy(update={'zoom': ON.zoom.model_copy(update={'buffer_mb': 1})})
    tracker, _ = begin(model, discs, small)
    tracker.step(discs.frame(1))
    assert not window(tracker).is_whole
    tracker.refine(Prompt('disc', mask=discs.mask(1)))  # 0.9 MB each
    tracker.step(discs.frame(2))
    assert window(tracker).is_whole, 'what the second prompt showed cannot be made again'
