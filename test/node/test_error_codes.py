"""Every ErrorCode, provoked through the services of a running node, with its sentence."""

import threading

import pytest

pytest.importorskip('rclpy')
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from robust_vos.msg import ErrorCode
from robust_vos.srv import AddObjects, ListObjects, RefineObject, RemoveObjects, SegmentOnce
from std_msgs.msg import Header

from robust_vos_ros.core.tracker import VideoTracker

pytestmark = pytest.mark.ros
NAMES = [name for name in dir(ErrorCode) if name[0].isupper() and name != 'SLOT_TYPES']


@pytest.fixture(scope='module')
def node(make_bench):
    return make_bench({'tracking.max_objects': 2, 'max_pending_requests': 1})


def stamped(stamp_ns):
    header = Header()
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, 10**9)
    return header


def add(bench, helpers, object_id='new', offset_ns=None):
    """Add an object, on the image whose stamp is so far from the newest one."""
    stamp = 0 if offset_ns is None else bench.stamp + offset_ns
    return bench.add(helpers.make_box_prompt(object_id), stamp=stamp)


def no_image(bench, helpers):
    change(bench, 'DEACTIVATE')
    change(bench, 'ACTIVATE')
    answer = add(bench, helpers)
    bench.wait_for_input()
    return answer


def change(bench, name):
    transition = Transition(id=getattr(Transition, f'TRANSITION_{name}'))
    assert bench.call(ChangeState, '/robust_vos/change_state', transition=transition).success


def not_active(bench, helpers):
    change(bench, 'DEACTIVATE')
    answer = bench.call(ListObjects, '/robust_vos/list_objects')
    change(bench, 'ACTIVATE')
    bench.wait_for_input()
    return answer


def internal(bench, helpers):
    """An error in the engine that nobody foresaw."""

    def fail(*_, **__):
        raise ZeroDivisionError('inside the engine')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VideoTracker, 'add', fail)
        return add(bench, helpers)


def behind(bench, send):
    """Hold the worker, and return the answers of requests that are sent meanwhile."""
    entered, leave = threading.Event(), threading.Event()
    worker = bench.pipeline.lane
    worker.submit(lambda: entered.set() or leave.wait(30), bench.server)
    bench.wait(entered.is_set)
    try:
        futures = send(worker._mailbox)
        bench.wait(futures[-1].done, 'the answer')
    finally:
        leave.set()
    bench.wait(lambda: all(future.done() for future in futures), 'all answers')
    return futures[-1].result()


def timeout(bench, helpers):
    def limit(seconds):
        parameters = [Parameter('prompt_timeout_s', value=seconds)]
        (result,) = bench.on_node(lambda: bench.robust_vos.set_parameters(parameters))
        assert result.successful

    limit(0.1)
    try:
        return behind(bench, lambda _: [send_add(bench, helpers)])
    finally:
        limit(10.0)


def send_add(bench, helpers):
    prompts = [helpers.make_box_prompt('late')]
    return bench.send(AddObjects, '/robust_vos/add_objects', prompts=prompts)


def queue_full(bench, helpers):
    def send(mailbox):
        first = send_add(bench, helpers)
        bench.wait(lambda: len(mailbox._requests) == 1, 'the request to wait')
        return [first, send_add(bench, helpers)]

    return behind(bench, send)


def cancelled(bench, helpers):
    def send(mailbox):
        waiting = send_add(bench, helpers)
        bench.wait(lambda: len(mailbox._requests) == 1, 'the request to wait')
        return [bench.send(RemoveObjects, '/robust_vos/remove_objects'), waiting]

    return behind(bench, send)


def capacity(bench, helpers):
    assert add(bench, helpers, 'second').success
    answer = add(bench, helpers, 'third')
    bench.call(RemoveObjects, '/robust_vos/remove_objects', object_ids=['second'])
    return answer


# One way into each code; the sentence says what was expected or what to do.
TABLE = [
    ('OK', lambda bench, helpers: bench.call(ListObjects, '/robust_vos/list_objects'),
     '1 objects'),
    ('NO_IMAGE', no_image, 'no image has been processed since activation; check the topic'),
    ('STAMP_TOO_OLD', lambda bench, helpers: add(bench, helpers, offset_ns=-10**12),
     'the buffer holds'),
    ('STAMP_IN_FUTURE', lambda bench, helpers: add(bench, helpers, offset_ns=10**12),
     'the buffer holds'),
    ('STAMP_UNKNOWN', lambda bench, helpers: add(bench, helpers, offset_ns=-1),
     'the buffer holds'),
    ('DUPLICATE_ID', lambda bench, helpers: add(bench, helpers, 'disc'), "'disc'"),
    ('UNKNOWN_ID', lambda bench, helpers: bench.call(
        RefineObject, '/robust_vos/refine_object', prompt=helpers.make_box_prompt('nobody')),
     "'nobody'"),
    ('CAPACITY', capacity, 'max_objects'),
    ('BAD_PROMPT', lambda bench, helpers: bench.call(
        SegmentOnce, '/robust_vos/segment_once', prompts=[helpers.make_box_prompt('')]),
     'a prompt needs a non-empty object_id'),
    ('QUEUE_FULL', queue_full, 'raise max_pending_requests'),
    ('NOT_ACTIVE', not_active, 'the node is inactive, not active; configure and activate it'),
    ('TIMEOUT', timeout, 'no answer within 0.1 s'),
    ('INTERNAL', internal, 'unexpected ZeroDivisionError: inside the engine'),
    ('CANCELLED', cancelled, 'send it again if it is still needed'),
]  # fmt: skip


def test_the_table_has_every_code():
    assert sorted(name for name, *_ in TABLE) == sorted(NAMES)


@pytest.mark.parametrize(('name', 'provoke', 'words'), TABLE, ids=[row[0] for row in TABLE])
def test_each_code_is_provoked(node, helpers, name, provoke, words):
    bench = node
    bench.fresh()
    bench.show()
    assert add(bench, helpers, 'disc').success
    bench.show()
    answer = provoke(bench, helpers)
    assert answer.error_code == getattr(ErrorCode, name), answer.message
    assert answer.success == (name == 'OK')
    assert words in answer.message
    assert bench.show() is not None  # the node goes on
    assert bench.failures == []
