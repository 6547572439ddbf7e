"""Frames that do not end, or all fail: reported, and acted upon."""

import threading

import pytest

pytest.importorskip('rclpy')
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from robust_vos.msg import ErrorCode
from robust_vos.srv import ListObjects

from robust_vos_ros.core.network.model import Model
from robust_vos_ros.node import bond

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def watched(make_bench):
    bench = make_bench()
    bench.show()
    return bench


class Stuck:
    """The engine does not come back from the next frame until the block ends."""

    def __init__(self, bench, helpers):
        self._bench, self._helpers = bench, helpers

    def __enter__(self):
        bench, entered, self._leave = self._bench, threading.Event(), threading.Event()
        step, leave = bench.pipeline._tracker.step, self._leave

        def hang(frame):
            entered.set()
            leave.wait(60)
            return step(frame)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(bench.pipeline._tracker, 'step', hang)
            bench.publish(self._helpers.make_image(bench.next_stamp()))
            bench.wait(entered.is_set, 'the frame')

    def __exit__(self, *_):
        self._leave.set()


def set_parameters(bench, **values):
    parameters = [Parameter(f'watchdog.{name}', value=value) for name, value in values.items()]
    return bench.on_node(lambda: bench.robust_vos.set_parameters_atomically(parameters))


def test_a_stuck_frame_is_told_and_the_next_one_is_processed(watched, helpers, capfd):
    bench = watched
    reports = bench.listen(DiagnosticArray, '/diagnostics')
    assert set_parameters(bench, after_s=0.2).successful
    with Stuck(bench, helpers):
        reports.clear()
        bench.wait(
            lambda: reports and reports[-1].status[0].level == DiagnosticStatus.ERROR, 'an error'
        )
        assert reports[-1].status[0].message.startswith('frame is stuck for ')
        reports.clear()
        bench.wait(lambda: len(reports) == 2, 'more reports')
    text = capfd.readouterr().err
    assert 'in hang' in text  # where it is stuck
    assert text.count('(most recent call first)') >= 2  # all threads
    assert text.count('in hang') == 1  # once for each frame
    assert bench.show() is not None
    reports.clear()
    bench.wait(lambda: reports and reports[-1].status[0].level == DiagnosticStatus.OK, 'recovery')


def test_the_bond_ends_or_the_process(watched, helpers, monkeypatch, capfd):
    bench = watched
    refused = set_parameters(bench, action='bond')
    assert not refused.successful
    assert 'watchdog.action: bond needs bond: true' in refused.reason
    ended = threading.Event()
    watchdog = bench.robust_vos._watchdogs['']
    monkeypatch.setitem(watchdog._actions, 'exit', ended.set)
    assert set_parameters(bench, after_s=0.2, action='exit').successful
    with Stuck(bench, helpers):
        bench.wait(ended.is_set, 'the end of the process')
    assert 'in hang' in capfd.readouterr().err
    assert set_parameters(bench, action='report').successful
    bench.show()


class DeadDevice:
    """As a CUDA context after an illegal memory access: every call fails from then on."""

    def __init__(self, patch):
        self.num_calls = 0
        for step in ('encode', 'attend', 'decode', 'remember'):
            patch.setattr(Model, step, self.fail)
        patch.setattr(torch.cuda, 'is_available', lambda: True)
        patch.setattr(torch.cuda, 'empty_cache', self.fail)

    def fail(self, *_, **__):
        self.num_calls += 1
        raise torch.AcceleratorError('CUDA error: an illegal memory access was encountered')


def fail_frames(bench, helpers, number):
    """Show so many images, each of which fails."""
    for failed in range(bench.counts.failed + 1, bench.counts.failed + 1 + number):
        bench.publish(helpers.make_image(bench.next_stamp()))
        bench.wait(lambda: bench.counts.failed == failed, 'the failure')  # noqa: B023


