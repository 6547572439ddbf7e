"""Bags of every kind give the same messages; damaged ones one clear sentence."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from robust_vos_ros.bags.reader import BagReader, header_stamp_ns
from robust_vos_ros.core.errors import BagError


def write_split(helpers, folder, pictures):
    """Two ROS 1 files of one recording; the second begins with frame 6."""
    folder.mkdir()
    helpers.write_ros1(folder / 'drive_9.bag', pictures[:6])
    helpers.write_ros1(folder / 'drive_10.bag', pictures, first=6)
    return folder


def write_split_mcap(helpers, folder, pictures):
    """Two files of a recorder that was killed before it wrote metadata.yaml."""
    folder.mkdir()
    for name, first, part in (('drive_0', 0, pictures[:6]), ('drive_1', 6, pictures)):
        helpers.write_ros2(folder / name, part, first=first)
        (folder / name / f'{name}.mcap').rename(folder / f'{name}.mcap')
        shutil.rmtree(folder / name)
    return folder


def write_one_file(helpers, folder, pictures):
    helpers.write_ros2(folder, pictures)
    return folder / f'{folder.name}.mcap'


def write_sqlite(helpers, folder, pictures):
    return helpers.write_ros2(folder, pictures, storage=StoragePlugin.SQLITE3)


def write_sqlite_file(helpers, folder, pictures):
    return write_sqlite(helpers, folder, pictures) / f'{folder.name}.db3'


def write_ros1(helpers, folder, pictures):
    return helpers.write_ros1(folder.with_suffix('.bag'), pictures)


KINDS = {
    'mcap folder': lambda helpers, folder, pictures: helpers.write_ros2(folder, pictures),
    'mcap file': write_one_file,
    'sqlite3 folder': write_sqlite,
    'sqlite3 file': write_sqlite_file,
    'ros 1 file': write_ros1,
    'ros 1 split': write_split,
    'mcap split without metadata': write_split_mcap,
}


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_of_bag_gives_the_same_messages(kind, helpers, pictures, tmp_path: Path):
    path = KINDS[kind](helpers, tmp_path / 'drive', pictures)
    with BagReader(path) as bag:
        assert {name: (t.msgtype, t.num_messages) for name, t in bag.topics.items()} == {
            helpers.RAW_TOPIC: (helpers.IMAGE, helpers.NUM_FRAMES),
            helpers.NOTE_TOPIC: ('std_msgs/msg/String', helpers.NUM_FRAMES),
        }
        assert bag.num_messages == 2 * helpers.NUM_FRAMES
        assert bag.start_ns == helpers.START_NS + 5_000_000
        assert bag.end_ns == bag.start_ns + (helpers.NUM_FRAMES - 1) * helpers.STEP_NS + 1
        messages = list(bag.messages())
        assert [m.stamp_ns for m in messages] == sorted(m.stamp_ns for m in messages)
        images = [m for m in messages if m.topic == helpers.RAW_TOPIC]
        for index, (message, rgb) in enumerate(zip(images, pictures, strict=True)):
            frame = bag.frame(message)
            np.testing.assert_array_equal(frame.rgb, rgb)
            assert frame.stamp_ns == helpers.START_NS + index * helpers.STEP_NS
            assert header_stamp_ns(message.cdr) == frame.stamp_ns
            assert frame.frame_id == 'camera'
        notes = list(bag.messages([helpers.NOTE_TOPIC]))
        assert [bag.decode(m).data for m in notes] == [f'frame {i}' for i in range(10)]
        assert list(bag.messages(['/nobody'])) == []


def test_compressed_images(helpers, pictures, tmp_path: Path):
    path = helpers.write_ros2(tmp_path / 'drive', pictures, compressed=True)
    with BagReader(path) as bag:
        assert bag.topics[helpers.JPEG_TOPIC].is_image
        first = bag.frame(next(bag.messages([helpers.JPEG_TOPIC])))
    assert np.abs(first.rgb.astype(int) - pictures[0]).mean() < 3


def test_ros1_types_that_changed_are_migrated(helpers, tmp_path: Path):
    store = helpers.get_typestore(helpers.Stores.ROS1_NOETIC)
    maker, types = helpers.Maker(store, ros1=True), store.types
    kind = 'geometry_msgs/msg/TransformStamped'
    zero = types['geometry_msgs/msg/Vector3'](1.0, 2.0, 3.0)
    turn = types['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0)
    transform = types[kind](
        maker.header(0, 'map'), 'base', types['geometry_msgs/msg/Transform'](zero, turn)
    )
    vector = types['std_msgs/msg/Duration'](types['builtin_interfaces/msg/Duration'](3, 4))
    with helpers.Writer1(tmp_path / 'drive.bag') as bag:
        for topic, msgtype, message in (
            ('/pose', kind, transform),  # the header loses its field `seq`
            ('/time', 'std_msgs/msg/Duration', vector),  # a type that ROS 2 does not have
        ):
            connection = bag.add_connection(topic, msgtype, typestore=store)
            bag.write(connection, 5, store.serialize_ros1(message, msgtype))
    with BagReader(tmp_path / 'drive.bag') as bag:
        read = {m.topic: bag.decode(m) for m in bag.messages()}
    assert read['/pose'].header.frame_id == 'map'
    assert not hasattr(read['/pose'].header, 'seq')
    assert (read['/pose'].transform.translation.z, read['/pose'].child_frame_id) == (3.0, 'base')
    assert (read['/time'].data.sec, read['/time'].data.nanosec) == (3, 4)


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def spoil_chunk(path):
    """Overwrite the beginning of a compressed chunk."""
    data = bytearray(path.read_bytes())
    place = data.index(b'\x28\xb5\x2f\xfd')  # how zstd begins
    data[place : place + 64] = bytes(64 * [0xA5])
    path.write_bytes(data)


def read_all(path):
    with BagReader(path) as bag:
        return [bag.decode(message) for message in bag.messages()]


DAMAGES = {
    'mcap cut in half': ('mcap', lambda path: cut(path, 0.5), 'damaged or cut off'),
    'mcap without its last byte': (
        'mcap', lambda path: path.write_bytes(path.read_bytes()[:-1]), 'damaged or cut off',
    ),
    'mcap of 20 bytes': ('mcap', lambda path: cut(path, 0.0001), 'damaged or cut off'),
    'mcap chunk overwritten': ('mcap', spoil_chunk, 'damaged or cut off'),
    'mcap of zero bytes': ('mcap', lambda path: path.write_bytes(b''), 'empty file'),
    'mcap that is text': ('mcap', lambda path: path.write_text('hello'), 'damaged or cut off'),
    'ros 1 cut in half': ('bag', lambda path: cut(path, 0.5), 'damaged or cut off'),
    'ros 1 of zero bytes': ('bag', lambda path: path.write_bytes(b''), 'empty file'),
    'sqlite3 cut in half': ('db3', lambda path: cut(path, 0.5), 'damaged or cut off'),
    'sqlite3 that is text': ('db3', lambda path: path.write_text('hello'), 'damaged or cut off'),
    'no such file': ('mcap', lambda path: path.unlink(), 'no such file'),
    'unknown ending': ('mcap', None, "ending in '.txt'"),
}  # fmt: skip


@pytest.mark.parametrize('name', DAMAGES)
def test_damaged_bags_give_one_sentence(name, helpers, pictures, tmp_path: Path):
    kind, damage, words = DAMAGES[name]
    write = {'mcap': write_one_file, 'bag': write_ros1, 'db3': write_sqlite_file}[kind]
    path = write(helpers, tmp_path / 'drive', pictures)
    if damage is None:
        path = path.rename(path.with_suffix('.txt'))
    else:
        damage(path)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(BagError, match=words) as caught:
        read_all(path)
    assert '\n' not in str(caught.value)
    assert str(path) in str(caught.value)
    assert before is None or path.read_bytes() == before


def test_empty_bags_and_folders(helpers, tmp_path: Path):
    helpers.write_ros2(tmp_path / 'drive', [])
    with pytest.raises(BagError, match='empty one'), BagReader(tmp_path / 'drive'):
        pass
    (tmp_path / 'nothing').mkdir()
    with pytest.raises(BagError, match='got none'), BagReader(tmp_path / 'nothing'):
        pass
    (tmp_path / 'drive' / 'metadata.yaml').write_text('version: [')
    with pytest.raises(BagError, match='damaged'), BagReader(tmp_path / 'drive'):
        pass
