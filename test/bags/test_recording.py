"""Recordings that do not end well: killed, full disk, slow disk."""

import signal
import subprocess
import sys
import time

import pytest
from mcap.reader import make_reader
from rosbags.highlevel import AnyReader

from robust_vos_ros.bags import recording
from robust_vos_ros.bags.definitions import message_typestore
from robust_vos_ros.bags.reader import BagReader, RawMessage
from robust_vos_ros.bags.recording import Recording
from robust_vos_ros.bags.repair import repair_bag
from robust_vos_ros.core.errors import BagError, ConfigError

STRING = 'std_msgs/msg/String'
# A camera of 3 MB/s; it says the time of every message it has handed over.
CAMERA = """
import os, sys, time
from pathlib import Path
from robust_vos_ros.bags.reader import RawMessage
from robust_vos_ros.bags.recording import Recording

recording = Recording(Path(sys.argv[1]))
recording.put_custom_data({'model': 'nano'})
while not recording.problem:
    text = os.urandom(50_000).hex()[:-1].encode()
    data = b'\\0\\1\\0\\0' + (100_000).to_bytes(4, 'little') + text
    now_ns = time.time_ns()
    recording.put(RawMessage('/text', 'std_msgs/msg/String', data + b'\\0', now_ns))
    print(now_ns, flush=True)
    time.sleep(float(sys.argv[2]))
recording.stop()
print(recording.problem)
"""


def text_message(text, stamp_ns, store=message_typestore()):  # noqa: B008  made once
    cdr = bytes(store.serialize_cdr(store.types[STRING](text), STRING))
    return RawMessage('/text', STRING, cdr, stamp_ns)


def start_camera(folder, *, before='', pause_s=0.033):
    command = [sys.executable, '-c', before + CAMERA, str(folder), str(pause_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_everything_put_is_in_the_bag(tmp_path):
    written = Recording(tmp_path / 'bag')
    messages = [text_message(f'text {index}', 10**9 + index) for index in range(500)]
    for message in messages:
        written.put(message)
    written.put_custom_data({'model': 'nano', 'adapter': 'none'})
    written.stop()
    assert (written.problem, written.num_dropped, written.num_messages) == ('', 0, 500)
    with BagReader(tmp_path / 'bag') as bag:
        assert list(bag.messages()) == messages
    with (tmp_path / 'bag' / 'bag.mcap').open('rb') as stream:
        (metadata,) = make_reader(stream).iter_metadata()
    assert metadata.metadata == {'model': 'nano', 'adapter': 'none'}


def test_kill_9_loses_less_than_a_second(tmp_path):
    camera = start_camera(tmp_path / 'bag')
    sent = []
    for line in camera.stdout:
        sent.append(int(line))
        if sent[-1] - sent[0] > 1.2e9:
            break
    camera.send_signal(signal.SIGKILL)
    sent += [int(line) for line in camera.stdout.read().split()]
    camera.wait(10)
    camera.stdout.close()
    with pytest.raises(BagError, match='robust-vos bag repair'), BagReader(tmp_path / 'bag'):
        pass
    result = repair_bag(tmp_path / 'bag', tmp_path / 'out')
    assert result.custom_data == {'model': 'nano'}
    with AnyReader([tmp_path / 'out']) as bag:
        saved = [stamp for _, stamp, _ in bag.messages()]
    assert saved == sent[: len(saved)]
    assert sent[-1] - saved[-1] < 1e9


def test_a_full_disk_leaves_a_whole_bag(tmp_path):
    """The limit of the file size stands in for the disk: writing fails in the same way."""
    limit = 'import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))\n'
    camera = start_camera(tmp_path / 'bag', before=limit, pause_s=0.001)
    *_, problem = camera.communicate(timeout=60)[0].splitlines()
    assert camera.returncode == 0
    assert 'File too large; where it has no metadata.yaml' in problem
    with BagReader(tmp_path / 'bag') as bag:
        stamps = [message.stamp_ns for message in bag.messages()]
    assert f'ended after {len(stamps)} messages' in problem
    assert len(stamps) > 5
    assert stamps == sorted(stamps)


def test_the_disk_is_left_some_room(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, 'MIN_FREE_BYTES', 1 << 60)
    written = Recording(tmp_path / 'bag')
    written.put(text_message('first', 10**9))
    end_s = time.monotonic() + 20
    while not written.problem:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    assert 'of the disk are free' in written.problem
    written.put(text_message('too late', 2 * 10**9))
    written.stop()
    assert written.num_dropped == 1
    with BagReader(tmp_path / 'bag') as bag:
        assert bag.num_messages == 1


def test_a_slow_disk_drops_and_counts(tmp_path):
    written = Recording(tmp_path / 'bag', max_waiting_bytes=-1)
    for index in range(5):
        written.put(text_message('text', index))
    written.stop()
    assert (written.num_dropped, written.num_messages) == (5, 0)


def test_an_existing_folder_is_not_touched(tmp_path):
    with pytest.raises(ConfigError, match='exists already'):
        Recording(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_topic_of_an_unknown_type_is_left_out_alone(tmp_path):
    written = Recording(tmp_path / 'bag')
    messages = [text_message('first', 1), text_message('last', 3)]
    written.put(messages[0])
    written.put(RawMessage('/odd', 'odd_msgs/msg/Odd', b'', 2))
    written.put(messages[1])
    written.stop()
    assert written.problem == ''
    assert "got 'odd_msgs/msg/Odd'" in written.left_out['/odd']
    assert written.num_topics == 1
    with BagReader(tmp_path / 'bag') as bag:
        assert list(bag.messages()) == messages


def test_any_failure_is_reported_and_leaves_a_whole_bag(tmp_path):
    written = Recording(tmp_path / 'bag')
    written.put(text_message('first', 1))
    end_s = time.monotonic() + 20
    while not written.num_messages:  # until it is flushed
        assert time.monotonic() < end_s
        time.sleep(0.01)
    written.put(RawMessage('/text', STRING, b'', 'not a time'))
    written.stop()
    assert 'ended after 1 messages' in written.problem
    with BagReader(tmp_path / 'bag') as bag:
        assert bag.num_messages == 1
