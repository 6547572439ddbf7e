"""Tracks as bytes and back: what comes back, and what is refused."""

import json
import uuid

import numpy as np
import pytest
import safetensors.torch
import torch

from robust_vos_ros.core.errors import SavedTracksError
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_sections import MemorySettings, ReacquireSettings, TreeSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import EventType, Frame, ObjectState, Prompt

SETTINGS = TrackerSettings(max_objects=3)
BLIND = SETTINGS.model_copy(update={'reacquire': ReacquireSettings(verify=False)})
LAST = 8
NUM_HELD = round(SETTINGS.reacquire.hold_s * 15)  # frames


@pytest.fixture(scope='module')
def scene(make_scene):
    return make_scene()


@pytest.fixture(scope='module')
def followed(model, scene):
    """A tracker of two objects after eight frames, what it saved then, and its next results."""
    tracker = VideoTracker(model, SETTINGS, session=uuid.UUID(int=7))
    tracker.step(scene.frame(0))
    tracker.add([Prompt(f'disc_{k}', mask=mask) for k, mask in enumerate(scene.masks(0))])
    before = [tracker.step(scene.frame(index)) for index in range(1, LAST)][-1]
    data = tracker.save()
    return data, before, [tracker.step(scene.frame(index)) for index in range(LAST, LAST + 5)]


@pytest.fixture
def fresh(model):
    return VideoTracker(model, SETTINGS)


def test_a_restarted_tracker_that_does_not_verify_goes_on_as_if_never_stopped(
    model, scene, followed
):
    data, _, expected = followed
    tracker = VideoTracker(model, BLIND)
    tracker.restore(data, lost=True)
    for index, uninterrupted in enumerate(expected, LAST):
        result = tracker.step(scene.frame(index))
        assert torch.equal(result.mask_logits, uninterrupted.mask_logits)
        assert np.array_equal(result.label_mask, uninterrupted.label_mask)
        assert result.frame_index == uninterrupted.frame_index


def test_a_restored_object_is_lost_until_it_looks_like_itself(fresh, scene, followed):
    data, before, _ = followed
    fresh.restore(data, lost=True)
    assert fresh.last_result is None
    empty = np.full((*scene.size_hw, 3), 128, np.uint8)
    absent = fresh.step(Frame(empty, scene.frame(LAST).stamp_ns))
    assert [item.state for item in absent.objects] == [ObjectState.LOST] * 2
    assert not absent.label_mask.any()
    events = []
    for index in range(LAST, LAST + NUM_HELD + 3):
        result = fresh.step(scene.frame(index))
        events += [(event.type, event.object_id) for event in result.events]
        if index < LAST + NUM_HELD:  # looks like it, but not for reacquire.hold_s yet
            assert not result.label_mask.any()
    assert set(events) == {(EventType.REACQUIRED, f'disc_{k}') for k in range(2)}
    for item, old in zip(result.objects, before.objects, strict=True):
        assert (item.object_id, item.uuid, item.label) == (old.object_id, old.uuid, old.label)
        assert item.state == ObjectState.TRACKED


def test_uuids_never_repeat(model, scene, followed):
    data, before, _ = followed
    known = {item.uuid for item in before.objects}
    for session in (uuid.UUID(int=7), uuid.UUID(int=8)):  # 7: as the tracker it was made of
        tracker = VideoTracker(model, SETTINGS, session=session)
        tracker.restore(data, lost=True)
        tracker.remove()
        tracker.step(scene.frame(LAST))
        again = tracker.add([Prompt('disc_0', mask=scene.masks(LAST)[0])])
        assert again.objects[0].uuid not in known
        known.add(again.objects[0].uuid)


def test_an_empty_tracker_saves_no_objects(fresh, model, scene):
    other = VideoTracker(model, SETTINGS)
    other.restore(fresh.save(), lost=True)
    assert not other.step(scene.frame(0)).objects


def changed(**changes):
    return SETTINGS.model_copy(update=changes)


