"""Objects of pictures of another time: they start LOST and are found by their looks."""

import cv2
import numpy as np
import pytest

from robust_vos_ros.core.errors import DuplicateIdError, NoFrameError, PromptError
from robust_vos_ros.core.prompting.reference_pictures import ReferencePicture
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_sections import ZoomSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import EventType, Frame, ObjectState, Prompt

SETTINGS = TrackerSettings(max_objects=4)
SHOWN_FROM = 4  # frame of the stream that first shows the discs
OTHER_HW = (300, 360)


def picture_of(scene, disc=0, *, size_hw=None, name='it', index=0):
    """Return frame 0 of a scene with the mask of one of its discs, as a picture of any size."""
    rgb, mask = scene.frame(index).rgb, scene.masks(index)[disc]
    if size_hw is not None:
        size = size_hw[::-1]
        rgb = cv2.resize(rgb, size)
        mask = cv2.resize(mask.astype(np.uint8), size) > 0
    return ReferencePicture(Prompt(name, mask=mask, class_id='toy'), Frame(rgb, 10**15, 'album'))


def empty_frame(scene, index):
    """Return a frame that shows none of the discs."""
    return Frame(
        scene.frame(0).rgb[:30, :40].repeat(8, 0).repeat(8, 1), scene.frame(index).stamp_ns
    )


def watch(tracker, scene, until, first=1):
    """Track a stream that is empty at first; returns its results."""
    return [
        tracker.step(empty_frame(scene, index) if index < SHOWN_FROM else scene.frame(index))
        for index in range(first, until)
    ]


def overlap(ours, truth):
    return (ours & truth).sum() / (ours | truth).sum()


def test_what_a_picture_of_another_size_shows_is_found_when_it_comes(model, make_scene):
    scene = make_scene()
    tracker = VideoTracker(model, SETTINGS)
    tracker.step(empty_frame(scene, 0))
    result = tracker.look_for([picture_of(scene, size_hw=OTHER_HW)])
    (item,) = result.objects
    assert (item.state, item.class_id, item.existence_probability) == (ObjectState.LOST, 'toy', 0)
    assert not result.label_mask.any()
    assert [event.type for event in result.events] == [EventType.ADDED]
    assert result.warnings == ("'it' is LOST until it is re-detected by its reference picture",)
    results = watch(tracker, scene, 16)
    assert {r.objects[0].state for r in results[: SHOWN_FROM - 1]} == {ObjectState.LOST}
    assert results[-1].objects[0].state == ObjectState.TRACKED
    assert overlap(results[-1].mask('it'), scene.masks(15)[0]) > 0.6
    details = [event.detail for r in results for event in r.events]
    assert sum('similarity 0.' in detail for detail in details) == 1, details


def test_what_never_comes_stays_lost(model, make_scene):
    """Though two other discs are there, one of which is prompted."""
    scene, other = make_scene(), make_scene(3, seed=11)
    tracker = VideoTracker(model, SETTINGS)
    tracker.step(scene.frame(SHOWN_FROM))
    tracker.add([Prompt('disc', mask=scene.masks(SHOWN_FROM)[1])])
    tracker.look_for([picture_of(other, disc=2)])
    for result in watch(tracker, scene, SHOWN_FROM + 12, first=SHOWN_FROM + 1):
        states = {item.object_id: item.state for item in result.objects}
        assert states['it'] == ObjectState.LOST
        assert not result.mask('it').any()


def test_the_same_pictures_give_the_same_bits_also_after_a_restart(model, make_scene):
    scene, saved, restored = make_scene(), [], VideoTracker(model, SETTINGS)
    for _ in range(2):
        tracker = VideoTracker(model, SETTINGS)
        tracker.step(empty_frame(scene, 0))
        tracker.look_for([picture_of(scene)])
        saved.append(tracker.save())
    assert saved[0] == saved[1]
    restored.restore(saved[0], lost=True)
    assert restored.step(scene.frame(SHOWN_FROM)).objects[0].state == ObjectState.LOST
    for index in range(SHOWN_FROM + 1, 16):
        result = restored.step(scene.frame(index))
    assert result.objects[0].state == ObjectState.TRACKED


def test_a_wrong_picture_changes_nothing(model, make_scene):
    scene = make_scene()
    tracker = VideoTracker(model, SETTINGS)
    good = picture_of(scene)
    with pytest.raises(NoFrameError):
        tracker.look_for([good])
    tracker.step(scene.frame(0))
    tracker.look_for([good])
    small = ReferencePicture(good.prompt, Frame(good.frame.rgb[:100], 0))
    for pictures, error, text in (
        ([picture_of(scene, name='b'), small], DuplicateIdError, "already tracked: 'it'"),
        ([picture_of(scene, name='b'), good], DuplicateIdError, 'already tracked'),
        ([ReferencePicture(Prompt('b'), good.frame)], PromptError, 'points, a box or a mask'),
        (
            [ReferencePicture(Prompt('b', mask=good.prompt.mask), small.frame)],
            PromptError,
            'expected a mask of the image size 320x100',
        ),
    ):
        with pytest.raises(error, match=text):
            tracker.look_for(pictures)
    (before,) = tracker.last_result.objects
    (after,) = tracker.look_for([good], replace_existing=True).objects
    assert before.uuid != after.uuid
    assert after.state == ObjectState.LOST


def test_a_crop_is_taken_with_a_warning(model, make_scene):
    scene = make_scene()
    ys, xs = np.nonzero(scene.masks(0)[0])
    part = np.s_[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    picture = ReferencePicture(
        Prompt('it', mask=scene.masks(0)[0][part]), Frame(scene.frame(0).rgb[part].copy(), 0)
    )
    tracker = VideoTracker(model, SETTINGS)
    tracker.step(scene.frame(0))
    _, warning = tracker.look_for([picture]).warnings
    assert "'it' covers 7" in warning


def test_the_window_opens_for_a_picture(model, make_scene):
    scene = make_scene()
    settings = SETTINGS.model_copy(update={'zoom': ZoomSettings(enabled=True, context=1.5)})
    tracker = VideoTracker(model, settings)
    tracker.step(scene.frame(0))
    tracker.add([Prompt('disc', mask=scene.masks(0)[1])])
    tracker.step(scene.frame(1))
    assert not tracker._tracks.frames.zoom.window.is_whole
    tracker.look_for([picture_of(scene)])
    for index in range(2, 14):
        result = tracker.step(scene.frame(index))
    assert tracker._tracks.frames.zoom.window.is_whole
    assert [item.state for item in result.objects] == [ObjectState.TRACKED] * 2
