"""The time of each stage of a frame, for measurements; without a measurement nothing is timed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

P = ParamSpec('P')
T = TypeVar('T')


@dataclasses.dataclass(slots=True)
class _Clock:
    """The open measurement, by the one thread that owns the tracker.

    Attributes:
        times_ns: Nanoseconds by stage; None = no measurement.
        inside: The present stage; empty = none.
    """

    times_ns: dict[str, int] | None = None
    inside: str = ''


_clock = _Clock()


def stage(name: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator that adds the time of a function to a stage.

    Of functions that call each other, the outermost one counts.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            times_ns = _clock.times_ns
            if times_ns is None or _clock.inside:
                return function(*args, **kwargs)
            _clock.inside = name
            start_ns = time.perf_counter_ns()
            try:
                return function(*args, **kwargs)
            finally:
                _clock.inside = ''
                passed_ns = time.perf_counter_ns() - start_ns
                times_ns[name] = times_ns.get(name, 0) + passed_ns

        return timed

    return decorate


@contextlib.contextmanager
def measure_stages() -> Iterator[dict[str, int]]:
    """Yield a dictionary that collects the nanoseconds of each stage until the end.

    For a program with one tracker thread.

    On a GPU a stage ends when its work is queued, not when it is done.
    """
    times_ns: dict[str, int] = {}
    before, _clock.times_ns = _clock.times_ns, times_ns
    try:
        yield times_ns
    finally:
        _clock.times_ns = before
