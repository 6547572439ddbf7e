"""The checker of the node's output finds what it is for."""

import types

import cv2
import numpy as np
import pytest

from robust_vos_ros.ros_types.invariants import Invariants

SIZE_HW = (20, 30)


def make_header(stamp_ns, frame_id='camera'):
    sec, nanosec = divmod(stamp_ns, 10**9)
    stamp = types.SimpleNamespace(sec=sec, nanosec=nanosec)
    return types.SimpleNamespace(stamp=stamp, frame_id=frame_id)


def make_item(**fields):
    roi = types.SimpleNamespace(x_offset=5, y_offset=4, width=3, height=2)
    values = {
        'object_id': 'cup', 'uuid': types.SimpleNamespace(uuid=[1] * 16), 'label': 1, 'state': 1,
        'confidence': 0.9, 'existence_probability': 1.0, 'mask_quality': 0.8,
        'gate_activity': float('nan'), 'area_px': 6, 'roi': roi,
    }  # fmt: skip
    return types.SimpleNamespace(**values | fields)


def make_objects(*items, stamp_ns=10**9):
    height, width = SIZE_HW
    return types.SimpleNamespace(
        header=make_header(stamp_ns), height=height, width=width, objects=list(items)
    )


def make_mask(*, stamp_ns=10**9, size_hw=SIZE_HW, frame_id='camera', area=6, label=1):
    mask = np.zeros(size_hw, np.uint8)
    mask.reshape(-1)[:area] = label
    data = cv2.imencode('.png', mask)[1].tobytes()
    header = make_header(stamp_ns, frame_id)
    return types.SimpleNamespace(header=header, format='mono8; png compressed ', data=data)


NAN = float('nan')


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'confidence': NAN}, 'expected confidence in [0, 1], got nan'),
        ({'confidence': 1.001}, 'expected confidence in [0, 1]'),
        ({'existence_probability': -0.1}, 'expected existence_probability in [0, 1]'),
        ({'mask_quality': float('inf')}, 'expected mask_quality in [0, 1]'),
        ({'state': 9}, 'expected a state up to 4'),
        ({'label': 0}, 'a label above 0'),
        ({'object_id': ''}, 'expected a name'),
        ({'area_px': 0, 'confidence': 0.3, 'state': 2}, 'expected confidence 0 without a mask'),
        ({'area_px': 0, 'confidence': 0.0}, 'expected a mask of an object that is TRACKED'),
        ({'area_px': 7}, 'expected 7 pixels in a box'),
    ],
)
def test_values_of_an_object(fields, words):
    checker = Invariants()
    checker.add_objects(make_objects(make_item(**fields)))
    assert checker.num_problems == 1
    assert words in checker.problems[0]


def test_objects_differ_from_each_other():
    checker = Invariants()
    checker.add_objects(make_objects(make_item(), make_item(object_id='mug')))
    assert [text.split('expected ')[1].split(',')[0] for text in checker.problems] == [
        'different uuids', 'different labels',
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('fields', 'words'),
    [
        ({'size_hw': (30, 20)}, 'expected a mask of (20, 30), got (30, 20)'),
        ({'frame_id': 'other'}, "expected frame_id 'camera', got 'other'"),
        ({'area': 5}, 'expected pixels by label {1: 6}, got {1: 5}: a mask of another frame'),
        ({'label': 2}, 'got {2: 6}'),
    ],
)
@pytest.mark.parametrize('mask_first', [False, True])
def test_a_mask_is_that_of_its_objects(fields, words, mask_first):
    checker = Invariants()
    calls = [
        lambda: checker.add_objects(make_objects(make_item())),
        lambda: checker.add_mask(make_mask(**fields)),
    ]
    for call in reversed(calls) if mask_first else calls:
        call()
    assert checker.num_problems == 1
    assert words in checker.problems[0]


def test_stamps_do_not_go_back_unless_images_do():
    for monotone, expected in ((True, 1), (False, 0)):
        checker = Invariants(monotone=monotone)
        for stamp_ns in (5, 5, 7, 6):
            checker.add_objects(make_objects(stamp_ns=stamp_ns))
        assert checker.num_problems == expected


def test_sound_messages_are_counted_and_memory_is_bounded():
    checker = Invariants()
    for stamp_ns in range(500):
        checker.add_objects(make_objects(make_item(), stamp_ns=stamp_ns))
        if stamp_ns % 2:
            checker.add_mask(make_mask(stamp_ns=stamp_ns))
    assert (checker.num_objects, checker.num_masks, checker.num_problems) == (500, 250, 0)
    assert len(checker._expected) <= 64
