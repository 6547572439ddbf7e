"""Label info and annotations: by name, in pixels of the viewer, for every frame with a mask."""

import cv2
import numpy as np
import pytest

from robust_vos_ros.bags.definitions import add_installed_type, message_typestore
from robust_vos_ros.bags.derived import DerivedTopics
from robust_vos_ros.bags.reader import RawMessage
from robust_vos_ros.bags.results import ResultTopics
from robust_vos_ros.ros_types.annotations import (
    ANNOTATIONS,
    LABEL_INFO,
    label_names,
    make_annotations,
    make_label_info,
)

ARRAY, PNG = 'robust_vos/msg/TrackedObjectArray', 'sensor_msgs/msg/CompressedImage'


@pytest.fixture(scope='module')
def store():
    return message_typestore()


def make_array(store, stamp, *objects):
    """Make the array of a frame; objects are (id, class, label, state)."""
    types = store.types
    time = types['builtin_interfaces/msg/Time'](stamp, 5)
    duration = types['builtin_interfaces/msg/Duration'](0, 0)
    made = [
        types['robust_vos/msg/TrackedObject'](
            object_id=name, uuid=types['unique_identifier_msgs/msg/UUID'](np.zeros(16, np.uint8)),
            label=label, class_id=class_id, state=state, confidence=0.75,
            existence_probability=0.5, mask_quality=0.25, gate_activity=0.0, memory_updated=True,
            path_switched=False, last_seen=time, age=duration, frames_since_seen=0, flags=0,
            roi=types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False),
            centroid=types['geometry_msgs/msg/Point'](0.0, 0.0, 0.0), area_px=0,
            rle=np.zeros(0, np.uint8),
        )
        for name, class_id, label, state in objects
    ]  # fmt: skip
    header = types['std_msgs/msg/Header'](time, 'camera')
    return types[ARRAY](header, 48, 64, 0, duration, duration, 0, made)


def make_mask(label):
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 30:50] = label
    return mask


def test_outlines_and_texts(store):
    array = make_array(store, 3, ('cup', '', 2, 1), ('gone', '', 3, 4))
    msg = make_annotations(store.types, array.objects, make_mask(2), array.header)
    (outline,) = msg.points
    corners = {(point.x, point.y) for point in outline.points}
    assert corners == {(30.5, 10.5), (49.5, 10.5), (49.5, 19.5), (30.5, 19.5)}
    assert outline.type == outline.LINE_LOOP
    assert outline.fill_color.a < outline.outline_color.a == 1.0
    assert [text.text for text in msg.texts] == ['cup 0.75 TRACKED', 'gone 0.75 LOST']
    assert (msg.texts[0].position.x, msg.texts[0].position.y) == (30.5, 10.5)
    assert outline.timestamp == msg.texts[1].timestamp == array.header.stamp
    cdr = store.serialize_cdr(msg, ANNOTATIONS)
    assert store.deserialize_cdr(cdr, ANNOTATIONS).texts[0].text == 'cup 0.75 TRACKED'


def test_label_info_names_the_class_or_the_object(store):
    array = make_array(store, 3, ('cup', 'kitchen', 2, 1), ('dog', '', 7, 1))
    msg = make_label_info(store.types, label_names(array.objects), array.header)
    classes = [(item.class_id, item.class_name) for item in msg.class_map]
    assert classes == [(2, 'kitchen'), (7, 'dog')]
    assert msg.header == array.header


@pytest.mark.parametrize('mask_first', [False, True])
def test_frames_are_paired_in_any_order(store, mask_first):
    made = []
    derived = DerivedTopics(store, ResultTopics('/robust_vos'), made.append)
    for stamp in range(1, 4):
        png = cv2.imencode('.png', make_mask(2))[1]
        array = make_array(store, stamp, ('cup', '', 2, 1))
        image = store.types[PNG](array.header, 'mono8; png compressed ', png)
        rows = [('/robust_vos/objects', ARRAY, array)]
        rows.append(('/robust_vos/label_mask/compressed', PNG, image))
        for topic, msgtype, message in reversed(rows) if mask_first else rows:
            cdr = bytes(store.serialize_cdr(message, msgtype))
            derived.add(RawMessage(topic, msgtype, cdr, 100 + stamp))
    derived.add(RawMessage('/robust_vos/objects', ARRAY, b'\0\1\0\0', 1))  # damaged
    derived.stop()
    names = [(message.topic, message.msgtype, message.stamp_ns) for message in made]
    assert names.count(('/robust_vos/label_info', LABEL_INFO, 101)) == 1
    assert [row for row in names if row[1] == ANNOTATIONS] == [
        ('/robust_vos/annotations', ANNOTATIONS, 100 + stamp) for stamp in range(1, 4)
    ]
    assert len(names) == 4


def test_types_of_a_sourced_workspace(tmp_path, monkeypatch):
    folder = tmp_path / 'share' / 'odd_msgs' / 'msg'
    folder.mkdir(parents=True)
    (folder / 'Odd.msg').write_text('std_msgs/Header header\nPart[] parts\nuint8 KIND=3\n')
    (folder / 'Part.msg').write_text('geometry_msgs/Point[2] ends\nstring<=5 name\n')
    store = message_typestore()
    assert not add_installed_type(store, 'odd_msgs/msg/Odd')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path}')
    assert add_installed_type(store, 'odd_msgs/msg/Odd')
    text, _ = store.generate_msgdef('odd_msgs/msg/Odd', ros_version=2)
    assert 'MSG: odd_msgs/Part' in text
    assert store.hash_rihs01('odd_msgs/msg/Odd').startswith('RIHS01_')
    assert not add_installed_type(store, 'odd_msgs/msg/Missing')
