"""Breaks in the image stream."""

import numpy as np
import pytest

from robust_vos_ros.core.settings import StreamSettings
from robust_vos_ros.core.types import Frame
from robust_vos_ros.ros_types.discontinuities import Action, Previous, find_discontinuities

SETTINGS = StreamSettings(
    on_time_jump='remove_objects',
    on_resolution_change='keep',
    on_frame_id_change='reset_memory',
    time_jump_tolerance_s=0.2,
)
PREVIOUS = Previous(stamp_ns=10**10, size_hw=(4, 6), frame_id='camera')


def found(previous=PREVIOUS, *, stamp_s=10.1, size_hw=(4, 6), frame_id='camera', clock=False):
    frame = Frame(np.zeros((*size_hw, 3), np.uint8), round(stamp_s * 1e9), frame_id)
    changes = find_discontinuities(previous, frame, SETTINGS, clock_jumped=clock)
    return [(change.counter, change.action) for change in changes]


JUMP = ('time_jumps', Action.remove_objects)


@pytest.mark.parametrize(
    ('what', 'expected'),
    [
        ({}, []),
        ({'previous': None, 'stamp_s': 0.0}, []),  # the first frame changes nothing
        ({'stamp_s': 10.0}, []),  # equal stamps are processed
        ({'stamp_s': 9.81}, []),  # a clock correction, within the tolerance
        ({'stamp_s': 9.79}, [JUMP]),  # beyond it
        ({'stamp_s': 0.0}, [JUMP]),  # a bag starts again
        ({'stamp_s': 1000.0}, []),  # a pause is no jump
        ({'clock': True}, [JUMP]),  # /clock went back, stamps did not
        ({'clock': True, 'stamp_s': 1.0}, [JUMP]),  # both count once
        ({'size_hw': (4, 8)}, [('resolution_changes', Action.keep)]),
        ({'frame_id': 'other'}, [('frame_id_changes', Action.reset_memory)]),
        (
            {'size_hw': (2, 2), 'frame_id': '', 'stamp_s': 1.0},
            [
                JUMP,
                ('resolution_changes', Action.keep),
                ('frame_id_changes', Action.reset_memory),
            ],
        ),
    ],
)
def test_changes(what, expected):
    assert found(**what) == expected


def test_actions_are_ordered_by_severity():
    assert Action.keep < Action.reset_memory < Action.remove_objects
