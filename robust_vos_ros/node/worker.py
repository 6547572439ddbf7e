"""The worker thread, which owns the trackers and the device, and its lanes, one per camera."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from rclpy.executors import Executor
from rclpy.task import Future

from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.node.mailbox import Mailbox, MailboxCounts
from robust_vos_ros.node.threads import make_condition, make_lock


class NotActiveError(RobustVosError):
    """The node is not active, or was deactivated while the request waited."""


class QueueFullError(RobustVosError):
    """Too many requests are waiting."""


class RequestTimeoutError(RobustVosError):
    """The worker did not answer in time."""


class CancelledError(RobustVosError):
    """A reset or removal of all objects cancelled the request while it waited."""


class Request:
    """A call to run on the worker thread, and the future that a coroutine awaits.

    The future's result is the pair (result, error), one of which is None.

    Attributes:
        object_ids: Ids of the objects that it changes, as far as it names them; None = it changes
            none.
    """

    def __init__(
        self, call: Callable[[], Any], executor: Executor, object_ids: Collection[str] | None = ()
    ) -> None:
        """Wrap a call; `executor` runs the callback that awaits the future."""
        self.call = call
        self.object_ids = None if object_ids is None else frozenset(object_ids)
        self.future = Future(executor=executor)
        self._executor = executor
        self._lock = make_lock('request')
        self._settled = False

    @property
    def settled(self) -> bool:
        """Whether there is a result."""
        return self._settled

    def settle(self, result: Any = None, error: Exception | None = None) -> None:
        """Set the result, unless there is one; thread-safe."""
        with self._lock:
            if self._settled:
                return
            self._settled = True
        self.future.set_result((result, error))
        # rclpy resumes a waiting coroutine only when the executor has other work.
        self._executor.wake()


@dataclasses.dataclass(frozen=True, slots=True)
class Busy:
    """The frame or request that the worker is busy with.

    Attributes:
        what: `frame` or `request`.
        name: Of this one, unique in the process.
        since_s: Time since it began.
    """

    what: str
    name: str
    since_s: float


_numbers = itertools.count()


class Lane:
    """The waiting requests and the waiting image of one camera, for the worker's thread."""

    def __init__(
        self,
        process: Callable[[Any], None],
        *,
        max_requests: int,
        on_error: Callable[[Exception], None],
        changed: threading.Condition,
    ) -> None:
        """Create an open, empty lane; use `Worker.add_lane`.

        Args:
            process: Called with each image.
            max_requests: Maximum number of waiting requests.
            on_error: Called with exceptions of `process`.
            changed: Notified when an item waits.
        """
        self._process = process
        self._on_error = on_error
        self._mailbox: Mailbox[Any, Request] = Mailbox(max_requests, changed)
        self._busy: tuple[str, str, float] | None = None  # what, name, since time.monotonic()

    def offer(self, image: Any) -> None:
        """Offer an image; it replaces a waiting one."""
        self._mailbox.offer_image(image)

    def submit(
        self,
        call: Callable[[], Any],
        executor: Executor,
        *,
        object_ids: Collection[str] | None = (),
        urgent: bool = False,
        cancel_waiting: bool = False,
    ) -> Request:
        """Queue a call.

        Args:
            call: What to run.
            executor: Runs the callback that awaits the answer.
            object_ids: Ids of the objects that it changes, as far as it names them; None = it
                changes none.
            urgent: Run before all calls that are not urgent, unless one of them changes an object
                of the same id.
            cancel_waiting: Urgent, and waiting calls that change objects get a CancelledError.

        Raises:
            QueueFullError: Too many calls are waiting; none of them is cancelled.
        """
        request = Request(call, executor, object_ids)
        if cancel_waiting:
            cancelled = self._mailbox.offer_in_place_of(
                request, lambda waiting: waiting.object_ids is not None
            )
        else:
            urgent = urgent and self._is_first(request)
            cancelled = [] if self._mailbox.offer_request(request, urgent=urgent) else None
        if cancelled is None:
            raise QueueFullError(
                'too many requests are waiting; wait for an answer before sending the next, or '
                'raise max_pending_requests'
            )
        for waiting in cancelled:
            waiting.settle(
                error=CancelledError(
                    'cancelled: a reset or the removal of all objects was requested while '
                    'this request waited; send it again if it is still needed'
                )
            )
        return request

    def discard(self, request: Request) -> None:
        """Withdraw a request that nobody awaits any more, unless it already runs."""
        self._mailbox.discard(request)

    def _is_first(self, request: Request) -> bool:
        """Whether no waiting request changes an object of the same id."""
        ids = request.object_ids or frozenset()
        return not self._mailbox.is_waiting(lambda item: not ids.isdisjoint(item.object_ids or ()))

    def process_waiting_image(self) -> None:
        """Process the waiting image now, if any; for calls that run on the worker thread."""
        image = self._mailbox.take_image()
        if image is not None:
            self._guard(lambda: self._process(image))

    @property
    def busy(self) -> Busy | None:
        """What the worker is busy with; None while it waits."""
        busy = self._busy
        return None if busy is None else Busy(*busy[:2], time.monotonic() - busy[2])

    @property
    def counts(self) -> MailboxCounts:
        """Counts of images since the start."""
        return self._mailbox.counts

    @property
    def is_waiting(self) -> bool:
        """Whether an image or request waits."""
        return self._mailbox.is_filled

    def work(self) -> None:
        """Run the next request and process the waiting image; for the worker's thread."""
        request = self._mailbox.take_request()
        if request is not None:
            self._begin('request')
            self._serve(request)
        self._begin('frame')
        self.process_waiting_image()
        self._busy = None

    def _begin(self, what: str) -> None:
        self._busy = (what, f'{what} {next(_numbers)}', time.monotonic())

    def close(self) -> None:
        """Refuse everything from now on; waiting requests get a NotActiveError."""
        for request in self._mailbox.close():
            request.settle(error=NotActiveError('the node was deactivated'))

    def _serve(self, request: Request) -> None:
        if request.settled:  # timed out while waiting
            return
        try:
            request.settle(result=request.call())
        except Exception as error:  # any, so that the caller gets a response
            request.settle(error=error)

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # a bad frame must not end the thread
            self._on_error(error)


class Worker:
    """The thread that owns the trackers and the device. It serves the lanes in turn.

    A lane's turn is one request, urgent ones first, and then its newest image. So requests do not
    starve images, nor images requests, and no camera starves another one: an image waits for what
    runs when it arrives, for one turn of each other lane, and for one request of its own.
    Exceptions are reported and do not end the thread.
    """

    def __init__(self) -> None:
        """Create a stopped worker without lanes."""
        self._lanes: list[Lane] = []
        self._changed = make_condition('mailbox')
        self._closed = False
        # A daemon thread: the process must be able to end while the device hangs.
        self._thread = threading.Thread(target=self._run, name='robust_vos worker', daemon=True)

    def add_lane(
        self,
        process: Callable[[Any], None],
        *,
        max_requests: int,
        on_error: Callable[[Exception], None],
    ) -> Lane:
        """Add a lane, see `Lane`; only before `start`."""
        lane = Lane(process, max_requests=max_requests, on_error=on_error, changed=self._changed)
        self._lanes.append(lane)
        return lane

    def start(self) -> None:
        """Start the thread; call once."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Finish the current item, answer waiting requests with NotActiveError, end the thread.

        Returns:
            False if the current item did not end within `timeout_s`.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            lane.close()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            for lane in self._lanes:
                if self._closed:
                    return
                lane.work()
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or any(lane.is_waiting for lane in self._lanes)
                )
