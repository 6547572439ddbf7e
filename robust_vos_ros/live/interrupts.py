"""SIGINT and SIGTERM as a question."""

from __future__ import annotations

import signal
from types import TracebackType
from typing import Any


class Interrupts:
    """SIGINT and SIGTERM as a question instead of an exception, inside `with`.

    An exception could come at any place, for example between the start of a child process and its
    registration, and nobody would stop that child.
    """

    def __init__(self) -> None:
        self._received = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        """Take over the signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, *_: Any) -> None:
        self._received = True

    @property
    def received(self) -> bool:
        """Whether a signal has come."""
        return self._received

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come."""
        if self._received:
            raise KeyboardInterrupt
