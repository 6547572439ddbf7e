"""The worker thread: order, errors, waking the executor, stopping."""

import threading

import pytest

pytest.importorskip('rclpy')
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from robust_vos_ros.node.worker import CancelledError, NotActiveError, QueueFullError, Worker

pytestmark = pytest.mark.ros

TIMEOUT_S = 20


@pytest.fixture
def executor():
    context = Context()
    context.init()
    executor = SingleThreadedExecutor(context=context)
    yield executor
    executor.shutdown()
    context.try_shutdown()


class Gate:
    """Lets a test hold the worker inside an item."""

    def __init__(self):
        self.entered, self.leave = threading.Event(), threading.Event()

    def __call__(self, *_):
        self.entered.set()
        assert self.leave.wait(TIMEOUT_S)


def make(process, *, max_requests=8):
    errors = []
    worker = Worker()
    lane = worker.add_lane(process, max_requests=max_requests, on_error=errors.append)
    worker.start()
    return Both(worker, lane), errors


class Both:
    """A worker and its only lane."""

    def __init__(self, worker, lane):
        self.stop, self.thread = worker.stop, worker._thread
        self.offer, self.submit, self.discard = lane.offer, lane.submit, lane.discard


def test_requests_go_first_but_do_not_starve_images(executor):
    order = []
    worker, _ = make(order.append)
    gate = Gate()
    worker.submit(gate, executor)
    assert gate.entered.wait(TIMEOUT_S)
    worker.offer('old image')
    worker.offer('image')
    done = threading.Event()
    worker.submit(lambda: order.append('first'), executor)
    worker.submit(lambda: order.append('second') or done.set(), executor)
    gate.leave.set()
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    # The image had its turn after the request that was running, and then the others went on.
    assert order == ['image', 'first', 'second']


def test_an_error_is_reported_and_the_next_image_processed():
    done = threading.Event()

    def process(image):
        if image == 'bad':
            raise MemoryError('no room')
        done.set()

    worker, errors = make(process)
    worker.offer('bad')
    while not errors:
        assert worker.thread.is_alive()
    worker.offer('good')
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert [str(error) for error in errors] == ['no room']


def test_the_awaiting_coroutine_is_woken(executor):
    """rclpy blocks until something happens; settling a future alone does not wake it."""
    worker, _ = make(lambda _: None)
    gate = Gate()
    answers = []

    async def ask():
        answers.append(await worker.submit(lambda: gate() or 'result', executor).future)

    def fail():
        raise KeyError('inside')

    async def ask_for_failure():
        answers.append(await worker.submit(fail, executor).future)

    task = executor.create_task(ask)
    # The executor sleeps in its wait set when the gate opens.
    threading.Thread(target=lambda: gate.entered.wait(TIMEOUT_S) and gate.leave.set()).start()
    executor.spin_until_future_complete(task, TIMEOUT_S)
    executor.spin_until_future_complete(executor.create_task(ask_for_failure), TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert answers[0] == ('result', None)
    assert isinstance(answers[1][1], KeyError)


def test_full_queue_is_refused(executor):
    worker, _ = make(lambda _: None, max_requests=1)
    gate = Gate()
    worker.submit(gate, executor)
    assert gate.entered.wait(TIMEOUT_S)
    worker.submit(lambda: None, executor)
    with pytest.raises(QueueFullError, match='too many requests'):
        worker.submit(lambda: None, executor)
    gate.leave.set()
    assert worker.stop(TIMEOUT_S)


def test_urgent_requests_go_first_and_may_cancel_those_that_wait(executor):
    order = []
    worker, _ = make(lambda _: None)
    gate = Gate()
    worker.submit(gate, executor)
    assert gate.entered.wait(TIMEOUT_S)
    cancelled = worker.submit(lambda: order.append('cancelled'), executor)
    worker.submit(lambda: order.append('changes nothing'), executor, object_ids=None)
    worker.submit(lambda: order.append('reset'), executor, urgent=True, cancel_waiting=True)
    done = threading.Event()
    worker.submit(lambda: order.append('later') or done.set(), executor)
    worker.submit(lambda: order.append('removal'), executor, urgent=True)
    assert isinstance(cancelled.future.result()[1], CancelledError)
    assert 'was requested' in str(cancelled.future.result()[1])  # it is not done yet
    gate.leave.set()
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert order == ['reset', 'removal', 'changes nothing', 'later']


def test_a_refused_reset_cancels_nothing(executor):
    worker, _ = make(lambda _: None, max_requests=1)
    gate = Gate()
    worker.submit(gate, executor)
    assert gate.entered.wait(TIMEOUT_S)
    done = threading.Event()
    waiting = worker.submit(done.set, executor)
    worker.submit(lambda: None, executor, urgent=True)
    with pytest.raises(QueueFullError):
        worker.submit(lambda: None, executor, urgent=True, cancel_waiting=True)
    assert not waiting.settled
    gate.leave.set()
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)


