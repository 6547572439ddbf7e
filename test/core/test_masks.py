"""Overlap of masks, with torch and with NumPy."""

import numpy as np
import pytest
import torch

from robust_vos_ros.core.masks import box_agreement, mask_iou, mask_iou_numpy


@pytest.mark.parametrize(
    ('first', 'second', 'expected', 'reason'),
    [
        ([1, 1, 0, 0], [1, 0, 0, 0], 0.5, 'half of the union'),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1.0, 'two empty masks agree'),
        ([0, 0, 0, 0], [1, 0, 0, 0], 0.0, 'missed'),
        ([1, 0, 1, 0], [1, 0, 1, 0], 1.0, 'equal'),
    ],
)
def test_iou(first, second, expected, reason):
    first, second = np.array([first, second], bool).reshape(2, 2, 2)
    assert mask_iou_numpy(first, second) == pytest.approx(expected), reason
    pairs = mask_iou(torch.tensor(first)[None, None], torch.tensor(second).expand(3, 1, 2, 2))
    assert pairs.tolist() == [[pytest.approx(expected)]] * 3, reason


def test_agreement_of_boxes_and_masks():
    chosen = torch.zeros(3, 8, 8, dtype=torch.bool)
    other = chosen.clone()
    chosen[0, 2:4, 2:4] = True
    other[0, 2:4, 2:4] = True  # the same
    chosen[1, 2:4, 2:4] = True
    other[1, 2:4, 6:8] = True  # a second one further right: box of 2 x 6
    other[2, 0:2, 0:2] = True  # nothing chosen
    assert box_agreement(chosen, other).tolist() == pytest.approx([1.0, 4 / 12, 1.0])
    assert mask_iou(chosen, other).tolist() == pytest.approx([1.0, 0.0, 0.0])
    assert mask_iou(chosen[2], chosen[2]) == 1.0
