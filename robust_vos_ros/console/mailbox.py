"""What waits to be sent to one browser: bounded whatever the browser does."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable
from typing import Any

Note = dict[str, Any]

MAX_EVENTS, MAX_ANSWERS = 32, 32
# Frames on their way: one is shown while the next one travels.
MAX_UNSEEN = 2


class Mailbox:
    """Frames, of which the newest wins, states likewise for each type, events, and answers.

    Of events and answers the oldest get lost when too many wait.
    A frame is only handed out while fewer than MAX_UNSEEN are unseen by the browser: who is slow,
    or hidden, gets fewer frames. Used by one event loop only.

    Attributes:
        num_skipped: Frames that a newer one replaced.
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
        """Things that wait."""
        waiting = len(self._states) + len(self._events) + len(self._answers)
        return waiting + (self._frame is not None)

    def put_frame(self, frame: bytes) -> None:
        """Leave a frame."""
        self.num_skipped += self._frame is not None
        self._frame = frame
        self._changed.set()

    def put_state(self, note: Note) -> None:
        """Leave what holds now; replaces what waits of the same type."""
        self._states[note['type']] = note
        self._changed.set()

    def put_event(self, note: Note) -> None:
        """Leave what happened."""
        self._events.append(note)
        self._changed.set()

    def put_answer(self, note: Note) -> None:
        """Leave the answer of a command."""
        self._answers.append(note)
        self._changed.set()

    def drop_frame(self) -> None:
        """Forget the frame that waits: another camera is shown."""
        self._frame = None

    def seen(self) -> None:
        """The browser has shown a frame."""
        self._num_unseen = max(0, self._num_unseen - 1)
        self._changed.set()

    def take(self) -> Note | bytes | None:
        """Return the next thing to send, answers first and frames last; None = nothing now."""
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
        """Wait for the next thing to send."""
        while (item := self.take()) is None:
            self._changed.clear()
            await self._changed.wait()
        return item


class RateLimit:
    """So many messages per second, and a burst of them at once.

    Args:
        rate_hz: In the long run.
        burst: At once.
        clock: Seconds that only grow.
    """

    def __init__(
        self, rate_hz: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate_hz, self._burst, self._clock = rate_hz, float(burst), clock
        self._left, self._last_s = float(burst), clock()

    def take(self) -> bool:
        """Tell whether one more may pass now."""
        now_s = self._clock()
        self._left = min(self._burst, self._left + (now_s - self._last_s) * self._rate_hz)
        self._last_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
