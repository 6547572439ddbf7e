import itertools

import numpy as np
import pytest
import torch

from robust_vos_ros.core.errors import (
    CapacityError,
    DuplicateIdError,
    NoFrameError,
    PromptError,
    StampInFutureError,
    StampTooOldError,
    UnknownIdError,
)
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.prompting.segmentation import segment_once
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_sections import ZoomSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import EventType, Frame, ObjectFlag, ObjectState, Prompt


def iou(ours, truth):
    return (ours & truth).sum() / max(1, (ours | truth).sum())


def prompt_mask(scene, disc, frame=0, name=None):
    return Prompt(name or f'disc_{disc}', mask=scene.masks(frame)[disc])


def points(*coords, labels=None):
    coords = np.array(coords, np.float32)
    labels = np.ones(len(coords), np.int32) if labels is None else np.array(labels, np.int32)
    return {'points': coords, 'point_labels': labels}


def center(mask):
    ys, xs = np.nonzero(mask)
    return float(xs.mean()), float(ys.mean())


def box_of(mask):
    ys, xs = np.nonzero(mask)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)


def started(tracker, scene, *discs):
    tracker.step(scene.frame(0))
    tracker.add([prompt_mask(scene, disc) for disc in discs])
    return tracker


def fingerprint(result, object_id):
    row = [item.object_id for item in result.objects].index(object_id)
    return result.mask_logits[row].clone()


@pytest.mark.parametrize('kind', ['mask', 'box', 'point', 'points', 'box and points'])
def test_every_kind_of_prompt_finds_and_follows_the_object(tracker, scene, kind):
    truth = scene.masks(0)[0]
    x, y = center(truth)
    outside = (x, min(y + 60, 230.0))
    prompt = {
        'mask': {'mask': truth},
        'box': {'box': box_of(truth)},
        'point': points((x, y)),
        'points': points((x, y), (x + 8, y), outside, labels=[1, 1, 0]),
        'box and points': {'box': box_of(truth), **points((x, y), outside, labels=[1, 0])},
    }[kind]
    tracker.step(scene.frame(0))
    result = tracker.add([Prompt('it', **prompt)])
    assert iou(result.mask('it'), truth) > 0.5
    for index in range(1, 12):
        result = tracker.step(scene.frame(index))
    assert iou(result.mask('it'), scene.masks(11)[0]) > 0.5
    assert result.objects[0].state == ObjectState.TRACKED
    assert result.objects[0].confidence > 0.6


def test_results_have_the_size_and_stamp_of_the_frame(tracker, scene):
    result = started(tracker, scene, 0, 1).last_result
    assert result.label_mask.shape == scene.size_hw
    assert result.label_mask.dtype == np.uint8
    result = tracker.step(scene.frame(5))
    assert (result.stamp_ns, result.frame_id, result.frame_index) == (
        scene.frame(5).stamp_ns, 'camera', 1,
    )  # fmt: skip
    for item in result.objects:
        x, y, width, height = item.box_xywh
        mask = result.mask(item.object_id)
        assert mask.sum() == item.area_px
        assert mask[y : y + height, x : x + width].sum() == item.area_px
        assert item.centroid_xy == pytest.approx(center(mask))


def test_objects_do_not_overlap(tracker, scene):
    same = scene.masks(0)[0]
    tracker.step(scene.frame(0))
    result = tracker.add([Prompt('a', mask=same), Prompt('b', mask=same)])
    assert not (result.mask('a') & result.mask('b')).any()


# The window of the zoom depends on all objects and on whether the frame is the newest one.
WHOLE = TrackerSettings(zoom=ZoomSettings(enabled=False))


def test_other_objects_are_not_disturbed(model, make_scene):
    """Adding, refining and removing objects leaves the others' masks nearly as they would be.

    Nearly, as object calibration sets an object apart from those that are there.
    """
    scene = make_scene(3)
    alone = started(VideoTracker(model, WHOLE), scene, 0)
    shared = started(VideoTracker(model, WHOLE), scene, 0)
    actions = {
        3: lambda: shared.add([prompt_mask(scene, 1, 3), prompt_mask(scene, 2, 3)]),
        6: lambda: shared.refine(prompt_mask(scene, 1, 6)),
        9: lambda: shared.remove(['disc_1']),
    }
    for index in range(1, 14):
        expected = alone.step(scene.frame(index))
        shared.step(scene.frame(index))
        actions.get(index, lambda: None)()
        before, after = expected.mask('disc_0'), shared.last_result.mask('disc_0')
        assert (before & after).sum() / (before | after).sum() > 0.95, f'frame {index}'
        kept = shared.last_result.objects[0]
        assert (kept.object_id, kept.uuid) == ('disc_0', expected.objects[0].uuid)


