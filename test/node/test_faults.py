"""Faults while the node runs, injected over real DDS: docs/reliability.md has the whole matrix.

Every message that the node publishes meanwhile is checked (`Invariants`), and the checks of
threads are on (ROBUST_VOS_DEBUG).
"""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rclpy')
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PointStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from robust_vos.msg import ErrorCode, ObjectPromptStamped, TrackedObject
from robust_vos.srv import ListObjects, RemoveObjects
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from robust_vos_ros.bags.recording import Recording
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import find_weights, load_spec
from robust_vos_ros.live.watch import Watch
from robust_vos_ros.node.settings import flatten

pytestmark = pytest.mark.ros
TRACKED = TrackedObject.STATE_TRACKED


@pytest.fixture(scope='module')
def debug():
    """Debugging checks are made when the parts of a node are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROBUST_VOS_DEBUG', '1')
        yield


@pytest.fixture(scope='module')
def faulty(debug, make_bench):
    bench = make_bench({'diagnostics.stale_after_s': 1.0, 'diagnostics.error_hold_s': 0.5})
    bench.watch = Watch(bench.node, '/robust_vos', monotone=False)
    bench.reports = bench.listen(DiagnosticArray, '/diagnostics')
    return bench


@pytest.fixture
def tracking(faulty, helpers):
    """A node that tracks the disc; in the end its output was sound, and it tracks again."""
    bench = faulty
    bench.fresh()
    bench.show()
    assert bench.add(helpers.make_box_prompt()).success
    track(bench)
    yield bench
    track(bench)
    found = bench.watch.invariants
    assert found.problems == []
    assert found.num_masks
    assert bench.failures == []


def track(bench, rgb=None, **options):
    """Show images until the disc is tracked; return how many that took."""
    for number in range(1, 40):
        items = bench.show(rgb, **options).objects
        if [item.object_id for item in items] == ['disc'] and items[0].state == TRACKED:
            return number
    raise AssertionError('the disc is not tracked again')


def level(bench):
    """Return the level and the text of the next report."""
    bench.reports.clear()
    bench.on_node(bench.robust_vos._publish_diagnostics)  # not only each second
    report = bench.wait(
        lambda: [s for m in bench.reports for s in m.status if 'tracker' in s.name], 'a report'
    )[-1]
    return report.level, report.message


def set_parameter(bench, name, value):
    parameters = [Parameter(name, value=value).to_parameter_msg()]
    return bench.call(SetParameters, '/robust_vos/set_parameters', parameters=parameters).results


@pytest.mark.parametrize(
    ('options', 'size_hw', 'step_ns'),
    [
        ({}, (96, 128), 5_000_000),  # at 200 Hz
        ({}, (96, 128), 2 * 10**9),  # at 0.5 Hz
        ({}, (144, 192), 33_000_000),
        ({'encoding': 'bgr8'}, (96, 128), 33_000_000),
        ({'frame_id': 'other'}, (96, 128), 33_000_000),
        ({'encoding': 'bgr8', 'frame_id': 'other'}, (192, 256), 5_000_000),  # all of it
    ],
    ids=['faster', 'slower', 'size', 'encoding', 'frame_id', 'all'],
)
def test_a_camera_dies_and_comes_back_different(tracking, helpers, options, size_hw, step_ns):
    bench = tracking
    uuid = bench.objects[-1].objects[0].uuid
    bench.node.destroy_publisher(bench.publishers['/image'])
    bench.wait(lambda: level(bench)[0] == DiagnosticStatus.STALE, 'STALE')
    bench.publish = bench.talk(Image, '/image')
    bench.wait_for_input()
    rgb = helpers.make_rgb(size_hw=size_hw)
    if options.get('encoding') == 'bgr8':
        rgb = np.ascontiguousarray(rgb[..., ::-1])
    bench.stamp += 10**9 - 33_000_000 + step_ns
    answers = []
    for _ in range(4):
        bench.stamp += step_ns - 33_000_000
        answers.append(bench.show(rgb, **options))
    assert (answers[-1].height, answers[-1].width) == size_hw
    (item,) = answers[-1].objects
    assert item.uuid == uuid
    bench.wait(lambda: bench.show() and level(bench)[0] == DiagnosticStatus.OK, 'OK')


@pytest.mark.parametrize('jump_s', [3600, -30])
def test_stamps_jump_and_stay(tracking, jump_s):
    """Forward: the objects are unseen for an hour; backward: a time jump, memory is cleared."""
    bench = tracking
    bench.stamp += jump_s * 10**9
    if bench.stamp < 0:
        bench.stamp = 1
    assert track(bench) < 20
    bench.stamp += 10**9


def test_simulated_time_stops(debug, make_bench, helpers):
    """Images, requests, timeouts and diagnostics go on."""
    bench = make_bench({'use_sim_time': True})
    tick = bench.talk(Clock, '/clock')
    clock = Clock()
    clock.clock.sec = 100
    tick(clock)
    reports = bench.listen(DiagnosticArray, '/diagnostics')
    bench.show()
    assert bench.add(helpers.make_box_prompt()).success
    assert len(bench.show().objects) == 1
    reports.clear()
    bench.wait(lambda: len(reports) >= 2, 'diagnostics without a clock that runs')


def test_a_subscriber_that_stands_still_does_not_hold_up_the_node(tracking, helpers):
    """A stopped process acknowledges nothing; the topic is reliable, with a depth of 30."""
    bench = tracking
    code = (
        'import rclpy, sys\n'
        'from robust_vos.msg import TrackedObjectArray\n'
        'rclpy.init()\n'
        'node = rclpy.create_node("slow")\n'
        'node.create_subscription(TrackedObjectArray, "/robust_vos/objects", lambda m: print('
        '"got", m.header.stamp.nanosec, flush=True), 100)\n'
        'rclpy.spin(node)\n'
    )
    env = dict(os.environ, ROS_DOMAIN_ID=str(bench.domain))
    slow = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, env=env)
    try:
        while bench.node.count_subscribers('/robust_vos/objects') < 3:  # the bench, its watch
            bench.show()
        slow.send_signal(signal.SIGSTOP)
        stamps = [helpers.stamp_ns(bench.show().header) for _ in range(32)]
        assert len(set(stamps)) == 32
        slow.send_signal(signal.SIGCONT)
        assert slow.stdout.readline().startswith(b'got')  # it goes on with the newest
    finally:
        slow.kill()
        slow.wait(10)
        slow.stdout.close()


class Allocator:
    """A device with little memory: steps of the network fail where they take too many objects."""

    def __init__(self, max_objects):
        self.max_objects = max_objects

    def wrap(self, attend):
        def limited(model, features, view, *rest, **options):
            if view is not None and len(view.spatial) > self.max_objects:
                raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')
            return attend(model, features, view, *rest, **options)

        return limited


def test_out_of_memory_in_the_model(tracking, helpers, monkeypatch):
    """Frames fail and are counted as long as it lasts; fewer objects fit again."""
    bench = tracking
    prompts = [helpers.make_box_prompt(f'more {number}', x=30) for number in range(3)]
    assert bench.add(*prompts).success
    bench.show()
    allocator = Allocator(2)
    monkeypatch.setattr(Model, 'attend', allocator.wrap(Model.attend))
    failed = bench.counts.failed
    for _ in range(3):
        bench.publish(helpers.make_image(bench.next_stamp()))
        failed += 1
        bench.wait(lambda: bench.counts.failed == failed, 'the failure')  # noqa: B023
    state = level(bench)
    assert state[0] == DiagnosticStatus.ERROR
    assert 'out of memory' in state[1]
    listed = bench.call(ListObjects, '/robust_vos/list_objects')
    assert len(listed.objects) == 4  # nothing is lost
    names = [prompt.object_id for prompt in prompts]
    assert bench.call(RemoveObjects, '/robust_vos/remove_objects', object_ids=names).success
    assert len(bench.show().objects) == 1


@pytest.mark.parametrize('step', ['encode', 'attend', 'decode', 'remember'])
def test_a_device_error_in_the_middle_of_a_frame(tracking, helpers, monkeypatch, step):
    """Wherever it happens, the next frame is as sound as the one before."""
    bench = tracking
    failed = bench.counts.failed

    def fail(*_, **__):
        raise RuntimeError('CUDA error: an illegal memory access was encountered')

    with monkeypatch.context() as patch:
        patch.setattr(Model, step, fail)
        for _ in range(2):
            failed += 1
            bench.publish(helpers.make_image(bench.next_stamp()))
            bench.wait(lambda: bench.counts.failed == failed, 'the failure')  # noqa: B023
        if step in {'encode', 'decode'}:  # a request in the same moment is answered, too
            answer = bench.add(helpers.make_box_prompt('unlucky'))
            assert answer.error_code in {ErrorCode.INTERNAL, ErrorCode.OK}
    if bench.show().objects[-1].object_id == 'unlucky':
        bench.call(RemoveObjects, '/robust_vos/remove_objects', object_ids=['unlucky'])
    assert track(bench) <= 3


def test_a_storm_of_parameters(tracking, helpers):
    """Each change is taken or refused with a reason; what was refused changes nothing."""
    bench, rng = tracking, random.Random(7)
    values = [
        ('tracking.visible_on', [0.5, 0.6, 9.0, 'x']), ('tracking.lost_after_s', [1.0, 1, -5]),
        ('publish.png_level', [0, 9, 10]), ('publish.rle', [True, False, 'no']),
        ('model.name', ['nano', 'sam2.1_hiera_large']), ('prompt_timeout_s', [1.0, 10.0, 0.0]),
        ('watchdog.action', ['report', 'bond', 'dance']), ('model.adapter', ['none', 'missing']),
        ('tracking.max_coverage', [0.5, 0.9, float('nan')]), ('enabled', [True, 'perhaps']),
        ('unknown', [1]), ('', [1]), ('publish', [False]),
    ]  # fmt: skip
    before = flatten(bench.robust_vos.settings)
    taken = refused = 0
    for number in range(150):
        name, choices = rng.choice(values)
        known = bench.robust_vos.settings
        (result,) = set_parameter(bench, name, rng.choice(choices))
        taken += result.successful
        refused += not result.successful
        assert result.successful or (result.reason and bench.robust_vos.settings == known)
        if number % 30 == 0:
            bench.show()
    assert taken > 30
    assert refused > 30
    for name, value in before.items():
        if flatten(bench.robust_vos.settings)[name] != value:
            (result,) = set_parameter(bench, name, value)
            assert result.successful, result.reason
    assert flatten(bench.robust_vos.settings) == before


def test_two_nodes_of_one_name(tracking, make_bench):
    """Their messages would mix: the node warns until it is alone again."""
    from rclpy.context import Context
    from rclpy.node import Node

    bench, context = tracking, Context()
    context.init(domain_id=bench.domain)
    twin = Node('robust_vos', context=context)
    try:
        reports = (level(bench) for _ in iter(bench.show, None))  # with a new image each
        text = bench.wait(
            lambda: next((m for v, m in [next(reports)] if v == DiagnosticStatus.WARN), None),
            'a warning',
        )
        assert text.startswith('2 nodes are named /robust_vos; ')
    finally:
        twin.destroy_node()
        context.try_shutdown()
    bench.show()
    bench.wait(
        lambda: bench.show() and level(bench)[0] == DiagnosticStatus.OK, 'the end of the warning'
    )


def test_a_full_disk_does_not_stop_the_tracking(debug, make_bench, helpers, tmp_path):
    """The state file is written again as soon as there is room; the old one stays until then."""
    path = tmp_path / 'tracks'
    bench = make_bench({'state_file': str(path), 'state_save_interval_s': 0.1})
    bench.show()
    assert bench.add(helpers.make_box_prompt()).success
    bench.wait(path.exists, 'the state file')
    beside = tmp_path / 'tracks.new'
    writer = bench.robust_vos._configured.cameras[0].outputs.state._writer
    bench.wait(lambda: not writer.busy, 'the disk')
    beside.symlink_to('/dev/full')  # writing fails as on a full disk
    before = path.read_bytes()
    bench.wait(lambda: bench.show() and writer.failed, 'the failure')
    assert path.read_bytes() == before
    assert len(bench.show().objects) == 1
    beside.unlink()
    bench.wait(lambda: bench.show() and not writer.failed, 'the next write')
    assert not path.is_symlink()
    assert path.read_bytes() != before


def test_weights_replaced_while_they_are_used(debug, make_bench, helpers, tmp_path):
    """The node goes on with what it has loaded, and refuses the new file when it loads again."""
    weights = find_weights(load_spec('nano'))
    copy = tmp_path / 'nano.safetensors'
    copy.write_bytes(weights.read_bytes())
    bench = make_bench({'model.checkpoint': str(copy), 'model.calibration': 'none'})
    bench.show()
    assert bench.add(helpers.make_box_prompt()).success
    rgb = helpers.make_rgb()
    bench.stamp += 10**9
    first = [bench.show(rgb).objects[0].area_px for _ in range(2)]
    with copy.open('r+b') as file:  # in place, as by `cp`
        file.write(b'\xff' * copy.stat().st_size)
    assert [bench.show(rgb).objects[0].area_px for _ in range(2)] == pytest.approx(first, rel=0.1)
    for name, expected in (
        ('DEACTIVATE', True), ('CLEANUP', True), ('CONFIGURE', False),
    ):  # fmt: skip
        assert change(bench, name) == expected
    assert 'is not a readable checkpoint' in bench.robust_vos._problem
    copy.write_bytes(weights.read_bytes())
    assert change(bench, 'CONFIGURE')


def change(bench, name):
    transition = Transition(id=getattr(Transition, f'TRANSITION_{name}'))
    return bench.call(ChangeState, '/robust_vos/change_state', transition=transition).success


def test_a_bag_on_a_disk_that_cannot_be_written():
    with pytest.raises(ConfigError, match='/proc/bag'):
        Recording(Path('/proc/bag'))


NUM_MALFORMED = 300  # 10,000 were sent once


def test_malformed_messages(tracking, helpers):
    """Images, clicks and prompts of random fields: refused and counted, nothing else."""
    bench, rng = tracking, np.random.default_rng(3)
    send = {
        Image: bench.publish,
        PointStamped: bench.talk(PointStamped, '/clicked_point'),
        ObjectPromptStamped: bench.talk(ObjectPromptStamped, '/robust_vos/prompts'),
    }
    encodings = ['rgb8', 'mono16', 'nv12', 'bayer_rggb16', 'yuv422', '', 'rgb8\n', 'x' * 300]
    numbers = [0, 1, 2, 96, 128, 2**31, 2**32 - 1]
    for _ in range(int(os.environ.get('ROBUST_VOS_MALFORMED', NUM_MALFORMED))):
        kind = list(send)[rng.integers(len(send))]
        msg = kind()
        msg.header.stamp.sec = int(rng.choice([0, 1, 2**31 - 1, -(2**31)]))
        msg.header.frame_id = ['camera', '', '\u2603' * 50][rng.integers(3)]
        if kind is Image:
            msg.height, msg.width, msg.step = (int(rng.choice(numbers)) for _ in range(3))
            msg.encoding = encodings[rng.integers(len(encodings))]
            msg.data = rng.bytes(int(rng.integers(0, 300)))
        elif kind is PointStamped:
            msg.point.x, msg.point.y, msg.point.z = rng.choice(
                [0.0, np.nan, np.inf, 1e300, -5.0], 3
            ).tolist()
        else:
            prompt = helpers.make_point_prompt(
                'x' * int(rng.choice([0, 1, 300])), *rng.normal(0, 100, (rng.integers(70), 2))
            )
            prompt.point_labels = rng.integers(-3, 3, rng.integers(4)).tolist()
            msg.prompt = prompt
        send[kind](msg)
        bench.executor.spin_once(timeout_sec=0)
    bench.stamp += 10**9

    def cleared():  # some of the messages were sound, and added objects
        return bench.call(Trigger, '/robust_vos/reset').success and bench.show().objects == []

    bench.wait(cleared, 'the end of the messages')
    assert bench.add(helpers.make_box_prompt(), replace=True).success
