"""Repair: what is whole in a file that was cut off anywhere comes back, and nothing else."""

import shutil
from pathlib import Path

import pytest
import yaml
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from robust_vos_ros.bags.definitions import message_typestore
from robust_vos_ros.bags.repair import repair_bag
from robust_vos_ros.bags.writer import BagWriter
from robust_vos_ros.core.errors import BagError

STRING, IMAGE = 'std_msgs/msg/String', 'sensor_msgs/msg/CompressedImage'
CUSTOM = {'model': 'nano', 'version': '1.2.3'}


@pytest.fixture(scope='module')
def messages():
    """Return (topic, type, cdr, stamp in ns) of two topics, one with noise that fills chunks."""
    import numpy as np

    store, rng, rows = message_typestore(), np.random.default_rng(0), []
    types = store.types
    for index in range(60):
        stamp = 10**9 + index * 10**8
        text = types[STRING](f'message {index}')
        rows.append(('/text', STRING, bytes(store.serialize_cdr(text, STRING)), stamp))
        header = types['std_msgs/msg/Header'](
            types['builtin_interfaces/msg/Time'](stamp // 10**9, stamp % 10**9), 'camera'
        )
        image = types[IMAGE](header, 'jpeg', rng.integers(0, 256, 60_000, np.uint8))
        rows.append(('/image', IMAGE, bytes(store.serialize_cdr(image, IMAGE)), stamp + 1))
    return rows


@pytest.fixture(scope='module')
def bag(tmp_path_factory, messages):
    folder = tmp_path_factory.mktemp('whole') / 'drive'
    with BagWriter(folder) as writer:
        writer.write_custom_data(CUSTOM)
        for index, row in enumerate(messages):
            writer.write(*row)
            if index % 20 == 19:  # as a recorder does every second
                writer.flush()
    return folder


def read(path):
    with AnyReader([path]) as reader:
        return [(c.topic, c.msgtype, raw, stamp) for c, stamp, raw in reader.messages()]


def cut(bag, folder, size):
    """Copy the file of a bag, cut to `size` bytes and without metadata, as after kill -9."""
    folder.mkdir()
    data = (bag / 'drive.mcap').read_bytes()[:size]
    (folder / 'drive.mcap').write_bytes(data)
    return folder


@pytest.mark.parametrize('thousandth', [20, 100, 250, 333, 500, 505, 750, 900, 990, 998, 999])
def test_cut_anywhere(tmp_path, bag, messages, thousandth):
    size = (bag / 'drive.mcap').stat().st_size * thousandth // 1000
    broken = cut(bag, tmp_path / 'cut', size)
    before = (broken / 'drive.mcap').read_bytes()
    result = repair_bag(broken, tmp_path / 'out')
    saved = read(tmp_path / 'out')
    assert saved == messages[: len(saved)]
    assert result.num_messages == len(saved)
    # Twenty messages a chunk of 600 kB, and zstd keeps the blocks of 128 kB it has finished.
    assert len(saved) >= len(messages) * thousandth / 1000 - 6
    assert result.custom_data == CUSTOM
    assert (broken / 'drive.mcap').read_bytes() == before
    assert sorted(path.name for path in broken.iterdir()) == ['drive.mcap']


def test_every_cut_in_a_small_file(tmp_path, messages):
    """Inside a record head, a name, an index, the summary: one sentence or a valid bag."""
    small = [row for row in messages if row[0] == '/text'][:6]
    with BagWriter(tmp_path / 'drive') as writer:
        for row in small[:3]:
            writer.write(*row)
        writer.flush()
        for row in small[3:]:
            writer.write(*row)
    size = (tmp_path / 'drive' / 'drive.mcap').stat().st_size
    counts = []
    for end in range(0, size, 7):
        broken = cut(tmp_path / 'drive', tmp_path / f'cut{end}', end)
        try:
            counts.append(repair_bag(broken, tmp_path / f'out{end}').num_messages)
        except BagError as error:
            assert 'nothing' in str(error)  # noqa: PT017
            counts.append(0)
            assert not (tmp_path / f'out{end}').exists()
        else:
            assert read(tmp_path / f'out{end}') == small[: counts[-1]]
    assert counts == sorted(counts)
    assert set(counts) >= {0, 3, 6}


@pytest.mark.parametrize('ending', ['zeros', 'noise', 'text', 'long index', 'endless index'])
def test_garbage_at_the_end(tmp_path, bag, messages, ending):
    """What a file system may leave after a power cut."""
    broken = cut(bag, tmp_path / 'cut', 1_500_000)
    rest = {
        'zeros': bytes(5000), 'noise': bytes(range(256)) * 40, 'text': b'hello ' * 1000,
        'long index': b'\x07' + (1 << 62).to_bytes(8, 'little'),
        'endless index': b'\x07' + b'\xff' * 8,
    }  # fmt: skip
    with (broken / 'drive.mcap').open('ab') as stream:
        stream.write(rest[ending])
    result = repair_bag(broken, tmp_path / 'out')
    assert read(tmp_path / 'out')[:40] == messages[:40]  # nothing tells noise in a cut chunk
    assert 40 <= result.num_messages < 60


def test_a_flipped_bit_costs_its_chunk_alone(tmp_path, bag, messages):
    broken = cut(bag, tmp_path / 'cut', None)
    data = bytearray((broken / 'drive.mcap').read_bytes())
    data[len(data) // 2] ^= 1
    (broken / 'drive.mcap').write_bytes(data)
    repair_bag(broken, tmp_path / 'out')
    saved = read(tmp_path / 'out')
    assert [row for row in messages if row in saved] == saved
    assert len(saved) == len(messages) - 20


def test_the_result_is_valid_for_mcap_tools(tmp_path, bag):
    repair_bag(cut(bag, tmp_path / 'cut', 2_000_000), tmp_path / 'out')
    with (tmp_path / 'out' / 'drive.mcap').open('rb') as stream:
        reader = make_reader(stream, validate_crcs=True)
        summary = reader.get_summary()
        number = sum(1 for _ in reader.iter_messages())
        assert {item.name for item in reader.iter_metadata()} == {'robust_vos'}
    assert summary.statistics.message_count == number
    assert sum(summary.statistics.channel_message_counts.values()) == number
    content = yaml.safe_load((tmp_path / 'out' / 'metadata.yaml').read_text())
    content = content['rosbag2_bagfile_information']
    assert content['message_count'] == number
    assert content['custom_data'] == CUSTOM
    assert content['relative_file_paths'] == ['drive.mcap']
    assert content['duration']['nanoseconds'] == (
        summary.statistics.message_end_time - summary.statistics.message_start_time
    )


def test_single_files_and_in_place(tmp_path, bag, messages):
    path = cut(bag, tmp_path / 'cut', 1_000_000) / 'drive.mcap'
    repair_bag(path, tmp_path / 'out.mcap')
    saved = read(tmp_path / 'out.mcap')
    assert saved == messages[: len(saved)] != []
    repair_bag(path, path)
    assert path.read_bytes() == (tmp_path / 'out.mcap').read_bytes()
    repair_bag(path.parent, path.parent)
    assert read(path.parent) == saved
    assert sorted(item.name for item in tmp_path.iterdir()) == ['cut', 'out.mcap']


def test_other_files_in_the_folder_stay(tmp_path, bag, messages):
    broken = cut(bag, tmp_path / 'cut', 1_000_000)
    (broken / 'notes.txt').write_text('rain')
    repair_bag(broken, broken)
    saved = read(broken)
    assert saved == messages[: len(saved)] != []
    names = ['drive.mcap', 'metadata.yaml', 'notes.txt']
    assert sorted(path.name for path in broken.iterdir()) == names
    assert [path.name for path in tmp_path.iterdir()] == ['cut']


def test_an_interruption_in_between_loses_nothing(tmp_path, bag, messages, monkeypatch):
    broken = cut(bag, tmp_path / 'cut', 1_000_000)
    shutil.copy(broken / 'drive.mcap', broken / 'drive_1.mcap')
    replace, left = Path.replace, [1]

    def stop(path, target):
        if target.parent == broken:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, 'replace', stop)
    with pytest.raises(KeyboardInterrupt):
        repair_bag(broken, broken)
    monkeypatch.undo()
    number = repair_bag(broken / 'drive.mcap', tmp_path / 'out.mcap').num_messages
    assert repair_bag(broken, broken).num_messages == 2 * number > 0


def test_a_split_file_without_a_byte(tmp_path, bag, messages):
    broken = cut(bag, tmp_path / 'cut', None)
    (broken / 'drive_1.mcap').touch()
    repair_bag(broken, tmp_path / 'out')
    assert read(tmp_path / 'out') == messages


def test_a_chunk_of_an_unknown_compression_is_left_out(tmp_path, bag, messages):
    broken = cut(bag, tmp_path / 'cut', None)
    data = (broken / 'drive.mcap').read_bytes()
    before, first, rest = data.partition(b'zstd')  # the chunk with the definitions
    (broken / 'drive.mcap').write_bytes(before + first + rest.replace(b'zstd', b'zzzz', 1))
    repair_bag(broken, tmp_path / 'out')
    saved = read(tmp_path / 'out')
    assert len(saved) == len(messages) - 20
    assert [row for row in messages if row in saved] == saved


def test_a_whole_bag_stays_as_it_is(tmp_path, bag, messages):
    shutil.copytree(bag, tmp_path / 'drive')
    repair_bag(tmp_path / 'drive', tmp_path / 'out')
    assert read(tmp_path / 'out') == messages
    metadata = [(folder / 'metadata.yaml').read_text() for folder in (bag, tmp_path / 'out')]
    assert metadata[0] == metadata[1]


def test_bags_of_other_recorders(tmp_path, bag, messages):
    """No chunks, and chunks without or with another compression."""
    from mcap.writer import CompressionType, Writer

    kinds = {
        'plain': {'use_chunking': False},
        'none': {'compression': CompressionType.NONE},
        'lz4': {'compression': CompressionType.LZ4},
    }
    with (bag / 'drive.mcap').open('rb') as stream:
        rows = list(make_reader(stream).iter_messages())
    for name, options in kinds.items():
        path = tmp_path / f'{name}.mcap'
        with path.open('wb') as stream:
            writer = Writer(stream, chunk_size=400_000, **options)
            writer.start('ros2', 'test')
            schemas = {s.name: writer.register_schema(s.name, s.encoding, s.data)
                       for s, _, _ in rows[:2]}  # fmt: skip
            channels = {c.topic: writer.register_channel(c.topic, 'cdr', schemas[s.name])
                        for s, c, _ in rows[:2]}  # fmt: skip
            for _, channel, message in rows:
                writer.add_message(channels[channel.topic], message.log_time, message.data, 5)
            writer.finish()
        path.write_bytes(path.read_bytes()[:2_500_000])
        result = repair_bag(path, tmp_path / f'{name}_out.mcap')
        saved = read(tmp_path / f'{name}_out.mcap')
        assert saved == messages[: len(saved)]
        assert result.num_messages >= 78, name
        with (tmp_path / f'{name}_out.mcap').open('rb') as stream:
            assert {m.publish_time for _, _, m in make_reader(stream).iter_messages()} == {5}


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda path: None, 'does not exist'),
        (lambda path: path.mkdir(), 'a folder without one'),
        (lambda path: path.write_bytes(b''), 'expected an MCAP file'),
        (lambda path: path.write_bytes(b'SQLite format 3'), 'expected an MCAP file'),
        (lambda path: path.write_bytes(b'\x89MCAP0\r\n'), 'no message is whole'),
    ],
)
def test_what_cannot_be_repaired_gets_one_sentence(tmp_path: Path, make, words):
    make(tmp_path / 'bag')
    with pytest.raises(BagError, match=words):
        repair_bag(tmp_path / 'bag', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_an_existing_output_is_not_touched(tmp_path, bag):
    (tmp_path / 'out').mkdir()
    with pytest.raises(BagError, match='exists already'):
        repair_bag(bag, tmp_path / 'out')
    assert list((tmp_path / 'out').iterdir()) == []