def nested(make_scene):
    """A scene of a large disc and a small one on it, moving together."""
    scene = make_scene(2)
    large, small = scene._discs
    large['radius'], large['center'] = 75, np.array([150.0, 115.0])
    small['radius'], small['center'] = 24, np.array([165.0, 105.0])
    small['velocity'] = large['velocity']
    return scene


@pytest.mark.parametrize('order', [(1, 0), (0, 1)])
def test_a_small_object_on_a_large_one_is_followed_as_if_alone(model, make_scene, order):
    """Also while the large one is added and removed."""
    scene = nested(make_scene)
    alone, both = (VideoTracker(model, TrackerSettings()) for _ in range(2))
    prompts = [Prompt(f'disc_{k}', box=box_of(scene.masks(0)[k])) for k in order]
    for tracker, chosen in ((alone, [Prompt('disc_1', box=box_of(scene.masks(0)[1]))]),
                            (both, prompts)):  # fmt: skip
        tracker.step(scene.frame(0))
        tracker.add(chosen)
    for index in range(1, 13):
        one, two = alone.step(scene.frame(index)), both.step(scene.frame(index))
        truth = scene.masks(index)[1]
        expected, got = (iou(result.mask('disc_1'), truth) for result in (one, two))
        assert got == pytest.approx(expected, abs=0.05), f'frame {index}'
        (alone_item,) = one.objects
        small = {item.object_id: item for item in two.objects}['disc_1']
        assert small.confidence == pytest.approx(alone_item.confidence, abs=0.05)
        if index == 8:
            both.remove(['disc_0'])
    assert expected > 0.5


def test_a_mask_that_goes_beyond_its_box_is_told_and_cut(model, make_scene):
    scene = make_scene()
    left, top, right, bottom = box_of(scene.masks(0)[0])
    tracker = VideoTracker(model, TrackerSettings())
    tracker.step(scene.frame(0))
    good = tracker.add([Prompt('whole', box=box_of(scene.masks(0)[0]))])
    assert good.warnings == ()
    assert not good.objects[0].flags & ObjectFlag.PROMPT_MISFIT
    away = points((left - 30.0, top + 5.0), ((left + right) / 2, (top + bottom) / 2))
    result = tracker.add([Prompt('contradicted', box=box_of(scene.masks(0)[0]), **away)])
    (warning,) = result.warnings
    assert "'contradicted'" in warning
    assert '50%' in warning
    flagged = {item.object_id: item.flags for item in result.objects}
    assert flagged['contradicted'] & ObjectFlag.PROMPT_MISFIT
    assert tracker.step(scene.frame(1)).objects[1].flags & ObjectFlag.PROMPT_MISFIT
    assert tracker.last_result.warnings == ()  # they are part of the answer alone
    once = segment_once(
        model, scene.frame(0), [Prompt('x', box=box_of(scene.masks(0)[0]), **away)], 1
    )
    assert once.warnings


def test_a_prompt_for_a_very_small_thing_is_told(model, scene):
    tracker = VideoTracker(model, WHOLE)
    tracker.step(scene.frame(0))
    mask = np.zeros(scene.size_hw, bool)
    mask[100:110, 100:110] = True
    (warning,) = tracker.add([Prompt('speck', mask=mask)]).warnings
    assert "'speck'" in warning
    assert '0.1' in warning
    mask[80:140, 80:140] = True
    assert tracker.add([Prompt('patch', mask=mask)]).warnings == ()


def test_the_same_input_gives_the_same_bits(model, scene):
    def run():
        tracker = started(VideoTracker(model, TrackerSettings()), scene, 0, 1)
        return [tracker.step(scene.frame(index)) for index in range(1, 10)]

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first.mask_logits, second.mask_logits)
        assert np.array_equal(first.label_mask, second.label_mask)
        assert [o.uuid for o in first.objects] == [o.uuid for o in second.objects]