def test_a_restored_tracker_gives_the_same_bits(model, scene):
    """With all hypotheses, and with objects added and corrected later."""
    settings = changed(tree=TreeSettings(max_hypotheses=2, adaptive=False))
    prompts = [Prompt(f'disc {i}', mask=mask) for i, mask in enumerate(scene.masks(0))]

    def go_on(tracker, first, last):
        results = []
        for index in range(first, last):
            tracker.step(scene.frame(index))
            if index == 0:
                tracker.add(prompts[:1])
            if index == 7:
                tracker.add(prompts[1:])
            if index == 8:
                tracker.refine(prompts[0])
            results.append(tracker.last_result)
        return results

    whole = go_on(VideoTracker(model, settings), 0, 10)
    first = VideoTracker(model, settings)
    go_on(first, 0, 6)
    second = VideoTracker(model, settings)
    second.restore(first.save())
    for old, new in zip(whole[6:], go_on(second, 6, 10), strict=True):
        assert torch.equal(old.mask_logits, new.mask_logits)
        assert repr(old.objects) == repr(new.objects)  # NaN equals NaN there
        assert (old.frame_index, old.events) == (new.frame_index, new.events)


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        (changed(max_objects=1), ('2 objects', 'max_objects is 1')),
        (changed(max_prompted_entries=2), ('max_prompted_entries 4, here 2',)),
        (changed(tree=TreeSettings(max_hypotheses=2)), ('tree.max_hypotheses 1, here 2',)),
        (changed(memory=MemorySettings(anchors=0)), ('memory.anchors 2, here 0',)),
    ],
)
def test_other_sizes_are_refused(model, scene, followed, settings, words):
    refuse(VideoTracker(model, settings), followed[0], scene, words)


@pytest.mark.parametrize(
    ('attribute', 'value', 'words'),
    [
        ('name', 'giant', ('model nano, here giant',)),
        ('weights_hash', 'f' * 64, ('weights', 'here ffffffffffff')),
    ],
)
def test_another_model_is_refused(fresh, scene, followed, monkeypatch, attribute, value, words):
    monkeypatch.setattr(fresh.model, attribute, value)
    refuse(fresh, followed[0], scene, words)


def test_a_tracker_with_objects_is_refused(fresh, scene, followed):
    fresh.step(scene.frame(0))
    fresh.add([Prompt('mine', mask=scene.masks(0)[0])])
    with pytest.raises(SavedTracksError, match='without objects, got one with 1'):
        fresh.restore(followed[0], lost=True)
    assert [item.object_id for item in fresh.step(scene.frame(1)).objects] == ['mine']


def refuse(tracker, data, scene, words=()):
    """Expect a refusal that says why and leaves the tracker empty and usable."""
    with pytest.raises(SavedTracksError) as error:
        tracker.restore(data, lost=True)
    for word in words:
        assert word in str(error.value)
    assert not list(tracker._tracks.objects)


def test_truncated_bytes_are_refused(fresh, scene, followed):
    data = followed[0]
    rng = np.random.default_rng(5)
    for length in [0, 1, 7, 8, 9, 100, len(data) - 1, *rng.integers(0, len(data), 60).tolist()]:
        refuse(fresh, data[:length], scene)
    refuse(fresh, data + b'x', scene)
    fresh.restore(data, lost=True)


def test_damaged_bytes_never_crash(fresh, scene, followed):
    """Flipped bytes: refused, or (in the value of a feature) taken; never anything else."""
    data = followed[0]
    rng = np.random.default_rng(6)
    header_end = 8 + int.from_bytes(data[:8], 'little')
    for place in [*rng.integers(0, header_end, 150), *rng.integers(header_end, len(data), 20)]:
        damaged = bytearray(data)
        damaged[place] ^= int(rng.integers(1, 256))
        try:
            fresh.restore(bytes(damaged), lost=True)
        except SavedTracksError:
            assert not list(fresh._tracks.objects)
        else:
            fresh.reset()
    fresh.restore(data, lost=True)
    assert len(fresh.step(scene.frame(LAST)).objects) == 2


def rewrite(data, change):
    """Change the header (a dict) and tensors of saved tracks."""
    tensors = safetensors.torch.load(data)
    length = int.from_bytes(data[:8], 'little')
    text = json.loads(json.loads(data[8 : 8 + length])['__metadata__']['robust_vos'])
    change(text['header'], tensors)
    return safetensors.torch.save(tensors, {'robust_vos': json.dumps(text)})


def put(name, value):
    return lambda header, tensors: tensors.update({name: value})


def look_different(header, tensors):
    """Let the first object have looked the opposite of what it does."""
    tensors['0.gallery.centers'] *= -1.0


def test_what_looks_different_is_not_taken_for_the_object(fresh, scene, followed):
    fresh.restore(rewrite(followed[0], look_different), lost=True)
    for index in range(LAST, LAST + NUM_HELD + 2):
        result = fresh.step(scene.frame(index))
        assert result.objects[0].state == ObjectState.LOST
        assert not result.mask('disc_0').any()
    assert result.objects[1].state == ObjectState.TRACKED


