"""Bags: what is written comes back from the definitions inside the bag, without ROS."""

from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from robust_vos_ros.bags.definitions import message_typestore
from robust_vos_ros.bags.writer import BagWriter
from robust_vos_ros.core.errors import ConfigError

ARRAY, EVENT = 'robust_vos/msg/TrackedObjectArray', 'robust_vos/msg/TrackEvent'
IMAGE = 'sensor_msgs/msg/CompressedImage'


@pytest.fixture(scope='module')
def store():
    return message_typestore()


def make_header(store, stamp_ns):
    types = store.types
    stamp = types['builtin_interfaces/msg/Time'](stamp_ns // 10**9, stamp_ns % 10**9)
    return types['std_msgs/msg/Header'](stamp, 'camera_optical_frame')


def make_array(store, stamp_ns, object_id):
    types = store.types
    zero = types['builtin_interfaces/msg/Duration'](0, 0)
    item = types['robust_vos/msg/TrackedObject'](
        object_id=object_id,
        uuid=types['unique_identifier_msgs/msg/UUID'](np.arange(16, dtype=np.uint8)),
        label=1,
        class_id='fish',
        state=1,
        confidence=0.75,
        existence_probability=0.5,
        mask_quality=0.25,
        gate_activity=float('nan'),
        memory_updated=True,
        path_switched=False,
        last_seen=types['builtin_interfaces/msg/Time'](1, 2),
        age=types['builtin_interfaces/msg/Duration'](3, 4),
        frames_since_seen=5,
        flags=8,
        roi=types['sensor_msgs/msg/RegionOfInterest'](1, 2, 3, 4, False),
        centroid=types['geometry_msgs/msg/Point'](1.5, 2.5, 0.0),
        area_px=77,
        rle=np.frombuffer(b'abc', np.uint8),
    )
    return types[ARRAY](make_header(store, stamp_ns), 48, 64, 9, zero, zero, 2, [item])


def make_messages(store):
    """Return (topic, type, message, stamp in ns)."""
    types = store.types
    rng = np.random.default_rng(0)
    rows = []
    for stamp_ns in range(10**9, 10**9 + 5 * 10**7, 10**7):
        rows.append(('/robust_vos/objects', ARRAY, make_array(store, stamp_ns, 'fish'), stamp_ns))
        data = rng.integers(0, 256, 400_000, np.uint8)  # several chunks in the file
        image = types[IMAGE](make_header(store, stamp_ns), 'rgb8; jpeg compressed bgr8', data)
        rows.append(('/camera/image_raw/compressed', IMAGE, image, stamp_ns))
    uuid = types['unique_identifier_msgs/msg/UUID'](np.zeros(16, np.uint8))
    event = types[EVENT](make_header(store, stamp_ns), 4, 'fish', uuid, 'lost for 3 s')
    rows.append(('/robust_vos/events', EVENT, event, stamp_ns))
    return rows


def test_messages_come_back_equal(tmp_path: Path, store):
    rows = make_messages(store)
    with BagWriter(tmp_path / 'bag') as bag:
        for topic, msgtype, message, stamp_ns in rows:
            bag.write(topic, msgtype, bytes(store.serialize_cdr(message, msgtype)), stamp_ns)

    assert sorted(path.name for path in (tmp_path / 'bag').iterdir()) == [
        'bag.mcap',
        'metadata.yaml',
    ]
    # No typestore: a reader without this package must understand the bag.
    with AnyReader([tmp_path / 'bag']) as reader:
        read = [
            (item.topic, item.msgtype, stamp_ns, reader.deserialize(raw, item.msgtype))
            for item, stamp_ns, raw in reader.messages()
        ]
    assert len(read) == len(rows)
    written = {(topic, stamp_ns): message for topic, _, message, stamp_ns in rows}
    for topic, msgtype, stamp_ns, message in read:
        expected = written[topic, stamp_ns]
        assert np.array_equal(
            store.serialize_cdr(message, msgtype), store.serialize_cdr(expected, msgtype)
        )
    array = read[0][3]
    assert array.objects[0].object_id == 'fish'
    assert array.objects[0].state == array.objects[0].STATE_TRACKED


def test_the_file_alone_is_a_bag_and_is_compressed(tmp_path: Path, store):
    message = make_array(store, 10**9, 'fish' * 1000)
    cdr = bytes(store.serialize_cdr(message, ARRAY))
    with BagWriter(tmp_path / 'bag') as bag:
        for index in range(100):
            bag.write('/robust_vos/objects', ARRAY, cdr, 10**9 + index)
    path = tmp_path / 'bag' / 'bag.mcap'
    assert path.stat().st_size < 0.2 * 100 * len(cdr)
    with AnyReader([path]) as reader:
        assert [raw for _, _, raw in reader.messages()] == [cdr] * 100


def test_an_existing_folder_is_not_overwritten(tmp_path: Path):
    with pytest.raises(ConfigError, match='exists already'):
        BagWriter(tmp_path)


@pytest.mark.parametrize(
    ('topic', 'msgtype', 'match'),
    [
        ('/new', 'robust_vos/msg/Nothing', "got 'robust_vos/msg/Nothing'"),  # no such message
        ('/new', 'TrackEvent', "got 'TrackEvent'"),  # short name
        ('/robust_vos/objects', EVENT, 'carries robust_vos/msg/TrackedObjectArray'),  # two types
    ],
)
def test_wrong_types_are_refused(tmp_path: Path, store, topic, msgtype, match):
    cdr = bytes(store.serialize_cdr(make_array(store, 10**9, 'fish'), ARRAY))
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write('/robust_vos/objects', ARRAY, cdr, 10**9)
        with pytest.raises(ConfigError, match=match):
            bag.write(topic, msgtype, cdr, 10**9)