def test_clicks_correct_a_live_object(tracker, scene):
    """A prompt that took both discs is corrected by a click that says "not this one"."""
    left, right = scene.masks(0)
    tracker.step(scene.frame(0))
    tracker.add([Prompt('it', mask=left | right)])
    for index in range(1, 5):
        result = tracker.step(scene.frame(index))
    left, right = scene.masks(4)
    before = iou(result.mask('it'), left)
    result = tracker.refine(Prompt('it', mask=left))
    assert iou(result.mask('it'), left) > max(before, 0.8)
    for index in range(5, 10):
        result = tracker.step(scene.frame(index))
    left, right = scene.masks(9)
    assert iou(result.mask('it'), left) > 0.7
    assert (result.mask('it') & right).sum() < 0.2 * right.sum()


def test_a_box_replaces_a_mask_that_memory_is_sure_of(tracker, scene):
    left, right = scene.masks(0)
    tracker.step(scene.frame(0))
    tracker.add([Prompt('it', mask=right)])
    for index in range(1, 4):
        tracker.step(scene.frame(index))
    left, _ = scene.masks(3)
    result = tracker.refine(Prompt('it', box=box_of(left)))
    assert iou(result.mask('it'), left) > 0.8
    result = tracker.step(scene.frame(4))
    assert iou(result.mask('it'), scene.masks(4)[0]) > 0.8


def test_a_class_alone_changes_nothing_else(model, scene):
    """Masks and memory stay equal bit for bit, to those of a tracker that is not asked."""
    asked, other = VideoTracker(model, WHOLE), VideoTracker(model, WHOLE)
    for tracker in (asked, other):
        started(tracker, scene, 0, 1)
    for index in range(1, 6):
        results = [tracker.step(scene.frame(index)) for tracker in (asked, other)]
        if index == 2:
            renamed = asked.refine(Prompt('disc_1', class_id='lid'))
            assert [item.class_id for item in renamed.objects] == ['', 'lid']
            assert torch.equal(renamed.mask_logits, results[0].mask_logits)
            assert renamed.events == ()
    assert [item.class_id for item in results[0].objects] == ['', 'lid']
    assert torch.equal(results[0].mask_logits, results[1].mask_logits)
    with pytest.raises(UnknownIdError):
        asked.refine(Prompt('nobody', class_id='lid'))
    for wrong in (Prompt('disc_1'), Prompt('disc_1', class_id='x' * 300)):
        with pytest.raises(PromptError):
            asked.refine(wrong)


def test_refining_with_clicks_starts_from_the_present_mask(tracker, scene):
    started(tracker, scene, 0)
    for index in range(1, 5):
        tracker.step(scene.frame(index))
    truth = scene.masks(4)[0]
    result = tracker.refine(Prompt('disc_0', **points(center(truth))))
    assert iou(result.mask('disc_0'), truth) > 0.7


def test_a_prompt_on_a_past_frame_is_tracked_forward(model, scene):
    direct = VideoTracker(model, WHOLE)
    late = VideoTracker(model, WHOLE)
    for index in range(10):
        direct.step(scene.frame(index))
        late.step(scene.frame(index))
        if index == 3:
            direct.add([prompt_mask(scene, 0, 3)])
    result = late.add([prompt_mask(scene, 0, 3)], frame=scene.frame(3))
    assert result.stamp_ns == scene.frame(9).stamp_ns
    assert torch.equal(fingerprint(result, 'disc_0'), fingerprint(direct.last_result, 'disc_0'))
    after = late.step(scene.frame(10))
    assert torch.equal(
        fingerprint(after, 'disc_0'), fingerprint(direct.step(scene.frame(10)), 'disc_0')
    )


def test_a_prompt_on_a_frame_that_was_never_processed_works(tracker, scene):
    for index in (0, 2, 4, 6):
        tracker.step(scene.frame(index))
    result = tracker.add([prompt_mask(scene, 0, 3)], frame=scene.frame(3))
    assert iou(result.mask('disc_0'), scene.masks(6)[0]) > 0.7


