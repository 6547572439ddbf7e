"""The life cycle of a real node, driven through its lifecycle services over DDS."""

import gc
import threading
import weakref

import pytest

pytest.importorskip('rclpy')
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.parameter import Parameter
from robust_vos.msg import ErrorCode
from robust_vos.srv import AddObjects, ListObjects, RefineObject, RemoveObjects, SegmentOnce
from std_srvs.srv import SetBool, Trigger

from robust_vos_ros.core.errors import RobustVosError

pytestmark = pytest.mark.ros


def change(bench, name):
    transition = Transition(id=getattr(Transition, f'TRANSITION_{name}'))
    return bench.call(ChangeState, '/robust_vos/change_state', transition=transition).success


def state(bench):
    return bench.call(GetState, '/robust_vos/get_state').current_state.label


@pytest.fixture(scope='module')
def managed(make_bench):
    """A node that waits for a lifecycle manager."""
    return make_bench({'autostart': False}, start=False)


def test_the_whole_cycle(managed, helpers):
    bench = managed
    assert state(bench) == 'unconfigured'
    topics = {name for name, _ in bench.node.get_topic_names_and_types()}
    assert '/image' not in topics

    check_not_active(bench, helpers, 'unconfigured')  # a call must not wait for ever

    assert change(bench, 'CONFIGURE')
    assert state(bench) == 'inactive'
    check_not_active(bench, helpers, 'inactive')

    assert change(bench, 'ACTIVATE')
    bench.connect()
    bench.show()
    uuid = bench.add(helpers.make_box_prompt()).objects[0].uuid
    assert [item.uuid for item in bench.show().objects] == [uuid]

    assert change(bench, 'DEACTIVATE')
    bench.wait(lambda: bench.publishers['/image'].get_subscription_count() == 0)
    assert bench.add(helpers.make_box_prompt('b')).error_code == ErrorCode.NOT_ACTIVE

    assert change(bench, 'ACTIVATE')
    bench.wait_for_input()
    # No frame yet since activation: the old newest frame must not take a prompt.
    assert bench.add(helpers.make_box_prompt('b')).error_code == ErrorCode.NO_IMAGE
    kept = bench.show()
    assert [item.uuid for item in kept.objects] == [uuid]
    assert bench.counts.received == 1  # counted since activation

    assert change(bench, 'DEACTIVATE')
    assert change(bench, 'CLEANUP')
    assert state(bench) == 'unconfigured'
    assert bench.pipeline is None
    assert change(bench, 'CONFIGURE')
    assert change(bench, 'ACTIVATE')
    bench.wait_for_input()
    assert bench.show().objects == []
    assert change(bench, 'DEACTIVATE')
    assert change(bench, 'CLEANUP')
    assert bench.failures == []


def check_not_active(bench, helpers, label):
    """Every service answers at once, and says how the node is."""
    prompt = helpers.make_box_prompt()
    for kind, name, fields in (
        (AddObjects, 'add_objects', {'prompts': [prompt]}),
        (RefineObject, 'refine_object', {'prompt': prompt}),
        (RemoveObjects, 'remove_objects', {}),
        (ListObjects, 'list_objects', {}),
        (SegmentOnce, 'segment_once', {'prompts': [prompt]}),
        (Trigger, 'reset', {}),
        (SetBool, 'set_enabled', {'data': False}),
    ):
        answer = bench.call(kind, f'/robust_vos/{name}', **fields)
        assert not answer.success
        text = f'the node is {label}, not active; configure and activate it'
        if hasattr(answer, 'error_code'):
            assert answer.error_code == ErrorCode.NOT_ACTIVE
        else:
            text = f'NOT_ACTIVE: {text}'
        assert answer.message.startswith(text)
    assert bench.robust_vos.get_parameter('enabled').value is True


def test_impossible_transition_is_answered(managed):
    """rclpy raises here, and leaves the caller waiting."""
    assert not change(managed, 'ACTIVATE')
    assert state(managed) == 'unconfigured'
    assert managed.failures == []


def test_cleanup_frees_the_model(managed):
    bench = managed
    assert change(bench, 'CONFIGURE')
    model = weakref.ref(bench.robust_vos._configured.model)
    tracker = weakref.ref(bench.pipeline._tracker)
    assert change(bench, 'ACTIVATE')
    assert change(bench, 'DEACTIVATE')
    assert change(bench, 'CLEANUP')
    gc.collect()
    assert model() is None
    assert tracker() is None


