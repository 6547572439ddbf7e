"""The whole demo as users start it: two processes, DDS, and the files it leaves."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import cv2
import psutil
import pytest

pytest.importorskip('rclpy', reason='the demo runs ROS nodes')
pytest.importorskip('robust_vos.msg', reason='the messages are not built')

from rosbags.highlevel import AnyReader

from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.adapters.settings import AdapterSettings
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.demo import scene
from robust_vos_ros.demo.processes import find_free_domain
from robust_vos_ros.demo.report import MIN_COVERED

pytestmark = pytest.mark.ros

NUM_FRAMES = 30
TIMEOUT_S = 200.0
TOPICS = {
    '/camera/image_raw/compressed',
    '/robust_vos/objects',
    '/robust_vos/label_mask/compressed',
    '/robust_vos/events',
}


def command(*options):
    return [sys.executable, '-m', 'robust_vos_ros.cli', 'demo', *map(str, options)]


def run(*options, env=None):
    return subprocess.run(
        command(*options), capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=env
    )


def processes_of(domain):
    """Processes of this package in a ROS domain."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if (
                process.environ().get('ROS_DOMAIN_ID') == str(domain)
                and 'robust_vos_ros' in ' '.join(process.cmdline())
                and process.pid != os.getpid()
            ):
                found.append(process)
    return found


def wait_for(condition, what):
    end = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < end, f'waited in vain for {what}'
        time.sleep(0.05)