@pytest.mark.parametrize(
    ('stamp_s', 'error'),
    [(-3.0, StampTooOldError), (9.0, StampInFutureError)],
)
def test_frames_outside_the_history_are_refused(tracker, scene, stamp_s, error):
    tracker.step(scene.frame(0))
    frame = Frame(scene.frame(0).rgb, int(stamp_s * 1e9))
    with pytest.raises(error, match='stamp'):
        tracker.add([prompt_mask(scene, 0)], frame=frame)


def test_bad_requests_change_nothing(tracker, scene):
    with pytest.raises(NoFrameError):
        tracker.add([prompt_mask(scene, 0)])
    started(tracker, scene, 0)
    good, again = prompt_mask(scene, 1, name='new'), prompt_mask(scene, 0)
    bad = Prompt('bad', **points((9999.0, 1.0)))
    many = [prompt_mask(scene, 1, name=str(number)) for number in range(8)]
    for prompts, error in [
        ([good, bad], PromptError),
        ([good, again], DuplicateIdError),
        ([good, good], DuplicateIdError),
        (many, CapacityError),
    ]:
        with pytest.raises(error):
            tracker.add(prompts)
    with pytest.raises(UnknownIdError, match='disc_0'):
        tracker.remove(['disc_0', 'nobody'])
    with pytest.raises(UnknownIdError):
        tracker.refine(good)
    assert [item.object_id for item in tracker.step(scene.frame(1)).objects] == ['disc_0']


def test_too_many_prompts_are_counted_before_they_are_compared(tracker, scene):
    tracker.step(scene.frame(0))
    many = [Prompt('twin', box=np.array([5.0, 5.0, 9.0, 9.0]))] * 100_000
    with pytest.raises(CapacityError, match='100000 prompts would exceed max_objects = 8'):
        tracker.add(many)


def test_replacing_gives_the_object_a_new_uuid(tracker, scene):
    before = started(tracker, scene, 0).last_result.objects[0]
    result = tracker.add([prompt_mask(scene, 0)], replace_existing=True)
    assert [event.type for event in result.events] == [EventType.REMOVED, EventType.ADDED]
    assert result.objects[0].uuid != before.uuid
    assert len(result.objects) == 1


def test_replacing_one_of_several_objects_in_bf16(scene):
    """The others' masks are composed outside of the context of inference."""
    bf16 = load_model(ModelSettings(name='nano', device='cpu', precision='bf16'))
    tracker = started(VideoTracker(bf16, TrackerSettings()), scene, 0, 1)
    kept, before = tracker.last_result.objects
    result = tracker.add([prompt_mask(scene, 1)], replace_existing=True)
    assert [item.uuid == kept.uuid for item in result.objects] == [True, False]
    assert result.objects[1].uuid != before.uuid
    assert len(tracker.step(scene.frame(1)).objects) == 2


def test_prompts_added_together_give_what_each_gives_alone(model, scene):
    """Among them a box and two clicks, which have equally many coordinates."""
    first, second = scene.masks(0)
    x, y = center(second)
    prompts = [
        Prompt('box', box=box_of(first)),
        Prompt('clicks', **points((x, y), (x + 8, y))),
        Prompt('mask', mask=first),
        Prompt('box and click', box=box_of(second), **points((x, y))),
    ]
    together = segment_once(model, scene.frame(0), prompts, 16)
    for row, prompt in enumerate(prompts):
        alone = segment_once(model, scene.frame(0), [prompt], 16)
        assert (together.mask_logits[row] - alone.mask_logits[0]).abs().max() < 1e-3


def test_removing_and_resetting(tracker, scene):
    started(tracker, scene, 0, 1)
    events = tracker.remove(['disc_0'])
    assert [(event.type, event.object_id) for event in events] == [(EventType.REMOVED, 'disc_0')]
    assert [item.object_id for item in tracker.last_result.objects] == ['disc_1']
    assert not (tracker.last_result.label_mask == 1).any()
    events = tracker.reset()
    assert [event.type for event in events] == [EventType.REMOVED, EventType.RESET]
    with pytest.raises(NoFrameError):
        tracker.add([prompt_mask(scene, 0)])
    assert tracker.step(scene.frame(0)).frame_index == 0


