import dataclasses

import numpy as np
import pytest
import torch

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.prompting.prompts import (
    MAX_NAME,
    MAX_POINTS,
    check_prompt,
    hold_to_prompts,
    to_clicks,
    to_coarse_masks,
    to_mask_batch,
)
from robust_vos_ros.core.types import Prompt

SIZE_HW = (48, 64)
INSIDE = {'points': np.array([[3.0, 4.0]]), 'point_labels': np.array([1])}


def mask_of(*rows):
    mask = np.zeros(SIZE_HW, bool)
    mask[list(rows)] = True
    return mask


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        ({}, 'got none'),  # nothing to go by
        ({'points': np.array([[np.nan, 1.0]]), 'point_labels': np.array([1])}, 'inside 64x48'),
        (
            {'points': np.array([[64.0, 1.0]]), 'point_labels': np.array([1])},
            'inside',
        ),  # one right
        ({'points': np.array([[1.0, -0.5]]), 'point_labels': np.array([1])}, 'inside'),  # above
        (
            {'points': np.array([[1.0, 1.0]]), 'point_labels': np.array([0])},
            'label 1',
        ),  # only "not"
        (
            {'points': np.array([[1.0, 1.0]]), 'point_labels': np.array([2])},
            '0 or 1',
        ),  # SAM's corner
        ({'points': np.array([[1.0, 1.0]]), 'point_labels': np.array([], int)}, 'one label'),
        (
            {'points': np.ones((MAX_POINTS + 1, 2)), 'point_labels': np.ones(MAX_POINTS + 1, int)},
            'at most',
        ),  # a request must stay small
        ({'box': np.array([5.0, 5.0, 5.0, 9.0])}, 'with area'),  # no width
        ({'box': np.array([9.0, 5.0, 5.0, 9.0])}, 'with area'),  # corners swapped
        ({'box': np.array([5.0, 5.0, 90.0, 9.0])}, 'at least 75% is inside 64x48'),  # too far out
        ({'box': np.array([-10.0, -10.0, 20.0, 20.0])}, 'inside'),  # a little at each side
        ({'box': np.array([70.0, 5.0, 90.0, 9.0])}, 'inside'),  # beside the image
        ({'box': np.array([np.inf, 5.0, 6.0, 9.0])}, 'finite'),
        ({'box': np.array([5.0, 5.0])}, '4 finite'),
        ({'mask': np.zeros((10, 10), bool)}, 'image size'),
        ({'mask': mask_of()}, 'at least one'),  # empty
        ({'mask': mask_of(*range(48))}, 'whole image'),
        ({'mask': mask_of(1), **INSIDE}, 'got both'),
        ({'object_id': '', **INSIDE}, 'object_id'),
        ({'object_id': 'x' * (MAX_NAME + 1), **INSIDE}, 'object_id of at most 256 characters'),
        ({'class_id': 'x' * 100_000, **INSIDE}, 'class_id of at most 256.*got 100000'),
    ],
)
def test_unusable_prompts_are_refused(fields, message):
    with pytest.raises(PromptError, match=message):
        check_prompt(Prompt(**{'object_id': 'it', **fields}), SIZE_HW)


class Unread(list):
    """A sequence that must be counted only."""

    def __iter__(self):
        raise AssertionError('read before it was counted')


def test_points_are_counted_before_they_are_read():
    many = Unread([(1.0, 1.0)] * 100_000)
    with pytest.raises(PromptError, match='at most 64 points, got 100000'):
        check_prompt(Prompt('it', points=many, point_labels=many), SIZE_HW)


def test_an_error_names_one_wrong_label_not_all():
    labels = np.full(MAX_POINTS, 7)
    with pytest.raises(PromptError, match=r'got 7$'):
        check_prompt(Prompt('it', points=np.ones((MAX_POINTS, 2)), point_labels=labels), SIZE_HW)
    with pytest.raises(PromptError, match=r'got 100000 labels$'):
        check_prompt(Prompt('it', points=np.ones((1, 2)), point_labels=np.ones(100_000)), SIZE_HW)


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ((50, 10, 66, 20), (50, 10, 64, 20)),  # at the right
        ((-2, -1.5, 30, 30), (0, 0, 30, 30)),  # at the corner
        ((-1, -1, 65, 49), (0, 0, 64, 48)),  # around the image
    ],
)
def test_a_box_a_little_beyond_the_image_is_cut(box, expected):
    checked = check_prompt(Prompt('it', box=np.array(box, np.float64)), SIZE_HW)
    assert checked.box.tolist() == list(expected)
    assert checked.box.dtype == np.float32


