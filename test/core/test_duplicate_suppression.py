"""Who keeps a mask that two objects claim."""

import pytest
import torch

from robust_vos_ros.core.confidence.evidence import Observation
from robust_vos_ros.core.reid.duplicates import find_duplicates


def masks(*spans):
    """One row of 10 cells for each object, filled from..to."""
    rows = torch.zeros(len(spans), 1, 10, dtype=torch.bool)
    for row, (start, stop) in zip(rows, spans, strict=True):
        row[0, start:stop] = True
    return rows


def seen(similarity, iou=0.9):
    return Observation(6.0, iou, 0.1, similarity=similarity)


@pytest.mark.parametrize(
    ('spans', 'claims', 'lost'),
    [
        (((0, 5), (5, 10)), (seen(1.0), seen(0.2)), [False, False]),  # apart
        (((0, 5), (0, 5)), (seen(0.4), seen(1.0)), [True, False]),  # looks decide
        (((0, 5), (0, 5)), (seen(1.0, 0.7), seen(1.0, 0.9)), [True, False]),  # then the IoU
        (((0, 5), (0, 5)), (seen(float('nan')), seen(0.5)), [False, True]),  # unknown = alike
        (((0, 4), (0, 10)), (seen(0.4), seen(1.0)), [False, False]),  # a part of it, IoU 0.4
        (((0, 0), (0, 0)), (seen(0.4), seen(1.0)), [False, False]),  # nothing to contest
        # The middle one loses to the first and takes nothing from the third.
        (((0, 6), (1, 7), (2, 8)), (seen(1.0), seen(0.8), seen(0.6)), [False, True, False]),
    ],
)
def test_of_two_masks_that_agree_the_less_alike_loses(spans, claims, lost):
    assert find_duplicates(masks(*spans), claims, 0.6, [True] * len(claims)).tolist() == lost


def test_masks_may_agree_where_that_is_wanted():
    same = masks((0, 5), (0, 5))
    assert not find_duplicates(same, (seen(0.4), seen(1.0)), 1.0, [True] * 2).any()


@pytest.mark.parametrize(('similarity', 'lost'), [(0.9, [True, False]), (0.5, [False, True])])
def test_an_object_in_view_is_not_pushed_aside_by_one_about_as_alike(similarity, lost):
    hidden_one, shown_one = seen(1.0), seen(similarity)
    found = find_duplicates(masks((0, 5), (0, 5)), (hidden_one, shown_one), 0.6, [False, True])
    assert found.tolist() == lost
