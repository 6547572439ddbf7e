"""Bounded queue of messages to one browser."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable
from typing import Any

Note = dict[str, Any]

MAX_EVENTS, MAX_ANSWERS = 32, 32
# Maximum number of frames in flight: one is shown while the next is transferred.
MAX_UNSEEN = 2


class Mailbox:
    """Keeps the newest frame, the newest state of each type, and queues of events and answers.

    Full queues drop their oldest items. A frame is only returned while fewer than MAX_UNSEEN are
    unacknowledged, so that a slow or hidden page gets fewer frames. Used by one event loop only.

    Attributes:
        num_skipped: Number of frames replaced by newer ones.
    """

    def __init__(self) -> None:
        self.num_skipped = 0
        self._frame: bytes | None = None
        self._states: dict[str, Note] = {}
        self._events: collections.deque[Note] = collections.deque(maxlen=MAX_EVENTS)
        self._answers: collections.deque[Note] = collections.deque(maxlen=MAX_ANSWERS)
        self._num_unseen = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Number of waiting items."""
        waiting = len(self._states) + len(self._events) + len(self._answers)
        return waiting + (self._frame is not None)

    def put_frame(self, frame: bytes) -> None:
        """Leave a frame."""
        self.num_skipped += self._frame is not None
        self._frame = frame
        self._changed.set()

    def put_state(self, note: Note) -> None:
        """Put a state; replaces a waiting one of the same type."""
        self._states[note['type']] = note
        self._changed.set()

    def put_event(self, note: Note) -> None:
        """Put an event."""
        self._events.append(note)
        self._changed.set()

    def put_answer(self, note: Note) -> None:
        """Put the answer to a command."""
        self._answers.append(note)
        self._changed.set()

    def drop_frame(self) -> None:
        """Drop the waiting frame, because another camera is shown."""
        self._frame = None

    def seen(self) -> None:
        """Count a frame that the browser acknowledged."""
        self._num_unseen = max(0, self._num_unseen - 1)
        self._changed.set()

    def take(self) -> Note | bytes | None:
        """Return the next item to send, answers first and frames last; None if none is ready."""
        if self._answers:
            return self._answers.popleft()
        if self._states:
            return self._states.pop(next(iter(self._states)))
        if self._events:
            return self._events.popleft()
        if self._frame is None or self._num_unseen >= MAX_UNSEEN:
            return None
        frame, self._frame = self._frame, None
        self._num_unseen += 1
        return frame

    async def get(self) -> Note | bytes:
        """Wait for the next item to send."""
        while (item := self.take()) is None:
            self._changed.clear()
            await self._changed.wait()
        return item


class RateLimit:
    """A token bucket that limits messages per second.

    Args:
        rate_hz: Average rate.
        burst: Maximum number at once.
        clock: Returns monotonic time in seconds.
    """

    def __init__(
        self, rate_hz: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate_hz, self._burst, self._clock = rate_hz, float(burst), clock
        self._left, self._last_s = float(burst), clock()

    def take(self) -> bool:
        """Return whether one more message may pass now."""
        now_s = self._clock()
        self._left = min(self._burst, self._left + (now_s - self._last_s) * self._rate_hz)
        self._last_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
