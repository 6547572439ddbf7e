"""Pair results with the depth nearest in time: two bounded queues.

message_filters.ApproximateTimeSynchronizer was tried and is not used:

- It drops the smallest stamp of a full queue, and the depth queue is full if depth is faster than
  results: after a bag restarted, none of 31 pairs was matched.
- After an exception in a callback its lock stays locked.
- It runs the callback in the thread of the last message, which would be the tracker's.
- It neither counts dropped messages nor has a timeout.
- Results are not received messages, for which it is made.
"""

from __future__ import annotations

import collections
import dataclasses
import time
from typing import Generic, TypeVar

from robust_vos_ros.node.threads import make_condition

Result = TypeVar('Result')
Depth = TypeVar('Depth')

_JUMP_NS = 1_000_000_000  # a larger backward step of stamps is a time jump
_RECENT = 30


@dataclasses.dataclass(frozen=True, slots=True)
class MatchCounts:
    """Counts since the matcher was created.

    Attributes:
        results: Offered results: matched + without_depth + late + overrun + waiting ones.
        matched: Returned with their depth.
        without_depth: Newer depth arrived, but none within the tolerance.
        late: No depth arrived within `max_wait_s`.
        overrun: Dropped because the queue was full, or because time went backwards.
        depths: Offered depth.
        depths_unused: Depth dropped without being returned.
        recent: Number of newest decided results (matched, without_depth or late), at most 30.
        recent_lost: Of these, the number without depth or late.
    """

    results: int = 0
    matched: int = 0
    without_depth: int = 0
    late: int = 0
    overrun: int = 0
    depths: int = 0
    depths_unused: int = 0
    recent: int = 0
    recent_lost: int = 0


@dataclasses.dataclass(slots=True)
class _Waiting(Generic[Result]):
    stamp_ns: int
    item: Result
    arrived_s: float
    used: bool = False


class DepthMatcher(Generic[Result, Depth]):
    """Pairs results with depth; any thread may offer, one takes.

    A result gets the depth with the nearest stamp within the tolerance. It waits until depth of
    its stamp or newer has arrived, or for `max_wait_s`. Stamps of each queue must increase; a time
    jump backwards clears the queue.

    Attributes:
        tolerance_ns: Maximum difference of the stamps; may change at any time.
        max_wait_s: Maximum time for which a result waits; may change at any time.
    """

    def __init__(self, *, tolerance_ns: int, max_wait_s: float, queue_size: int) -> None:
        """Create a matcher with empty queues.

        Args:
            tolerance_ns: As of the attribute.
            max_wait_s: As of the attribute.
            queue_size: Maximum length of each queue.
        """
        self.tolerance_ns = tolerance_ns
        self.max_wait_s = max_wait_s
        self._queue_size = queue_size
        self._results: collections.deque[_Waiting[Result]] = collections.deque()
        self._depths: collections.deque[_Waiting[Depth]] = collections.deque()
        self._counts = collections.Counter[str]()
        # True for a result without depth or late.
        self._recent: collections.deque[bool] = collections.deque(maxlen=_RECENT)
        self._closed = False
        self._changed = make_condition('depth matcher')

    def offer_result(self, stamp_ns: int, result: Result) -> None:
        """Queue a result; a full queue drops its oldest one."""
        with self._changed:
            self._counts['results'] += 1
            self._counts['overrun'] += self._put(self._results, stamp_ns, result)
            self._changed.notify()

    def offer_depth(self, stamp_ns: int, depth: Depth) -> None:
        """Queue depth; a full queue drops its oldest one."""
        with self._changed:
            self._counts['depths'] += 1
            self._counts['depths_unused'] += self._put(self._depths, stamp_ns, depth)
            self._changed.notify()

    def take(self) -> tuple[Result, Depth] | None:
        """Wait for the next pair; None if the matcher is closed."""
        with self._changed:
            while not self._closed:
                pair = self._match()
                if pair is not None:
                    return pair
                self._changed.wait(self._remaining_s())
            return None

    def close(self) -> None:
        """Close the matcher: `take` returns None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def counts(self) -> MatchCounts:
        """A consistent snapshot."""
        with self._changed:
            recent = {'recent': len(self._recent), 'recent_lost': sum(self._recent)}
            return MatchCounts(**self._counts, **recent)

    def _put(self, queue: collections.deque[_Waiting], stamp_ns: int, item: object) -> int:
        """Append an item; returns the number of unused items dropped."""
        gone = []
        if queue and stamp_ns < queue[-1].stamp_ns - _JUMP_NS:
            gone = list(queue)
            queue.clear()
        queue.append(_Waiting(stamp_ns, item, time.monotonic()))
        if len(queue) > self._queue_size:
            gone.append(queue.popleft())
        return sum(not waiting.used for waiting in gone)

    def _match(self) -> tuple[Result, Depth] | None:
        """Return the first decided pair; drops results that have no matching depth."""
        while self._results:
            first = self._results[0]
            best = min(
                self._depths, key=lambda item: abs(item.stamp_ns - first.stamp_ns), default=None
            )
            expired = self._remaining_s() == 0
            passed = any(item.stamp_ns >= first.stamp_ns for item in self._depths)
            if not passed and not expired:
                return None
            self._results.popleft()
            if best is not None and abs(best.stamp_ns - first.stamp_ns) <= self.tolerance_ns:
                best.used = True
                self._counts['matched'] += 1
                self._recent.append(False)
                return first.item, best.item
            self._counts['without_depth' if passed else 'late'] += 1
            self._recent.append(True)
        return None

    def _remaining_s(self) -> float | None:
        """Return how long the first result may still wait; None without results."""
        if not self._results:
            return None
        return max(0.0, self._results[0].arrived_s + self.max_wait_s - time.monotonic())
