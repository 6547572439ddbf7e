"""Run work in other threads, in order, with bounded queues."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Generic, TypeVar

T = TypeVar('T')
_POLL_S = 0.1  # interval at which a waiting thread checks whether it must stop
_END = object()


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Yield the items of an iterable that another thread reads, up to `depth` items ahead.

    An exception of the iterable is raised in place of its item. Closing the generator ends the
    thread.
    """
    ready: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def run() -> None:
        try:
            for item in items:
                if not _put(ready, (item, None), stop):
                    return
        except BaseException as error:
            _put(ready, (_END, error), stop)
        else:
            _put(ready, (_END, None), stop)

    thread = threading.Thread(target=run, name='prefetch', daemon=True)
    thread.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        thread.join()


def _put(target: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            target.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return True
    return False


class Background(Generic[T]):
    """Pass items to a function that runs in another thread; use it as a context manager.

    Args:
        consume: Called with each item, in order.
        depth: Most items that wait.
    """

    def __init__(self, consume: Callable[[T], None], depth: int) -> None:
        self._consume = consume
        self._waiting: queue.Queue[Any] = queue.Queue(depth)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name='background', daemon=True)

    def __enter__(self) -> Background[T]:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Process the waiting items, or drop them after an error; raise an error of `consume`."""
        if error is None:
            _put(self._waiting, _END, self._stop)
        else:
            self._stop.set()
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def put(self, item: T) -> None:
        """Pass an item; block while `depth` items wait.

        Raises:
            BaseException: Whatever `consume` raised.
        """
        if not _put(self._waiting, item, self._stop):
            assert self._error is not None
            raise self._error

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                item = self._waiting.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if item is _END:
                return
            try:
                self._consume(item)
            except BaseException as error:
                self._error = error
                self._stop.set()
