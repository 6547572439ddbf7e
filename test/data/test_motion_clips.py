"""Clips in which named things move as they say."""

import cv2
import numpy as np
import pytest

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.labels import Labels
from robust_vos_ros.data.layouts import MaskKind
from robust_vos_ros.data.motion_clips import MOTIONS, MotionClipMaker, draw_motion
from robust_vos_ros.data.motion_expressions import UNSEEN_PHRASES, phrases
from robust_vos_ros.data.stills import Still

SIZE, FRAMES = 96, 8


@pytest.fixture
def stills(tmp_path):
    """Six pictures of one disc each, three of them 'cup'."""
    made = []
    for index in range(6):
        rng = np.random.default_rng(index)
        labels = np.zeros((80, 100), np.uint8)
        cv2.circle(labels, (50, 40), 20, 1, -1)
        cv2.imwrite(str(tmp_path / f'{index}.png'), rng.integers(0, 255, (80, 100, 3), np.uint8))
        cv2.imwrite(str(tmp_path / f'm{index}.png'), labels)
        masks = Labels(
            (tmp_path / f'{index}.png',), ({1: tmp_path / f'm{index}.png'},), kind=MaskKind.IDS
        )
        word = 'cup' if index < 3 else 'ball'
        made.append(Still(f's/{index}', tmp_path / f'{index}.png', masks, {1: word}))
    return made


def test_a_clip_depends_on_its_seed_alone(stills):
    maker = MotionClipMaker(stills, SIZE)
    first, second = (maker.make(np.random.default_rng(3), FRAMES) for _ in range(2))
    assert np.array_equal(first.images, second.images)
    assert first.images.shape == (FRAMES, SIZE, SIZE, 3)
    assert first.masks.shape == (len(first.words), FRAMES, SIZE, SIZE)
    assert (first.words, first.motions) == (second.words, second.motions)


def test_no_two_things_move_alike(stills):
    maker = MotionClipMaker(stills, SIZE)
    clips = [maker.make(np.random.default_rng(seed), 2) for seed in range(20)]
    assert all(len(set(clip.motions)) == len(clip.motions) for clip in clips)
    assert {kind for clip in clips for kind in clip.motions} == set(MOTIONS)
    assert any(len(set(clip.words)) < len(clip.words) for clip in clips)
    assert {word for clip in clips for word in clip.words} == {'cup', 'sports ball'}


@pytest.mark.parametrize(
    ('kind', 'axis', 'sign'), [('left', 0, -1), ('right', 0, 1), ('up', 1, -1), ('down', 1, 1)]
)
def test_things_move_to_their_side(kind, axis, sign):
    at = np.array([40.0, 50.0])
    for seed in range(10):
        path = draw_motion(np.random.default_rng(seed), kind, FRAMES, SIZE, at)
        way = at - (path[0, :, :2] @ at + path[0, :, 2])
        assert np.allclose(path[-1, :, :2] @ at + path[-1, :, 2], at, atol=0.01 * SIZE)
        assert sign * way[axis] > abs(way[1 - axis])
        assert 0.04 * SIZE < np.linalg.norm(way) < 0.4 * SIZE


@pytest.mark.parametrize(
    ('kind', 'turns', 'growth'),
    [('still', False, 0), ('turning', True, 0), ('closer', False, 1), ('away', False, -1)],
)
def test_things_turn_or_change_their_size_in_place(kind, turns, growth):
    at = np.array([40.0, 50.0])
    for seed in range(10):
        first = draw_motion(np.random.default_rng(seed), kind, FRAMES, SIZE, at)[0]
        assert np.linalg.norm(first[:, :2] @ at + first[:, 2] - at) < 0.03 * SIZE
        assert np.sign(np.round(-np.log(np.linalg.det(first[:, :2])), 6)) == growth
        assert (abs(first[1, 0]) > 0.2) == turns


def test_every_motion_has_phrases():
    trained = phrases()
    assert {kind for kinds in trained.values() for kind in kinds} == set(MOTIONS)
    assert set(UNSEEN_PHRASES) == set(MOTIONS)
    assert not set(trained) & {text for texts in UNSEEN_PHRASES.values() for text in texts}


def test_stills_without_things_are_refused(stills):
    unnamed = [Still(s.name, s.path, s.labels) for s in stills]
    with pytest.raises(DatasetError, match='named things'):
        MotionClipMaker(unnamed, SIZE)
