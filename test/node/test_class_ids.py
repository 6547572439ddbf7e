"""Pixel values of classes: given once, never changed."""

import dataclasses
import json
import types

import numpy as np
import pytest

pytest.importorskip('rclpy')
from robust_vos_ros.node.class_ids import ClassIds


def objects(*classes):
    return [
        types.SimpleNamespace(class_id=name, label=label) for label, name in enumerate(classes, 1)
    ]


def test_values_by_first_appearance_stay():
    ids = ClassIds()
    ids.observe(objects('person', 'car', 'person', ''))
    ids.observe(objects('dog', 'car'))
    assert ids.values == {'person': 1, 'car': 2, 'dog': 3}
    assert ids.value_of('') == ids.value_of('cat') == 255
    assert ids.names == {1: 'person', 2: 'car', 3: 'dog'}


def test_given_classes_have_the_values_of_their_order():
    ids = ClassIds(['car', 'person'])
    ids.observe(objects('dog', 'person'))
    assert ids.values == {'car': 1, 'person': 2}
    assert ids.value_of('dog') == 255


def test_objects_of_one_class_share_a_value():
    ids = ClassIds(unknown_value=2)
    found = objects('person', 'person', '', 'car')
    ids.observe(found)
    labels = np.array([[0, 1, 2], [3, 4, 0]], np.uint8)
    mask = ids.draw(types.SimpleNamespace(label_mask=labels, objects=found))
    assert mask.dtype == np.uint8
    # The value of the unknown is left out: car has 3.
    np.testing.assert_array_equal(mask, [[0, 1, 1], [2, 3, 0]])


def test_labels_above_255():
    ids = ClassIds(['car'])
    found = [types.SimpleNamespace(class_id='car', label=700)]
    labels = np.array([[0, 700]], np.uint16)
    mask = ids.draw(types.SimpleNamespace(label_mask=labels, objects=found))
    np.testing.assert_array_equal(mask, [[0, 1]])


def test_more_classes_than_values_are_unknown():
    ids = ClassIds()
    ids.observe(objects(*(f'class {number}' for number in range(300))))
    assert len(ids.values) == 254
    assert ids.value_of('class 253') == 254
    assert ids.value_of('class 254') == 255


def test_a_saved_table_goes_on():
    first = ClassIds()
    first.observe(objects('person', 'car'))
    second = ClassIds()
    second.load(first.dump())
    second.observe(objects('dog', 'car'))
    assert second.values == {'person': 1, 'car': 2, 'dog': 3}


def test_given_classes_win_over_saved_ones():
    ids = ClassIds(['car'])
    ids.load('{"person": 1}')
    assert ids.values == {'car': 1}


@pytest.mark.parametrize(
    'text',
    [
        'nonsense',  # no JSON
        '[1, 2]',  # no table
        '{"person": 0}',  # the background
        '{"person": 256}',  # no pixel of mono8
        '{"person": true}',  # no number
        '{"person": 1.5}',  # no whole number
        '{"": 1}',  # no class
        '{"person": 1, "car": 1}',  # two classes of one value
    ],
)
def test_damaged_tables_change_nothing(text):
    ids = ClassIds()
    ids.observe(objects('dog'))
    with pytest.raises(ValueError):  # noqa: PT011  json raises its own
        ids.load(text)
    assert ids.values == {'dog': 1}
    assert json.loads(ids.dump()) == {'dog': 1}


def test_counts_of_camera_info_name_the_present_problem():
    from robust_vos_ros.node.camera_info import CameraInfoCounts

    counts = CameraInfoCounts()
    assert not counts.problem
    refused = dataclasses.replace(counts, refusal='a', mismatch='b')
    assert refused.problem == 'a'