def test_a_device_that_fails_for_good_is_told_and_acted_upon(watched, helpers, monkeypatch):
    bench = watched
    reports = bench.listen(DiagnosticArray, '/diagnostics')
    assert bench.add(helpers.make_box_prompt()).success  # without objects nothing is encoded
    ended = []
    monkeypatch.setitem(bench.robust_vos._watchdogs['']._actions, 'exit', lambda: ended.append(1))
    assert set_parameters(bench, after_failed_frames=3, action='exit').successful

    def report(words):
        reports.clear()
        bench.on_node(bench.robust_vos._publish_diagnostics)  # not only each second
        bench.wait(lambda: reports and words in reports[-1].status[0].message, words)
        return reports[-1].status[0].level

    with monkeypatch.context() as patch:
        DeadDevice(patch)
        fail_frames(bench, helpers, 2)
        assert report('failed: AcceleratorError: CUDA error') == DiagnosticStatus.ERROR
        assert not ended, 'a few frames may fail'
        fail_frames(bench, helpers, 1)
        text = '3 frames in succession failed (watchdog.after_failed_frames is 3), restart'
        assert report(text) == DiagnosticStatus.ERROR
        fail_frames(bench, helpers, 1)
        report('4 frames in succession failed')
        assert ended == [1], 'once for a series'
        answer = bench.add(helpers.make_box_prompt('unlucky'))
        assert answer.error_code == ErrorCode.INTERNAL
        assert 'CUDA error' in answer.message
        assert bench.call(ListObjects, '/robust_vos/list_objects').success
    bench.show()
    fail_frames_before = bench.counts.failed
    report('failed: ')  # held for a while, but not as a series
    assert 'in succession' not in reports[-1].status[0].message
    with monkeypatch.context() as patch:
        DeadDevice(patch)
        fail_frames(bench, helpers, 3)
        report('3 frames in succession failed')
    assert ended == [1, 1], 'the next series counts from its own beginning'
    assert bench.counts.failed == fail_frames_before + 3
    assert set_parameters(bench, after_failed_frames=30, action='report').successful
    bench.show()


def test_a_device_that_fails_for_good_can_be_released(make_bench, helpers, monkeypatch):
    """Deactivating and cleaning up succeed, so that a supervisor is not held up."""
    bench = make_bench()
    bench.show()
    assert bench.add(helpers.make_box_prompt()).success
    with monkeypatch.context() as patch:
        device = DeadDevice(patch)
        fail_frames(bench, helpers, 1)
        for name in ('DEACTIVATE', 'CLEANUP'):
            transition = Transition(id=getattr(Transition, f'TRANSITION_{name}'))
            num_calls = device.num_calls
            answer = bench.call(ChangeState, '/robust_vos/change_state', transition=transition)
            assert answer.success
        assert device.num_calls == num_calls + 1  # of empty_cache
    assert bench.failures == []


def test_a_bond_that_was_ended_stays_silent(watched, monkeypatch):
    """Without the package bond, a stand-in of its message."""
    from std_msgs.msg import Header

    class Publisher:
        def __init__(self):
            self.sent = []

        def publish(self, status):
            self.sent.append(status.active)

    class Status:
        def __init__(self, **fields):
            self.__dict__.update(fields, header=Header())

    publisher, node = Publisher(), watched.robust_vos
    monkeypatch.setattr(bond, 'Status', Status)
    monkeypatch.setattr(node, 'create_publisher', lambda *_: publisher)
    monkeypatch.setattr(node, 'destroy_publisher', lambda *_: None)
    heartbeat = watched.on_node(lambda: bond.Bond(node))
    watched.wait(lambda: len(publisher.sent) > 2, 'heartbeats')
    watched.on_node(heartbeat.end)
    num_sent = len(publisher.sent)
    assert publisher.sent[-1] is False
    watched.on_node(heartbeat.destroy)
    assert publisher.sent[num_sent:] == [False]  # told again, and no heartbeat in between
