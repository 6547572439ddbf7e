"""A frame that does not end: reported with its stacks, and acted upon."""

import threading

import pytest

pytest.importorskip('rclpy')
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter

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
    watchdog = bench.robust_vos._watchdog
    monkeypatch.setitem(watchdog._actions, 'exit', ended.set)
    assert set_parameters(bench, after_s=0.2, action='exit').successful
    with Stuck(bench, helpers):
        bench.wait(ended.is_set, 'the end of the process')
    assert 'in hang' in capfd.readouterr().err
    assert set_parameters(bench, action='report').successful
    bench.show()


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