def say(name, value):
    """Change a field of the first object, or of a part of it: `part.name`."""

    def change(header, tensors):
        *parts, last = name.split('.')
        place = header['objects'][0]
        for part in parts:
            place = place[part]
        assert last in place
        place[last] = value

    return change


NAN = float('nan')
ZOOM = {'window': None, 'newest': None, 'pictures': [], 'shown': [], 'last': []}


@pytest.mark.parametrize(
    'change',
    [
        lambda header, tensors: header.update(num_frames=3),  # memory of the future
        lambda header, tensors: header.update(num_frames=-1),
        lambda header, tensors: header.update(num_frames=10**30),
        lambda header, tensors: header.update(session='me'),
        lambda header, tensors: header.update(extra=1),
        lambda header, tensors: header.update(objects='none'),
        lambda header, tensors: header['objects'].append(header['objects'][0]),  # twice the same
        lambda header, tensors: tensors.pop('0.masks'),
        lambda header, tensors: tensors.update({'0.more': torch.zeros(1)}),
        say('slot', -1),
        say('slot', 99),
        say('slot', 1),  # of the other object
        say('object_id', ''),
        say('object_id', 'x' * 10_000),
        say('uuid', 'me'),
        say('added_ns', 10**30),
        say('track.seen_existence', NAN),
        say('track.coverage', 1.5),
        say('reid.mean_similarity', 2.0),
        put('0.gallery.counts', torch.tensor([200, 1])),  # more than there are samples
        put('0.gallery.counts', torch.tensor([8, -1])),
        put('0.masks', torch.zeros(1, 1)),
        put('0.masks', torch.full((1, 64, 64), NAN)),
        put('0.scores', torch.zeros(2, dtype=torch.float64)),  # of more hypotheses than masks
        put('0.scores', torch.ones(1, dtype=torch.float64)),
        put('0.gallery.centers', torch.zeros(17, 3)),
        put('0.gallery.verified', torch.zeros(5, 3)),
        lambda header, tensors: header['made_with'].update(weights='others'),
        lambda header, tensors: header.update(zoom=7),
        lambda header, tensors: header.update(zoom=ZOOM | {'window': [0, 0, 9, 9, [5, 5]]}),
        lambda header, tensors: header.update(zoom=ZOOM | {'newest': 3}),  # without its picture
        lambda header, tensors: header.update(zoom=ZOOM | {'newest': 3, 'pictures': [3]}),
        put('0.spatial.columns', torch.zeros(3)),
        put('0.spatial.columns', torch.tensor(5)),
        put('0.spatial.frames', torch.full((1,), 10**6)),
        put('0.spatial.recent', torch.full((1, 6), 10**6)),
        put('0.pointers.recent', torch.full((1, 15), -5)),
    ],
)  # fmt: skip
def test_hostile_tracks_are_refused(fresh, scene, followed, change):
    refuse(fresh, rewrite(followed[0], change), scene)


def test_another_version_is_named(fresh, scene, followed):
    tensors = safetensors.torch.load(followed[0])
    old = safetensors.torch.save(tensors, {'robust_vos': '{"format": "robust_vos tracks 6"}'})
    refuse(fresh, old, scene, ("'robust_vos tracks 7', got 'robust_vos tracks 6'",))
    new = safetensors.torch.save(tensors, {'robust_vos': '{"format": "robust_vos tracks 99"}'})
    refuse(fresh, new, scene, ("got 'robust_vos tracks 99'",))


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\xff' * 64,
        (2**62).to_bytes(8, 'little') + b'{}',
        (4).to_bytes(8, 'little') + b'null',
        safetensors.torch.save({'a': torch.zeros(1)}),
        safetensors.torch.save({'a': torch.zeros(1)}, {'robust_vos': '[]'}),
        safetensors.torch.save({'a': torch.zeros(1)}, {'robust_vos': '[' * 100_000}),
    ],
)
def test_foreign_bytes_are_refused(fresh, scene, data):
    refuse(fresh, data, scene)
    assert not fresh.step(scene.frame(0)).objects


def test_the_rewriting_of_this_test_changes_nothing_by_itself(fresh, scene, followed):
    fresh.restore(rewrite(followed[0], lambda header, tensors: None), lost=True)
    assert len(fresh.step(scene.frame(LAST)).objects) == 2
