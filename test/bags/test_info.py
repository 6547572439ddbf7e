"""What `robust-vos bag info` shows of a bag."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from robust_vos_ros.bags import timeline
from robust_vos_ros.bags.definitions import message_typestore
from robust_vos_ros.bags.info import ObjectHistory, Sighting, read_info
from robust_vos_ros.bags.writer import BagWriter
from robust_vos_ros.cli import app
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.core.types import ObjectState

ARRAY = 'robust_vos/msg/TrackedObjectArray'
I, T, U, O, L = ObjectState  # noqa: E741  as in the timeline


def make_object(types, name, state, stamp):
    zero = types['builtin_interfaces/msg/Duration'](0, 0)
    return types['robust_vos/msg/TrackedObject'](
        object_id=name, uuid=types['unique_identifier_msgs/msg/UUID'](np.zeros(16, np.uint8)),
        label=1, class_id='', state=int(state), confidence=0.5, existence_probability=0.5,
        mask_quality=0.5, gate_activity=0.0, memory_updated=True, path_switched=False,
        last_seen=stamp, age=zero, frames_since_seen=0, flags=0,
        roi=types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False),
        centroid=types['geometry_msgs/msg/Point'](0.0, 0.0, 0.0), area_px=0,
        rle=np.zeros(0, np.uint8),
    )  # fmt: skip


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """Ten seconds, ten frames a second: a cup for all of them, a dog from 4 s to 8 s."""
    path = tmp_path_factory.mktemp('info') / 'drive'
    store = message_typestore()
    types = store.types
    zero = types['builtin_interfaces/msg/Duration'](0, 0)
    with BagWriter(path, custom_data={'robust_vos.model': 'nano'}) as writer:
        for index in range(101):
            stamp = types['builtin_interfaces/msg/Time'](100 + index // 10, 0)
            header = types['std_msgs/msg/Header'](stamp, 'camera')
            state = O if 50 <= index < 53 else T
            objects = [make_object(types, 'cup', state, stamp)]
            if 40 <= index <= 80:
                objects.append(make_object(types, 'dog', I if index < 50 else L, stamp))
            array = types[ARRAY](header, 48, 64, index, zero, zero, 0, objects)
            cdr = bytes(store.serialize_cdr(array, ARRAY))
            writer.write('/robust_vos/objects', ARRAY, cdr, (1000 + index) * 10**8)
    return path


def test_what_is_read(bag):
    info = read_info(bag)
    assert (info.num_messages, info.duration_s, info.start_ns) == (101, 10.0, 100 * 10**9)
    assert info.custom_data == {'robust_vos.model': 'nano'}
    cup, dog = info.objects
    assert (cup.object_id, len(cup.sightings), dog.object_id, len(dog.sightings)) == (
        *('cup', 101), *('dog', 41),
    )  # fmt: skip
    assert cup.tracked_share == pytest.approx(98 / 101)
    assert dog.mean_confidence == 0.5
    assert dog.sightings[0] == Sighting(4.0, I, 0.5)


def test_a_file_alone_keeps_its_notes(bag):
    assert read_info(bag / 'drive.mcap').custom_data == {'robust_vos.model': 'nano'}


def test_the_command(bag, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    result = CliRunner().invoke(app, ['bag', 'info', str(bag)])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(len(line) for line in lines[1:]) <= 80
    assert 'robust_vos.model: nano' in lines
    cup, dog = (next(line for line in lines if line.startswith(name)) for name in ('cup', 'dog'))
    assert re.fullmatch(r'cup T+o{1,3}T+ +97% +0.50', cup)
    assert re.fullmatch(r'dog ·+i+L+·+ +0% +0.50', dog)
    assert any(re.fullmatch(r' +0 s +2 s +4 s +6 s +8 s +10 s', line) for line in lines)


def test_lines_are_whole_in_a_file_or_pipe(tmp_path, monkeypatch):
    """So that grep finds topic, type and number together."""
    name, store = f'/{"very/" * 30}long_topic', message_typestore()
    path = tmp_path / 'drive'
    with BagWriter(path, custom_data={'robust_vos.note': 'word ' * 40}) as writer:
        text = store.types['std_msgs/msg/String']('hello')
        kind = 'std_msgs/msg/String'
        writer.write(name, kind, bytes(store.serialize_cdr(text, kind)), 10**9)
    monkeypatch.setenv('COLUMNS', '40')
    lines = CliRunner().invoke(app, ['bag', 'info', str(path)]).output.splitlines()
    assert any(line.split() == [name, 'std_msgs/msg/String', '1'] for line in lines)
    assert any(line.count('word') == 40 for line in lines)
    assert lines[0].endswith('MB')


@pytest.mark.parametrize(
    ('states', 'columns', 'expected'),
    [
        ([T] * 10, 10, 'TTTTTTTTTT'),  # one frame a column
        ([T, L, T, T, T, T, T, T, T, T], 5, 'LTTTT'),  # the worst of a column
        ([T, U, O, I, L, T, T, T, T, T], 5, 'uoLTT'),
        ([T, O], 10, 'TTTTTo····'),  # a state lasts until the next frame
    ],
)
def test_columns(states, columns, expected):
    sightings = [Sighting(float(index), state, 0.5) for index, state in enumerate(states)]
    item = ObjectHistory('/objects', 'cup', '', sightings)
    letters = [letter for letter, _ in timeline._cells(item, float(len(states)), columns)]
    assert ''.join(letters) == expected


@pytest.mark.parametrize(
    ('make', 'words'),
    [
        (lambda path: None, 'no such file'),
        (lambda path: path.write_bytes(b''), 'empty file'),
        (lambda path: path.write_bytes(b'\x89MCAP0\r\n'), 'robust-vos bag repair'),
    ],
)
@pytest.mark.parametrize('command', ['info', 'play'])
def test_bad_bags_get_one_sentence(tmp_path, make, words, command):
    if command == 'play':
        pytest.importorskip('rclpy')
    path = tmp_path / 'bag.mcap'
    make(path)
    result = CliRunner().invoke(app, ['bag', command, str(path)])
    assert result.exit_code == 1
    assert result.output.count('error: ') == 1
    assert words in result.output
    assert 'Traceback' not in result.output


def test_repair_says_what_it_saved(tmp_path, bag):
    path = tmp_path / 'cut.mcap'
    path.write_bytes((bag / 'drive.mcap').read_bytes()[:-100])
    result = CliRunner().invoke(app, ['bag', 'repair', str(path)])
    assert result.exit_code == 0, result.output
    out = tmp_path / 'cut_repaired.mcap'
    assert result.output == f'saved 101 messages on 1 topics, 10.00 s, to {out}\n'
    assert read_info(out).num_messages == 101


def test_repair_of_the_working_folder(tmp_path, bag, monkeypatch):
    (tmp_path / 'drive.v2').mkdir()
    shutil.copy(bag / 'drive.mcap', tmp_path / 'drive.v2')
    monkeypatch.chdir(tmp_path / 'drive.v2')
    result = CliRunner().invoke(app, ['bag', 'repair', '.'])
    assert result.exit_code == 0, result.output
    assert (tmp_path / 'drive.v2_repaired' / 'drive.mcap').is_file()


def test_a_folder_that_cannot_be_read_gets_one_sentence(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, 'Permission denied', str(path))

    monkeypatch.setattr(Path, 'iterdir', refuse)  # root may read everything
    with pytest.raises(BagError, match='cannot be read: Permission denied'):
        read_info(tmp_path)