def test_an_object_that_disappears_becomes_occluded_then_lost(model, scene):
    tracker = started(VideoTracker(model, TrackerSettings(lost_after_s=1.0)), scene, 0)
    for index in range(1, 8):
        tracker.step(scene.frame(index))
    empty = np.full((*scene.size_hw, 3), 128, np.uint8)
    states = []
    for index in range(8, 40):
        result = tracker.step(Frame(empty, scene.frame(index).stamp_ns))
        states.append(result.objects[0].state)
        if states[-1] in (ObjectState.OCCLUDED, ObjectState.LOST):
            assert result.objects[0].area_px == 0
            assert not result.label_mask.any()
    order = [state for state, _ in itertools.groupby(states)]
    assert order[-2:] == [ObjectState.OCCLUDED, ObjectState.LOST]
    assert result.objects[0].frames_since_seen > 10


def test_long_lost_objects_are_removed_when_asked(model, scene):
    settings = TrackerSettings(lost_after_s=0.5, remove_lost_after_s=0.5)
    tracker = started(VideoTracker(model, settings), scene, 0)
    empty = np.full((*scene.size_hw, 3), 128, np.uint8)
    kinds = []
    for index in range(1, 40):
        result = tracker.step(Frame(empty, scene.frame(index).stamp_ns))
        kinds += [event.type for event in result.events]
    assert kinds[-1] == EventType.REMOVED
    assert not result.objects


def test_a_resumed_tracker_removes_lost_objects_at_the_same_time(model, scene):
    """Time before the first frame does not count as unseen, nor does it after `restore`."""
    settings = TrackerSettings(lost_after_s=0.3, remove_lost_after_s=0.3)
    first = started(VideoTracker(model, settings), scene, 0)
    data = first.save()

    def blanks(tracker, indices):
        empty = np.full((*scene.size_hw, 3), 128, np.uint8)
        return [len(tracker.step(Frame(empty, 10**9 + i * 66_666_667)).objects) for i in indices]

    whole = VideoTracker(model, settings)
    whole.restore(data, lost=True)
    expected = blanks(whole, range(14))
    assert expected[-1] == 0
    half = VideoTracker(model, settings)
    half.restore(data, lost=True)
    blanks(half, range(4))
    other = VideoTracker(model, settings)
    other.restore(half.save())
    assert blanks(other, range(4, 14)) == expected[4:]


def test_resetting_the_memory_keeps_the_objects(tracker, scene):
    started(tracker, scene, 0)
    for index in range(1, 9):
        tracker.step(scene.frame(index))
    tracker.reset_memory()
    result = tracker.step(scene.frame(1))  # time jumped back
    assert iou(result.mask('disc_0'), scene.masks(1)[0]) > 0.7


def test_objects_can_be_removed_after_a_memory_reset(tracker, scene):
    started(tracker, scene, 0)
    tracker.reset_memory()
    assert len(tracker.remove()) == 1
    assert not tracker.step(scene.frame(1)).objects


def test_the_image_may_change_its_size(tracker, scene):
    started(tracker, scene, 0)
    small = scene.frame(1).rgb[::2, ::2].copy()
    result = tracker.step(Frame(small, scene.frame(1).stamp_ns))
    assert result.label_mask.shape == small.shape[:2]
    assert iou(result.mask('disc_0'), scene.masks(1)[0][::2, ::2]) > 0.7


def test_segmenting_once_touches_no_track(model, scene):
    tracker = started(VideoTracker(model, TrackerSettings()), scene, 0)
    other = started(VideoTracker(model, TrackerSettings()), scene, 0)
    once = segment_once(model, scene.frame(4), [prompt_mask(scene, 1, 4, name='disc_0')], 16)
    assert iou(once.mask('disc_0'), scene.masks(4)[1]) > 0.8
    assert torch.equal(
        tracker.step(scene.frame(1)).mask_logits, other.step(scene.frame(1)).mask_logits
    )


def test_a_full_tracker_holds_64_objects(model, make_scene):
    scene = make_scene(1)
    tracker = VideoTracker(model, TrackerSettings(max_objects=64))
    tracker.step(scene.frame(0))
    boxes = [
        np.array([x, y, x + 30, y + 25], np.float32)
        for x in range(0, 290, 36)
        for y in range(0, 200, 25)
    ]
    tracker.add([Prompt(str(i), box=box) for i, box in enumerate(boxes[:64])])
    result = tracker.step(scene.frame(1))
    assert len(result.objects) == 64
    assert len({item.label for item in result.objects}) == 64
