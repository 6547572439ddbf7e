"""Checks of threads while debugging: who owns an object, and in which order locks are taken.

They are on with the environment variable ROBUST_VOS_DEBUG=1 and cost nothing without it.
"""

from __future__ import annotations

import os
import threading
from typing import Any

# A thread that holds a lock may only take one further right. Today no two are held at once.
ORDER = (
    'depth matcher', 'mailbox', 'state file', 'camera infos', 'request', 'detector statistics',
    'statistics',
)  # fmt: skip
_held = threading.local()


def debugging() -> bool:
    """Whether the checks are on."""
    return os.environ.get('ROBUST_VOS_DEBUG') == '1'


def make_lock(name: str, *, reentrant: bool = False) -> Any:
    """Return a lock, which asserts its place in `ORDER` while debugging.

    Args:
        name: One of `ORDER`.
        reentrant: Whether its thread may take it again.
    """
    lock = threading.RLock() if reentrant else threading.Lock()
    return _OrderedLock(name, lock) if debugging() else lock


def make_condition(name: str) -> threading.Condition:
    """Return a condition on a reentrant lock of `make_lock`."""
    return threading.Condition(make_lock(name, reentrant=True))


class _OrderedLock:
    """A lock that raises AssertionError if it is taken out of order."""

    def __init__(self, name: str, lock: Any) -> None:
        self.name, self.rank, self._lock = name, ORDER.index(name), lock

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        held = self._others()
        highest = max(held, key=lambda item: item.rank, default=None)
        assert highest is None or highest.rank < self.rank, (
            f'lock {self.name!r} is taken while {highest.name!r} is held; the order is {ORDER}'
        )
        taken = self._lock.acquire(blocking, timeout)
        if taken:
            _stack().append(self)
        return bool(taken)

    def release(self) -> None:
        _stack().remove(self)
        self._lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def _others(self) -> list[_OrderedLock]:
        return [item for item in _stack() if item is not self]

    # What a Condition asks of its lock, to give it away while it waits.
    def _is_owned(self) -> bool:
        return self in _stack()

    def _release_save(self) -> Any:
        times = _stack().count(self)
        for _ in range(times):
            _stack().remove(self)
        return times, self._lock._release_save()  # noqa: SLF001  as threading.Condition does

    def _acquire_restore(self, state: Any) -> None:
        times, inner = state
        self._lock._acquire_restore(inner)  # noqa: SLF001  as above
        _stack().extend([self] * times)


def _stack() -> list[_OrderedLock]:
    """Return the locks that this thread holds, in the order in which it took them."""
    if not hasattr(_held, 'locks'):
        _held.locks = []
    held: list[_OrderedLock] = _held.locks
    return held


class Owner:
    """The thread that may use an object: the first one that uses it after `release`."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def release(self) -> None:
        """Let the next thread own the object."""
        self._thread = None

    def check(self, what: str) -> None:
        """Raise AssertionError if another thread owns the object."""
        thread = threading.current_thread()
        if self._thread is None:
            self._thread = thread
        assert thread is self._thread, (
            f'{what} is used by {thread.name!r}, but {self._thread.name!r} owns it'
        )


class _Owned:
    """Passes every access to an object, after a check of the thread."""

    def __init__(self, target: Any, owner: Owner, shared: frozenset[str]) -> None:
        object.__setattr__(self, '_of', (target, owner, shared))

    def __getattr__(self, name: str) -> Any:
        target, owner, shared = object.__getattribute__(self, '_of')
        if name not in shared:
            owner.check(f'{type(target).__name__}.{name}')
        return getattr(target, name)

    def __setattr__(self, name: str, value: Any) -> None:
        target, owner, _ = object.__getattribute__(self, '_of')
        owner.check(f'{type(target).__name__}.{name}')
        setattr(target, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(object.__getattribute__(self, '_of')[0], name)


def owned(target: Any, owner: Owner, *, shared: frozenset[str] = frozenset()) -> Any:
    """Return an object, which asserts its owner at every access while debugging.

    Args:
        target: The object.
        owner: Knows the thread.
        shared: Attributes that any thread may read.
    """
    return _Owned(target, owner, shared) if debugging() else target