def check_files(out, num_frames, done=None):
    """Everything the demo promises is there and fits together; return the summary."""
    said = done and done.stdout + done.stderr
    assert (out / 'summary.json').exists(), said
    summary = json.loads((out / 'summary.json').read_text())
    assert summary['sent'] == num_frames
    assert summary['processed'] + summary['dropped'] + summary['lost'] == num_frames
    assert summary['processed'] > 1
    assert 0 < summary['engine_ms_p50'] < summary['latency_ms_p50'] <= summary['latency_ms_p95']
    assert cv2.imread(str(out / 'contact_sheet.png')) is not None
    video = cv2.VideoCapture(str(out / 'demo.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == num_frames
    video.release()
    with AnyReader([out / 'demo_bag']) as reader:
        assert {connection.topic for connection in reader.connections} == TOPICS
        count = {topic: info.msgcount for topic, info in reader.topics.items()}
        assert count['/camera/image_raw/compressed'] == num_frames
        assert count['/robust_vos/objects'] == summary['processed']
        images, arrays = {}, {}
        for connection, stamp_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            stamp = message.header.stamp
            assert stamp.sec * 10**9 + stamp.nanosec == stamp_ns
            if connection.topic == '/camera/image_raw/compressed':
                images[stamp_ns] = message
            if connection.topic == '/robust_vos/objects':
                arrays[stamp_ns] = message
        assert set(arrays) <= set(images)  # every result belongs to an image of the bag
    return summary


@pytest.fixture(scope='module')
def finished(tmp_path_factory):
    """The demo without options, run once: its folder, how it ended, and its domain."""
    out, number = tmp_path_factory.mktemp('finished') / 'demo', find_free_domain(random.Random())
    env = {name: value for name, value in os.environ.items() if name != 'ROS_LOCALHOST_ONLY'}
    env |= {'ROS_DOMAIN_ID': str(number), 'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST'}
    return out, run('--out', out, env=env), number


def test_the_generated_clip(finished):
    out, done, domain = finished
    assert done.returncode == 0, done.stdout + done.stderr
    summary = check_files(out, scene.NUM_FRAMES)
    assert summary['covered_share'] >= MIN_COVERED
    assert [item['object_id'] for item in summary['objects']] == ['fish', 'starfish']
    assert 'node overhead p50' in done.stdout
    assert processes_of(domain) == []


def test_positions_are_compared_with_the_true_depth(tmp_path, domain):
    done = run('--out', tmp_path, '--max-frames', NUM_FRAMES, '--depth')
    check_files(tmp_path, NUM_FRAMES, done)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'Positions in space' in done.stdout
    scores = json.loads((tmp_path / 'positions.json').read_text())
    assert [item['object_id'] for item in scores] == ['fish', 'starfish']
    assert all(item['error_p50'] < 0.02 for item in scores)
    assert processes_of(domain) == []


def test_a_video_sent_as_jpeg(tmp_path, domain, video_file):
    done = run(
        '--video', video_file, '--box', '10,10,40,40', '--clicks', '60,30;65,35,0',
        '--out', tmp_path / 'out', '--compressed', '--rate', 30,
    )  # fmt: skip
    summary = check_files(tmp_path / 'out', 30, done)
    # Nobody can say what is to be found in grey frames; the verdict must fit the numbers.
    unseen = 'objects were visible in only' in done.stdout
    good = summary['covered_share'] >= MIN_COVERED and not unseen
    assert (done.returncode == 0) == good, done.stdout
    assert {item['object_id'] for item in summary['objects']} == {'object_1', 'object_2'}
    assert processes_of(domain) == []


@pytest.mark.slow
def test_weather_with_and_without_an_adapter(tmp_path, domain):
    model = load_model(ModelSettings(device='cpu', adapter='none'))
    adapter = adapters.make_adapter(model, AdapterSettings(rank=2, layer_norms='none'))
    path, out = tmp_path / 'own.safetensors', tmp_path / 'out'
    header = {'model': model.name, 'weights_sha256': model.weights_hash}
    adapters.save_adapter(path, adapter.state_dict(), {}, adapter.settings, **header)
    result = run('--weather', 'rain', '--adapter', path, '--max-frames', 12, '--out', out)
    assert result.returncode == 0, result.stdout + result.stderr
    for folder in ('without_adapter', 'with_adapter'):
        check_files(out / folder, 12)
    video = cv2.VideoCapture(str(out / 'side_by_side.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) > 1
    assert video.get(cv2.CAP_PROP_FRAME_WIDTH) == 2 * 640
    video.release()
    assert cv2.imread(str(out / 'side_by_side.png')) is not None


def test_the_hidden_fish_is_found_again(finished):
    out, *_ = finished
    with AnyReader([out / 'demo_bag']) as reader:
        connections = [item for item in reader.connections if item.topic == '/robust_vos/events']
        events = [
            reader.deserialize(raw, connection.msgtype)
            for connection, _, raw in reader.messages(connections)
        ]
    fish = [event.type for event in events if event.object_id == 'fish']
    assert events[0].OCCLUDED in fish
    assert events[0].REACQUIRED in fish[fish.index(events[0].OCCLUDED) :]


@pytest.mark.parametrize(
    ('number', 'num_processes'),
    [
        (signal.SIGINT, 2),  # Ctrl-C while it starts the node
        (signal.SIGINT, 3),  # Ctrl-C with node and camera running
        (signal.SIGTERM, 3),  # stopped by a service manager
    ],
)
def test_interrupts_leave_nothing_behind(tmp_path, domain, number, num_processes):
    demo = subprocess.Popen(command('--out', tmp_path), stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: len(processes_of(domain)) >= num_processes, 'demo, node and camera')
        demo.send_signal(number)
        output, _ = demo.communicate(timeout=TIMEOUT_S)
    finally:
        demo.kill()
    assert demo.returncode == 130
    assert 'interrupted' in output
    assert processes_of(domain) == []


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--model', 'gigantic'), 'gigantic'),  # found out by the node, after its start
        (('--video', 'nothing.mp4', '--box', '1,2,3,4'), 'no video at nothing.mp4'),
        (('--box', '1,2,3,4'), 'pass --video too'),
        (('--video', 'x.mp4', '--box', '1,2,3,4', '--depth'), 'only the generated clip has depth'),
    ],
)
def test_failures_end_with_one_sentence(tmp_path, domain, options, message):
    start = time.monotonic()
    done = run('--out', tmp_path, *options)
    assert done.returncode == 1
    assert message in done.stderr
    assert 'Traceback' not in done.stderr
    assert time.monotonic() - start < 60  # not the time a large model may take to load
    assert processes_of(domain) == []
