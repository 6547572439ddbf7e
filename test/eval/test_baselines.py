import numpy as np
import pytest

from robust_vos_ros.eval.baselines import (
    BASELINES,
    copy_first_mask,
    flow_warp,
    match_descriptors,
)
from robust_vos_ros.eval.metrics import region_similarity


@pytest.mark.parametrize(
    ('track', 'least', 'most'),
    [
        (copy_first_mask, 0.0, 0.2),
        (flow_warp, 0.5, 0.7),  # it drags along what the square uncovers
        (match_descriptors, 0.7, 1.0),
    ],
)
def test_only_those_that_look_follow_a_moving_square(clip, track, least, most):
    masks = track(clip.images, clip.masks[0])
    # In the last frame, after 54 px.
    assert least <= region_similarity(masks[-1], clip.masks[-1]) <= most


@pytest.mark.parametrize('track', BASELINES.values(), ids=BASELINES)
def test_masks_have_the_form_of_the_first_one(clip, track):
    # 75 x 101 px is no whole number of cells.
    images = [np.ascontiguousarray(image[:75, :101]) for image in clip.images[:7]]
    first = clip.masks[0][:75, :101]
    masks = track(images, first)
    assert len(masks) == 7
    assert all(mask.shape == (75, 101) and mask.dtype == bool for mask in masks)
    assert np.array_equal(masks[0], first)
    again = track(images, first)
    assert all(np.array_equal(a, b) for a, b in zip(masks, again, strict=True))


@pytest.mark.parametrize('track', BASELINES.values(), ids=BASELINES)
@pytest.mark.parametrize('full', [False, True])
def test_empty_and_full_masks_stay_so(clip, track, full):
    first = np.full_like(clip.masks[0], full)
    assert all((mask == full).all() for mask in track(clip.images[:3], first))


def test_the_matcher_remembers_the_first_frame(clip):
    noise = np.random.default_rng(0).integers(0, 255, clip.images[0].shape, np.uint8)
    images = [clip.images[0], *[noise] * 5, clip.images[0]]
    masks = match_descriptors(images, clip.masks[0])
    assert region_similarity(masks[-1], clip.masks[0]) > 0.8


def test_the_matcher_looks_no_farther_than_its_radius(clip):
    # The image moves by 16 cells: the square is where no labelled cell is near.
    far = np.roll(clip.images[0], 128, axis=1)
    mask = match_descriptors([clip.images[0], far], clip.masks[0])[1]
    assert not mask[:, 102 + 9 * 8 + 8 :].any()