@pytest.mark.parametrize(
    'fields',
    [
        {'points': [[0, 0], [63, 47]], 'point_labels': [1, 0]},  # the corners belong to the image
        {'box': np.array([0, 0, 64, 48])},  # the whole image as a box is a fair prompt
        {'box': np.array([3, 3, 9, 9]), 'points': [[4, 4]], 'point_labels': [0]},
        {'mask': mask_of(3).astype(np.uint8)},
    ],
)
def test_usable_prompts_get_canonical_types(fields):
    checked = check_prompt(Prompt('it', **fields), SIZE_HW)
    assert checked.points.dtype == np.float32
    assert checked.points.shape[1] == 2
    assert checked.point_labels.dtype == np.int32
    assert checked.mask is None or checked.mask.dtype == bool


def test_a_box_becomes_two_corners_before_the_points():
    prompt = Prompt(
        'it',
        points=np.array([[32.0, 24.0]], np.float32),
        point_labels=np.array([1], np.int32),
        box=np.array([0, 12, 64, 48], np.float32),
    )
    clicks = to_clicks([prompt], SIZE_HW, 256, torch.device('cpu'))
    assert clicks.coords.tolist() == [[[0, 64], [256, 256], [128, 128]]]
    assert clicks.labels.tolist() == [[2, 3, 1]]


def test_masks_keep_their_place_when_resized():
    prompt = Prompt('it', mask=mask_of(*range(24)))
    batch = to_mask_batch([prompt, dataclasses.replace(prompt)], 256, torch.device('cpu'))
    assert batch.shape == (2, 1, 256, 256)
    assert batch[0, 0, :128].all()
    assert not batch[0, 0, 128:].any()


def test_coarse_masks_show_where_a_prompt_is():
    prompt = Prompt(
        'it',
        points=np.array([[20.0, 40.0]], np.float32),
        point_labels=np.array([0], np.int32),
        box=np.array([16, 12, 32, 48], np.float32),
    )
    clicks = to_clicks([prompt], (64, 64), 64, torch.device('cpu'))
    coarse = to_coarse_masks(clicks, 64, 16)[0, 0]
    assert coarse[3, 4] == pytest.approx(6.0, abs=0.1)  # y 12..16, x 16..20: in the box
    assert coarse[3, 3] == pytest.approx(-6.0, abs=0.1)  # left of it
    assert coarse[10, 5] < 0.0  # in the box, but at the point not on the object
    points = np.array([[22.0, 42.0]], np.float32)
    point = Prompt('it', points=points, point_labels=np.array([1], np.int32))
    clicks = to_clicks([point, point], (64, 64), 64, torch.device('cpu'))
    coarse = to_coarse_masks(clicks, 64, 16)
    assert coarse.shape == (2, 1, 16, 16)
    assert coarse[0, 0].argmax() == 10 * 16 + 5
    assert coarse.min() >= 0.0


def cells(x0, y0, x1, y1):
    """Logits of a mask of 16 x 16 cells, each 4 x 3 pixels of the image."""
    logits = torch.full((1, 16, 16), -5.0)
    logits[0, y0:y1, x0:x1] = 5.0
    return logits


BOX = {'box': np.array([16.0, 12.0, 32.0, 24.0], np.float32)}  # cells 4 to 8 in both directions
ON = {'points': np.array([[24.0, 18.0]]), 'point_labels': np.array([1])}


@pytest.mark.parametrize(
    ('prompt', 'logits', 'misfit', 'left', 'why'),
    [
        (BOX, cells(4, 4, 8, 8), 0.0, 16, 'it is within its box'),
        (BOX, cells(3, 3, 9, 9), 0.0, 36, 'a cell more is no matter'),
        (BOX, cells(4, 4, 8, 14), 0.5, 20, 'half of it is below the box'),
        (BOX, cells(0, 12, 16, 16), 1.0, 0, 'it is somewhere else'),
        (ON, cells(0, 0, 16, 16), 0.0, 256, 'a click says nothing of the extent'),
        (ON, cells(12, 12, 16, 16), 1.0, 16, 'it is not where the click is'),
        (ON, cells(7, 4, 9, 8), 0.0, 8, 'the click is beside its edge'),
        (
            {'points': np.array([[24.0, 18.0], [28.0, 21.0]]), 'point_labels': np.array([1, 0])},
            cells(0, 0, 16, 16), 0.5, 256, 'it covers what is not the object',
        ),
        ({'mask': mask_of(3)}, cells(0, 0, 16, 16), 0.0, 256, 'a mask is taken as it is'),
    ],
)  # fmt: skip
def test_masks_are_held_against_their_prompts(prompt, logits, misfit, left, why):
    held, misfits = hold_to_prompts(
        logits, [check_prompt(Prompt('it', **prompt), SIZE_HW)], SIZE_HW
    )
    assert misfits == pytest.approx([misfit]), why
    assert (held > 0).sum() == left, why