def test_many_activations_leave_nothing_behind(managed):
    bench = managed
    node = bench.robust_vos
    assert change(bench, 'CONFIGURE')
    sizes = []
    for _ in range(10):
        assert change(bench, 'ACTIVATE')
        assert change(bench, 'DEACTIVATE')
        sizes.append(
            tuple(
                len(list(items))
                for items in (node.subscriptions, node.publishers, node.timers, node.services)
            )
        )
    assert len(set(sizes)) == 1
    assert sum(t.name == 'robust_vos worker' for t in threading.enumerate()) == 0
    assert change(bench, 'CLEANUP')


def test_wrong_weights(managed, tmp_path):
    """One clear sentence, in the log and in the diagnostics; then the user repairs it."""
    bench = managed
    reports = bench.listen(DiagnosticArray, '/diagnostics')
    missing = str(tmp_path / 'missing.safetensors')

    def set_checkpoint(path):
        parameters = [Parameter('model.checkpoint', value=path)]
        (result,) = bench.on_node(lambda: bench.robust_vos.set_parameters(parameters))
        assert result.successful, result.reason

    set_checkpoint(missing)
    num_publishers = len(list(bench.robust_vos.publishers))
    assert not change(bench, 'CONFIGURE')
    assert state(bench) == 'unconfigured'
    assert len(list(bench.robust_vos.publishers)) == num_publishers

    def last_report():
        return next((item for report in reports[-1:] for item in report.status), None)

    reports.clear()
    report = bench.wait(last_report, 'diagnostics')
    assert report.level == DiagnosticStatus.ERROR
    assert report.message.startswith('cannot configure: ')
    assert missing in report.message
    answer = bench.call(ListObjects, '/robust_vos/list_objects')
    assert answer.error_code == ErrorCode.NOT_ACTIVE
    assert f'({report.message})' in answer.message
    set_checkpoint('')
    assert change(bench, 'CONFIGURE')
    reports.clear()
    report = bench.wait(last_report, 'diagnostics')
    assert report.level == DiagnosticStatus.OK
    assert report.message == 'inactive, not processing'
    assert change(bench, 'CLEANUP')


def test_deactivation_answers_waiting_requests(managed, helpers):
    bench = managed
    assert change(bench, 'CONFIGURE')
    assert change(bench, 'ACTIVATE')
    entered, leave = threading.Event(), threading.Event()
    lane = bench.pipeline.lane
    lane.submit(lambda: entered.set() or leave.wait(30), bench.server)
    bench.wait(entered.is_set)
    waiting = bench.send(RemoveObjects, '/robust_vos/remove_objects')
    bench.wait(lambda: len(lane._mailbox._urgent) == 1, 'the request to wait')
    for image in range(3):
        lane.offer(image)
    threading.Timer(0.2, leave.set).start()  # the worker ends while deactivation waits for it
    assert change(bench, 'DEACTIVATE')
    bench.wait(waiting.done, 'the answer')
    assert waiting.result().error_code == ErrorCode.NOT_ACTIVE
    assert bench.pipeline.num_dropped == 3  # counted to the end, for what is published last
    assert change(bench, 'CLEANUP')


def test_a_failed_activation_leaves_no_publisher_active(managed, monkeypatch):
    bench, node = managed, managed.robust_vos
    assert change(bench, 'CONFIGURE')
    publishers = node._configured.cameras[0].outputs.publishers._all

    def fail():
        raise RobustVosError('no image topic')

    with monkeypatch.context() as patch:
        patch.setattr(node, '_activate', fail)
        assert not change(bench, 'ACTIVATE')
    assert state(bench) == 'inactive'
    assert not any(publisher.is_activated for publisher in publishers)
    assert change(bench, 'ACTIVATE')
    assert all(publisher.is_activated for publisher in publishers)
    assert change(bench, 'DEACTIVATE')
    assert change(bench, 'CLEANUP')


def test_shutdown_while_active(make_bench):
    bench = make_bench()
    bench.show()
    assert change(bench, 'ACTIVE_SHUTDOWN')
    assert state(bench) == 'finalized'
    assert bench.pipeline is None


def test_a_busy_worker_is_never_doubled(make_bench):
    """Two threads must not own one tracker."""
    bench = make_bench()
    entered, leave = threading.Event(), threading.Event()
    bench.pipeline.lane.submit(lambda: entered.set() or leave.wait(30), bench.server)
    bench.wait(entered.is_set)
    try:
        assert bench.on_node(lambda: bench.robust_vos._deactivate(0.05)) is False
        with pytest.raises(RobustVosError, match='activate again later'):
            bench.robust_vos._configured.pipelines.activate()
    finally:
        leave.set()
    cameras = bench.robust_vos._configured.pipelines
    bench.wait(lambda: cameras._worker.stop(0.0), 'the worker to end')
    cameras.activate()