def test_an_urgent_request_does_not_overtake_one_about_the_same_object(executor):
    order = []
    worker, _ = make(lambda _: None)
    gate = Gate()
    worker.submit(gate, executor)
    assert gate.entered.wait(TIMEOUT_S)
    worker.submit(lambda: order.append('add a, b'), executor, object_ids=['a', 'b'])
    worker.submit(lambda: order.append('once'), executor, object_ids=None)
    worker.submit(lambda: order.append('remove b'), executor, object_ids=['b'], urgent=True)
    worker.submit(lambda: order.append('remove c'), executor, object_ids=['c'], urgent=True)
    done = threading.Event()
    worker.submit(done.set, executor)
    gate.leave.set()
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert order == ['remove c', 'add a, b', 'once', 'remove b']


@pytest.mark.parametrize('urgent', [False, True])
def test_a_discarded_request_leaves_its_place(executor, urgent):
    worker, _ = make(lambda _: None, max_requests=1)
    gate = Gate()
    worker.submit(gate, executor)
    assert gate.entered.wait(TIMEOUT_S)
    worker.discard(worker.submit(lambda: None, executor, urgent=urgent))
    done = threading.Event()
    worker.submit(done.set, executor, urgent=urgent)
    gate.leave.set()
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)


def test_stop_answers_waiting_requests(executor):
    worker, _ = make(lambda _: None)
    gate = Gate()
    running = worker.submit(gate, executor)
    assert gate.entered.wait(TIMEOUT_S)
    waiting = worker.submit(lambda: None, executor)
    assert not worker.stop(0.01)  # still inside the gate
    _, error = waiting.future.result()
    assert isinstance(error, NotActiveError)
    gate.leave.set()
    assert worker.stop(TIMEOUT_S)
    assert running.future.result() == (None, None)


def test_settled_requests_are_not_run(executor):
    worker, _ = make(lambda _: None)
    gate = Gate()
    worker.submit(gate, executor)
    assert gate.entered.wait(TIMEOUT_S)
    ran = []
    request = worker.submit(lambda: ran.append(1), executor)
    request.settle(error=TimeoutError())
    gate.leave.set()
    done = threading.Event()
    worker.submit(done.set, executor)
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert not ran
    assert isinstance(request.future.result()[1], TimeoutError)


def test_stopping_a_worker_that_never_started():
    worker = Worker()
    worker.add_lane(lambda _: None, max_requests=1, on_error=lambda _: None)
    assert worker.stop(1.0)


def test_lanes_take_turns_of_one_request_and_one_image(executor):
    """So no camera starves another one, whatever it is asked."""
    order = []
    worker = Worker()
    busy, quiet = (
        worker.add_lane(
            lambda image, name=name: order.append(f'{name} {image}'),
            max_requests=8,
            on_error=order.append,
        )
        for name in ('busy', 'quiet')
    )
    done = threading.Event()
    for number in range(3):
        busy.submit(lambda number=number: order.append(f'busy request {number}'), executor)
        busy.offer(f'image {number}')
    quiet.submit(lambda: order.append('quiet request'), executor)
    quiet.offer('image')
    busy.submit(done.set, executor)
    worker.start()
    assert done.wait(TIMEOUT_S)
    assert worker.stop(TIMEOUT_S)
    assert order == [
        'busy request 0',
        'busy image 2',  # the newest
        'quiet request',
        'quiet image',
        'busy request 1',
        'busy request 2',
    ]
