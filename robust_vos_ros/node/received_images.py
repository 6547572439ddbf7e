"""Received images to which a prompt with a past stamp may refer.

All received images, also those that were not tracked, undecoded and in full size, found by their
exact stamp. `core/frames.py` holds the network's inputs of the tracked frames, through which a
prompted object is then tracked forward.
"""

from __future__ import annotations

import collections
from typing import Any

from robust_vos_ros.core.errors import (
    NoFrameError,
    StampInFutureError,
    StampTooOldError,
    StampUnknownError,
    advise_too_old,
)
from robust_vos_ros.ros_types.images import NS_PER_S, stamp_to_ns


class ReceivedImages:
    """Image messages of the last seconds, oldest first, bounded in time and bytes.

    A message is decoded only if a prompt refers to it. The newest one is always kept. Used by one
    thread only.
    """

    def __init__(self, *, max_age_s: float, max_bytes: int) -> None:
        """Create an empty buffer."""
        self._max_age_ns = int(max_age_s * NS_PER_S)
        self._max_bytes = max_bytes
        self._messages: collections.deque[tuple[int, Any]] = collections.deque()
        self._bytes = 0
        self._outgrown_ns: int | None = None  # newest stamp dropped because of max_bytes

    def __len__(self) -> int:
        """Number of messages held."""
        return len(self._messages)

    @property
    def num_bytes(self) -> int:
        """Size of the image data held."""
        return self._bytes

    def append(self, msg: Any) -> None:
        """Add the newest message; drop the oldest ones beyond the bounds."""
        stamp_ns = stamp_to_ns(msg.header.stamp)
        self._messages.append((stamp_ns, msg))
        self._bytes += len(msg.data)
        while len(self._messages) > 1 and (
            self._bytes > self._max_bytes or stamp_ns - self._messages[0][0] > self._max_age_ns
        ):
            dropped_ns, dropped = self._messages.popleft()
            self._bytes -= len(dropped.data)
            if stamp_ns - dropped_ns <= self._max_age_ns:
                self._outgrown_ns = dropped_ns

    def clear(self) -> None:
        """Drop all messages."""
        self._messages.clear()
        self._bytes = 0
        self._outgrown_ns = None

    def newest(self) -> Any:
        """Return the newest message.

        Raises:
            NoFrameError: The buffer is empty.
        """
        if not self._messages:
            raise NoFrameError('no image has been received yet; check the image topic')
        return self._messages[-1][1]

    def find(self, stamp_ns: int) -> Any:
        """Return the newest message with exactly this stamp.

        Raises:
            NoFrameError: The buffer is empty.
            StampInFutureError: The stamp is newer than the newest message.
            StampTooOldError: The stamp is older than the oldest message.
            StampUnknownError: No message has exactly this stamp.
        """
        self.newest()
        for stamp, msg in reversed(self._messages):
            if stamp == stamp_ns:
                return msg
        stamps = [stamp for stamp, _ in self._messages]
        oldest, newest = min(stamps), max(stamps)
        span = f'the buffer holds {_text(oldest)} to {_text(newest)}'
        if stamp_ns > newest:
            raise StampInFutureError(f'stamp {_text(stamp_ns)} has not arrived yet; {span}')
        if stamp_ns < oldest:
            raise StampTooOldError(
                f'stamp {_text(stamp_ns)} is not in the buffer; {span}; '
                f'{advise_too_old(self._limits(stamp_ns, newest))}'
            )
        nearest = min(stamps, key=lambda stamp: abs(stamp - stamp_ns))
        raise StampUnknownError(
            f'no image with exactly the stamp {_text(stamp_ns)} was received; {span}, the nearest '
            f'is {_text(nearest)}. Copy the header of the prompted image'
        )

    def _limits(self, stamp_ns: int, newest_ns: int) -> list[str]:
        """Name the settings that limit the buffer to later stamps."""
        limits = []
        if newest_ns - stamp_ns > self._max_age_ns:
            limits.append('tracking.prompt_buffer_s')
        if self._outgrown_ns is not None and stamp_ns <= self._outgrown_ns < newest_ns:
            limits.append('input.prompt_buffer_mb')
        return limits


def _text(stamp_ns: int) -> str:
    return f'{stamp_ns // NS_PER_S}.{stamp_ns % NS_PER_S:09d}'
