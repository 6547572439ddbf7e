"""Small objects on a large one: what is where, and the same seed, the same bits."""

import cv2
import numpy as np
import pytest

from robust_vos_ros.data.contact_clips import INTERACTIONS, ContactClip, TooSmallError
from robust_vos_ros.data.layers import Layer
from robust_vos_ros.data.video_folder import open_dataset

NUM_FRAMES = 40


@pytest.fixture
def make(tmp_path):
    """A clip on a green square that moves right; its side in pixels of 200 may be chosen."""

    def make_clip(seed, *, side=90, prompts_large=True, count=4):
        for folder in ('JPEGImages', 'Annotations'):
            (tmp_path / folder / 'square').mkdir(parents=True, exist_ok=True)
        for t in range(10):
            mask = np.zeros((200, 200), np.uint8)
            mask[40 : 40 + side, 40 + 3 * t : 40 + 3 * t + side] = 255
            image = np.full((200, 200, 3), 40, np.uint8)
            image[mask > 0] = (30, 160, 30)
            cv2.imwrite(str(tmp_path / f'JPEGImages/square/{t:05d}.jpg'), image)
            cv2.imwrite(str(tmp_path / f'Annotations/square/{t:05d}.png'), mask)
        (sequence,) = open_dataset(tmp_path, layout='folders')
        red = np.full((2, 30, 30, 3), (220, 30, 30), np.uint8)
        cutout = Layer(red, np.ones((2, 30, 30), np.float32))
        return ContactClip(
            seed,
            num_frames=NUM_FRAMES,
            size=200,
            sequence=sequence,
            cutouts=[cutout] * count,
            prompts_large=prompts_large,
        )

    return make_clip


def test_the_same_seed_gives_the_same_bits_in_any_order(make):
    one, two, other = make(1), make(1), make(2)
    late, early = one.frame(30), one.frame(0)
    for t, frame in ((0, early), (30, late)):
        assert np.array_equal(frame.image, two.frame(t).image)
        assert np.array_equal(frame.labels, two.frame(t).labels)
    assert not np.array_equal(late.labels, other.frame(30).labels)


@pytest.mark.parametrize('seed', range(3))
def test_small_objects_are_where_their_interaction_says(make, seed):
    """Share of the pixels around a small object that are the large one's, at first and midway."""
    clip = make(seed)
    assert sorted(clip.interactions) == sorted(INTERACTIONS)
    large = clip.num_objects - 1
    for index, interaction in enumerate(clip.interactions):
        alone = make(seed)
        alone._small = [alone._small[index]]
        on_large = []
        for t in (0, round(0.55 * NUM_FRAMES)):
            frame = alone.frame(t)
            mask = (frame.labels == 1).astype(np.uint8)
            ring = cv2.dilate(mask, np.ones((5, 5), np.uint8)) > mask
            on_large.append(frame.mask(large)[ring].mean())
        first, midway = on_large
        assert (first > 0.7) == (interaction in {'held', 'leaves'}), interaction
        if interaction in {'held', 'comes'}:
            assert midway > 0.5, interaction
        if interaction == 'leaves':
            assert midway < first


def test_masks_are_what_is_visible(make):
    clip = make(0)
    frame = clip.frame(7)
    red = (frame.image[..., 0] > 125) & (frame.image[..., 1] < 100)
    small = np.isin(frame.labels, range(1, 5))
    assert (red & small).sum() > 0.9 * small.sum()
    assert [frame.mask(k).sum() for k in range(4)] <= frame.inside_px[:4].tolist()
    assert clip.num_objects == 5


def test_a_large_object_that_is_not_prompted_is_no_object(make):
    clip = make(0, prompts_large=False)
    assert clip.num_objects == 4
    assert set(np.unique(clip.frame(0).labels)) <= {0, 1, 2, 3, 4, 255}


def test_an_object_too_small_to_carry_others_is_refused(make):
    with pytest.raises(TooSmallError, match='square'):
        make(0, side=20)
