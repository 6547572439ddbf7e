"""SIGINT and SIGTERM as a flag instead of an exception."""

from __future__ import annotations

import signal
from typing import Any


class Interrupts:
    """SIGINT and SIGTERM set a flag instead of raising an exception, inside `with`.

    An exception could be raised anywhere, for example between the start of a child process and its
    registration, and the child would not be stopped.
    """

    def __init__(self) -> None:
        self._received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        """Install the handlers."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers of before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, *_: Any) -> None:
        self._received = True

    @property
    def received(self) -> bool:
        """Whether a signal was received."""
        return self._received

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal was received."""
        if self._received:
            raise KeyboardInterrupt
