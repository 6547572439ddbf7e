"""The node as a program: signals, exit codes, what it says when it cannot start."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip('rclpy')
from lifecycle_msgs.srv import GetState
from robust_vos.msg import TrackedObject, TrackedObjectArray
from robust_vos.srv import AddObjects
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

pytestmark = pytest.mark.ros

START = 'import sys; from robust_vos_ros.node_program import main; sys.exit(main(sys.argv))'
# A device that hangs: the engine does not come back from the first frame.
HANG = """
import threading
from robust_vos_ros.core.tracker import VideoTracker

def hang(*_):
    print('hanging', flush=True)
    threading.Event().wait()

VideoTracker.step = hang
"""
# A device that fails for good: so does every frame.
DEAD = """
import torch
from robust_vos_ros.core.tracker import VideoTracker

def fail(*_):
    raise torch.AcceleratorError('CUDA error: an illegal memory access was encountered')

VideoTracker.step = fail
"""


class Program:
    """The node in its own process, and what it wrote so far."""

    def __init__(self, domain, parameters, extra=(), before=''):
        arguments = ['--ros-args', *extra]
        for name, value in parameters.items():
            arguments += ['-p', f'{name}:={value}']
        env = dict(os.environ, ROS_DOMAIN_ID=str(domain), PYTHONUNBUFFERED='1')
        self.process = subprocess.Popen(
            [sys.executable, '-c', f'{before}\n{START}', *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=env,
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        self.lines.extend(iter(self.process.stdout.readline, ''))

    @property
    def text(self):
        return ''.join(self.lines)

    def wait_for(self, words, timeout_s=60.0):
        end = time.monotonic() + timeout_s
        while words not in self.text:
            assert self.process.poll() is None, f'ended: {self.text}'
            assert time.monotonic() < end, f'no {words!r} in: {self.text}'
            time.sleep(0.01)

    def signal_and_time(self, number):
        """Send a signal; return the exit code and how long it took."""
        start = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(20)
        self._reader.join(10)
        return code, time.monotonic() - start


@pytest.fixture
def start(helpers):
    programs = []
    with helpers.reserved_domain() as domain:

        def make(parameters=None, **options):
            program = Program(domain, {**helpers.FAST, **(parameters or {})}, **options)
            program.domain = domain
            programs.append(program)
            return program

        yield make
        for program in programs:
            program.process.kill()
            program.process.wait(10)
            program.process.stdout.close()


@pytest.fixture
def client(start, helpers):
    clients = []

    def make(program):
        clients.append(helpers.Client(program.domain))
        return clients[-1]

    yield make
    for item in clients:
        item.close()


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signal_during_inference(start, client, helpers, number):
    program = start()
    program.wait_for('waiting for images on /image')
    talker = client(program)
    objects = talker.listen(TrackedObjectArray, '/robust_vos/objects')
    publish = talker.talk(Image, '/image')
    while not objects:  # the node may not know this publisher yet
        publish(helpers.make_image(1))
        talker.executor.spin_once(timeout_sec=0.05)
    prompts = [helpers.make_box_prompt(f'object {number}') for number in range(16)]
    assert talker.call(AddObjects, '/robust_vos/add_objects', prompts=prompts).success
    for index in range(2, 12):  # the worker is busy all the time
        publish(helpers.make_image(index * 10**8))
    talker.wait(lambda: len(objects) > 1, 'tracking')
    code, seconds = program.signal_and_time(number)
    assert code == 0, program.text
    assert seconds < 2.0
    assert 'Traceback' not in program.text
    assert '[ERROR]' not in program.text


def test_signal_while_the_device_hangs(start, client, helpers):
    program = start(before=HANG)
    program.wait_for('waiting for images on /image')
    talker = client(program)
    publish = talker.talk(Image, '/image')
    while 'hanging' not in program.text:
        publish(helpers.make_image(1))
        talker.executor.spin_once(timeout_sec=0.05)
    code, seconds = program.signal_and_time(signal.SIGTERM)
    assert (code, 'Traceback' in program.text) == (0, False)
    assert 'the worker is busy for more than 1 s' in program.text
    assert seconds < 2.0


def test_a_dead_device_ends_the_program_for_its_supervisor(start, client, helpers):
    program = start({'watchdog.action': 'exit', 'watchdog.after_failed_frames': 3}, before=DEAD)
    program.wait_for('waiting for images on /image')
    talker = client(program)
    publish = talker.talk(Image, '/image')
    end = time.monotonic() + 60
    while program.process.poll() is None and time.monotonic() < end:
        publish(helpers.make_image(1))
        talker.executor.spin_once(timeout_sec=0.05)
    assert program.process.wait(1) == 3
    program._reader.join(10)
    assert 'frames in succession failed (watchdog.after_failed_frames is 3)' in program.text
    assert 'CUDA error: an illegal memory access was encountered; action: exit' in program.text
    assert 'Traceback' not in program.text


def test_signal_while_the_model_is_loading(start):
    program = start()
    program.wait_for('loading model nano')
    code, seconds = program.signal_and_time(signal.SIGINT)
    assert code == 0, program.text
    assert 'Traceback' not in program.text
    assert seconds < 2.0


def test_wrong_weights_leave_the_node_unconfigured(start, client, tmp_path):
    program = start({'model.checkpoint': tmp_path / 'missing.pt'})
    program.wait_for('cannot configure: ')
    talker = client(program)
    answer = talker.call(GetState, '/robust_vos/get_state')
    assert answer.current_state.label == 'unconfigured'
    assert 'missing.pt' in program.text
    code, seconds = program.signal_and_time(signal.SIGTERM)
    assert (code, 'Traceback' in program.text) == (0, False)
    assert seconds < 2.0


def test_without_autostart(start):
    program = start({'autostart': 'false'})
    program.wait_for('autostart is off')
    code, _ = program.signal_and_time(signal.SIGTERM)
    assert code == 0
    assert 'model' not in program.text


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'tracking.visible_on': 3.0}, 'tracking.visible_on'),
        ({'tracking.lost_after': 3.0}, 'did you mean tracking.lost_after_s?'),
        ({'model.num_threads': 'many'}, "expected int, got 'many'"),
    ],
)
def test_wrong_parameters_end_the_program(start, parameters, words):
    program = start(parameters)
    assert program.process.wait(60) == 1
    program._reader.join(10)
    assert words in program.text
    assert '[FATAL]' in program.text
    assert 'Traceback' not in program.text


def test_namespace_name_and_params_file(start, client, helpers, tmp_path):
    """As nav2 users start it: another name and namespace, parameters from the shipped file."""
    config = helpers.SOURCE / 'config' / 'robust_vos.yaml'
    program = start(
        extra=(
            *('-r', '__ns:=/robot', '-r', '__node:=eyes', '-r', 'image:=camera/image_raw'),
            *('--params-file', str(config)),
        )
    )
    program.wait_for('waiting for images on /robot/camera/image_raw')
    talker = client(program)
    assert talker.call(SetBool, '/robot/eyes/set_enabled', data=True).success
    topics = {name for name, _ in talker.node.get_topic_names_and_types()}
    assert '/robot/camera/image_raw_mouse_left' in topics
    assert program.signal_and_time(signal.SIGINT)[0] == 0


def test_a_killed_program_goes_on_with_its_objects(start, client, helpers, tmp_path):
    path = tmp_path / 'folder' / 'tracks.safetensors'
    parameters = {'state_file': path, 'state_save_interval_s': 0.1}
    first = start(parameters)
    first.wait_for('does not exist yet')
    first.wait_for('waiting for images on /image')
    talker = client(first)
    objects = talker.listen(TrackedObjectArray, '/robust_vos/objects')
    publish = talker.talk(Image, '/image')
    stamps = (index * 66_000_000 for index in range(1, 1000))

    def show_until(condition):
        """Publish images until the newest answer is as wanted; return its objects."""
        while True:  # some get lost before the node knows this publisher
            publish(helpers.make_image(next(stamps)))
            talker.executor.spin_once(timeout_sec=0.1)
            if objects and condition(objects[-1].objects):
                return objects[-1].objects

    show_until(lambda items: items == [])
    prompts = [helpers.make_box_prompt('disc', class_id='toy')]
    assert talker.call(AddObjects, '/robust_vos/add_objects', prompts=prompts).success
    tracked = TrackedObject.STATE_TRACKED
    (before,) = show_until(lambda items: [item.state for item in items] == [tracked])
    talker.wait(path.exists, 'the state file')
    first.signal_and_time(signal.SIGKILL)

    second = start(parameters)
    second.wait_for('restored 1 objects')
    second.wait_for('waiting for images on /image')
    objects.clear()
    (item,) = show_until(lambda items: items)
    assert (item.state, item.area_px) == (TrackedObject.STATE_LOST, 0)
    (after,) = show_until(lambda items: [item.state for item in items] == [tracked])
    for name in ('object_id', 'uuid', 'label', 'class_id'):
        assert getattr(after, name) == getattr(before, name)
    assert second.signal_and_time(signal.SIGTERM)[0] == 0
    assert not list(path.parent.glob('*.refused*'))


def test_a_stopped_program_goes_on_with_the_newest_image(start, client, helpers):
    """SIGSTOP and SIGCONT, as of a machine that swaps or sleeps."""
    program = start({'diagnostics.stale_after_s': 0.5})
    program.wait_for('waiting for images on /image')
    talker = client(program)
    objects = talker.listen(TrackedObjectArray, '/robust_vos/objects')
    publish = talker.talk(Image, '/image')
    stamps = (index * 66_000_000 for index in range(1, 10_000))

    def show_until(condition):
        while True:
            publish(helpers.make_image(next(stamps)))
            talker.executor.spin_once(timeout_sec=0.1)
            if objects and condition(objects[-1]):
                return objects[-1]

    show_until(lambda msg: True)
    prompts = [helpers.make_box_prompt('disc')]
    assert talker.call(AddObjects, '/robust_vos/add_objects', prompts=prompts).success
    before = show_until(lambda msg: msg.objects and msg.objects[0].state == 1)
    program.process.send_signal(signal.SIGSTOP)
    late = talker.send(AddObjects, '/robust_vos/add_objects', prompts=prompts)
    for _ in range(10):
        publish(helpers.make_image(next(stamps)))
        talker.executor.spin_once(timeout_sec=0.1)
    assert not late.done()
    program.process.send_signal(signal.SIGCONT)
    talker.wait(late.done, 'the answer of a request sent meanwhile')
    newest = helpers.make_image(next(stamps))
    publish(newest)
    talker.wait(lambda: objects[-1].header == newest.header, 'the newest image')
    assert [item.uuid for item in objects[-1].objects] == [before.objects[0].uuid]
    assert '[ERROR]' not in program.text


@pytest.mark.long
def test_a_program_killed_in_any_phase_starts_again(start, client, helpers, tmp_path):
    """kill -9 while loading, waiting, tracking, writing the state file: it is never refused."""
    rng = np.random.default_rng(4)
    path = tmp_path / 'tracks'
    parameters = {'state_file': path, 'state_save_interval_s': 0.1}
    known, times = None, []
    for round_number in range(12):
        program = start(parameters)
        began = time.monotonic()
        if round_number % 4 == 0:  # while it imports or loads
            time.sleep(rng.uniform(0.5, 5))
            program.signal_and_time(signal.SIGKILL)
            continue
        program.wait_for('waiting for images on /image')
        talker = client(program)
        objects = talker.listen(TrackedObjectArray, '/robust_vos/objects')
        publish = talker.talk(Image, '/image')
        stamp, first_s = 10**9 * round_number, None
        end = time.monotonic() + rng.uniform(2, 5)
        while first_s is None or time.monotonic() < end:
            stamp += 66_000_000
            publish(helpers.make_image(stamp))
            talker.executor.spin_once(timeout_sec=0.05)
            if objects and first_s is None:
                first_s = time.monotonic() - began
                if known is None:
                    prompts = [helpers.make_box_prompt('disc')]
                    answer = talker.call(AddObjects, '/robust_vos/add_objects', prompts=prompts)
                    known = answer.objects[0].uuid
                    talker.wait(path.exists, 'the state file')
        assert [item.uuid for item in objects[-1].objects] == [known]
        times.append(round(first_s, 1))
        program.signal_and_time(signal.SIGKILL)
    sys.stdout.write(f'\nfirst objects after a start: {times} s')
    assert not list(tmp_path.glob('*.refused*'))
