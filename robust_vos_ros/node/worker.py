"""The one thread that owns the tracker and the device."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any

from rclpy.executors import Executor
from rclpy.task import Future

from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.node.mailbox import Mailbox, MailboxCounts


class NotActiveError(RobustVosError):
    """The node is not active, or stopped being active while the request waited."""


class QueueFullError(RobustVosError):
    """Too many requests are waiting already."""


class RequestTimeoutError(RobustVosError):
    """The worker did not answer in time."""


class CancelledError(RobustVosError):
    """A reset that was asked for made the request pointless while it waited."""


class Request:
    """A call to run on the worker thread, and the future that an `async` callback awaits.

    The future's result is the pair (result, error), one of which is None.

    Attributes:
        object_ids: Of the objects that it changes, as far as it names them; None = it changes
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
        self._lock = threading.Lock()
        self._settled = False

    @property
    def settled(self) -> bool:
        """Whether there is an answer already."""
        return self._settled

    def settle(self, result: Any = None, error: Exception | None = None) -> None:
        """Answer, unless somebody did before; safe from any thread."""
        with self._lock:
            if self._settled:
                return
            self._settled = True
        self.future.set_result((result, error))
        # rclpy resumes a waiting coroutine only when the executor does something else.
        self._executor.wake()


class Worker:
    """Runs requests and images one after the other: urgent requests, others, the newest image.

    After every request the newest image gets its turn, so requests cannot starve the images. An
    exception of either is reported and ends nothing.
    """

    def __init__(
        self,
        process: Callable[[Any], None],
        *,
        max_requests: int,
        on_error: Callable[[Exception], None],
    ) -> None:
        """Create a stopped worker.

        Args:
            process: Called with each image.
            max_requests: Requests that may wait.
            on_error: Called with whatever `process` raises.
        """
        self._process = process
        self._on_error = on_error
        self._mailbox: Mailbox[Any, Request] = Mailbox(max_requests)
        # A daemon: the process must be able to end while the device hangs.
        self._thread = threading.Thread(target=self._run, name='robust_vos worker', daemon=True)

    def start(self) -> None:
        """Start the thread; once only."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Finish the current item, answer waiting requests with NotActiveError, end the thread.

        Returns:
            False when the current item did not end within `timeout_s`.
        """
        for request in self._mailbox.close():
            request.settle(error=NotActiveError('the node was deactivated'))
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def offer(self, image: Any) -> None:
        """Hand over an image; it replaces one that still waits."""
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
            object_ids: Of the objects that it changes, as far as it names them; None = it changes
                none.
            urgent: Go before all calls that are not urgent, unless one of them changes an object
                of the same id.
            cancel_waiting: Urgent, and those that wait and change objects get a CancelledError.

        Raises:
            QueueFullError: Too many are waiting; none of them is cancelled.
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
                    'not done: a reset or the removal of all objects was asked for while the '
                    'request waited; send it again if it is still meant'
                )
            )
        return request

    def discard(self, request: Request) -> None:
        """Take back a request that nobody waits for any more, unless it runs already."""
        self._mailbox.discard(request)

    def _is_first(self, request: Request) -> bool:
        """Tell whether no request that waits changes an object of the same id."""
        ids = request.object_ids or frozenset()
        return not self._mailbox.is_waiting(lambda item: not ids.isdisjoint(item.object_ids or ()))

    def process_waiting_image(self) -> None:
        """Process the waiting image now, if any; for calls running on the worker thread."""
        image = self._mailbox.take_image()
        if image is not None:
            self._guard(lambda: self._process(image))

    @property
    def counts(self) -> MailboxCounts:
        """Images offered, taken, dropped and pending since the start."""
        return self._mailbox.counts

    def _run(self) -> None:
        while self._mailbox.wait():
            request = self._mailbox.take_request()
            if request is not None:
                self._serve(request)
            self.process_waiting_image()

    def _serve(self, request: Request) -> None:
        if request.settled:  # timed out while it waited
            return
        try:
            request.settle(result=request.call())
        except Exception as error:  # anything, so that the caller gets an answer
            request.settle(error=error)

    def _guard(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # one bad frame must not end the thread
            self._on_error(error)
