"""Results beside the depth of the same moment: two bounded queues and a rule.

message_filters.ApproximateTimeSynchronizer does nearly this, and was tried. It is not used:

- It throws out the smallest stamp of a full queue, and the queue of depth is full wherever depth
  comes faster than results: after a bag starts again none of 31 pairs was matched.
- An exception in a callback leaves its lock taken for ever.
- It runs the callback in whichever thread comes last, which would be the tracker's.
- It neither counts what it drops nor gives up waiting.
- Results are made here, not received, so nothing would be gained for it.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from typing import Generic, TypeVar

Result = TypeVar('Result')
Depth = TypeVar('Depth')

_JUMP_NS = 1_000_000_000  # a stamp so far before the newest one begins a new time
_RECENT = 30


@dataclasses.dataclass(frozen=True, slots=True)
class MatchCounts:
    """What came of the messages since the matcher was made.

    Attributes:
        results: Offered; matched + without_depth + late + overrun + those that wait.
        matched: Handed out with their depth.
        without_depth: Newer depth came, but none near enough.
        late: None came within the time to wait.
        overrun: Dropped for newer ones because nobody took them, or because time went backwards.
        depths: Offered.
        depths_unused: Left without ever having been handed out.
        recent: Of the newest results that were matched, without depth or late; 30 at most.
        recent_lost: Those of them that were without depth or late.
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
    """Any thread offers, one takes.

    A result gets the depth with the nearest stamp, if that is near enough. It waits for depth that
    may still come: until there is some of its stamp or a later one, or until its time is up.
    Stamps of each side rise; one that falls far back begins a new time and clears its queue.

    Attributes:
        tolerance_ns: Most difference of two stamps; may be changed at any time.
        max_wait_s: For which a result waits at most; likewise.
    """

    def __init__(self, *, tolerance_ns: int, max_wait_s: float, queue_size: int) -> None:
        """Create an open matcher with empty queues.

        Args:
            tolerance_ns: As of the attribute.
            max_wait_s: As of the attribute.
            queue_size: Of each queue.
        """
        self.tolerance_ns = tolerance_ns
        self.max_wait_s = max_wait_s
        self._queue_size = queue_size
        self._results: collections.deque[_Waiting[Result]] = collections.deque()
        self._depths: collections.deque[_Waiting[Depth]] = collections.deque()
        self._counts = collections.Counter[str]()
        self._recent: collections.deque[bool] = collections.deque(maxlen=_RECENT)  # lost?
        self._closed = False
        self._changed = threading.Condition()

    def offer_result(self, stamp_ns: int, result: Result) -> None:
        """Leave a result; the oldest one goes when there are too many."""
        with self._changed:
            self._counts['results'] += 1
            self._counts['overrun'] += self._put(self._results, stamp_ns, result)
            self._changed.notify()

    def offer_depth(self, stamp_ns: int, depth: Depth) -> None:
        """Leave depth; the oldest goes when there is too much."""
        with self._changed:
            self._counts['depths'] += 1
            self._counts['depths_unused'] += self._put(self._depths, stamp_ns, depth)
            self._changed.notify()

    def take(self) -> tuple[Result, Depth] | None:
        """Wait for the next pair; None once the matcher is closed."""
        with self._changed:
            while not self._closed:
                pair = self._match()
                if pair is not None:
                    return pair
                self._changed.wait(self._remaining_s())
            return None

    def close(self) -> None:
        """Wake the one who waits; nothing is handed out any more."""
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
        """Append, and return how many unused ones went."""
        gone = []
        if queue and stamp_ns < queue[-1].stamp_ns - _JUMP_NS:
            gone = list(queue)
            queue.clear()
        queue.append(_Waiting(stamp_ns, item, time.monotonic()))
        if len(queue) > self._queue_size:
            gone.append(queue.popleft())
        return sum(not waiting.used for waiting in gone)

    def _match(self) -> tuple[Result, Depth] | None:
        """Return the first pair that is certain, and drop results that cannot have one."""
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
        """Return for how long the first result may wait; None when there is none."""
        if not self._results:
            return None
        return max(0.0, self._results[0].arrived_s + self.max_wait_s - time.monotonic())
