"""The ladder of load shedding: leaves out work while images arrive faster than they are processed.

The load is the median time per frame divided by the median period of the camera, summed over all
cameras of the worker. Each level includes those below it; `Reduction` says what they leave out.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
import statistics
import threading
import time
from collections.abc import Callable

from robust_vos_ros.core.reduction import Reduction
from robust_vos_ros.node.settings_sections import OverloadSettings

_NUM_SAMPLES = 15
_MIN_SAMPLES = 5  # before the load is known
_SILENT_S = 2.0  # a camera without images for this time makes no load
_MAX_LOWER_AFTER_S = 60.0
LEVEL_NAMES = (
    'nothing left out',
    'one hypothesis per object',
    'fewer searches',
    'objects in turn',
)


@dataclasses.dataclass(frozen=True, slots=True)
class OverloadReport:
    """The present level.

    Attributes:
        level: 0 to 3; 0 = nothing is left out.
        since_s: Time since the level changed; None if it never has.
        reason: Why it changed, a sentence; empty if it never has.
        load: Time per frame divided by the period of the camera; NaN while unknown.
    """

    level: int
    since_s: float | None
    reason: str
    load: float

    @property
    def text(self) -> str:
        """The level, since when, and why, as one line."""
        name = LEVEL_NAMES[self.level]
        if self.since_s is None:
            return f'level {self.level}: {name}'
        return f'level {self.level}: {name}, for {self.since_s:.0f} s; {self.reason}'


class _Camera:
    """Newest arrivals and frame times of one camera, in seconds."""

    def __init__(self) -> None:
        self.arrivals: collections.deque[float] = collections.deque(maxlen=_NUM_SAMPLES + 1)
        self.times: collections.deque[float] = collections.deque(maxlen=_NUM_SAMPLES)

    def medians(self) -> tuple[float, float] | None:
        """Return time per frame and period of the camera; None while unknown."""
        if len(self.times) < _MIN_SAMPLES or len(self.arrivals) <= _MIN_SAMPLES:
            return None
        periods = [after - before for before, after in itertools.pairwise(self.arrivals)]
        return statistics.median(self.times), max(statistics.median(periods), 1e-6)


class Overload:
    """Measures the load and chooses the level; thread-safe.

    Args:
        settings: Returns the present settings.
        would_help: Returns whether a level, 1 to 3, would leave out anything at present.
        now_s: Returns the time of a steady clock.
    """

    def __init__(
        self,
        settings: Callable[[], OverloadSettings],
        would_help: Callable[[int], bool],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._would_help = would_help
        self._now_s = now_s
        self._lock = threading.Lock()
        self._cameras: collections.defaultdict[str, _Camera] = collections.defaultdict(_Camera)
        self._level = 0
        self._changed_s: float | None = None
        self._reason = ''
        # Since when the load has been high or low; None while it is not.
        self._high_s: float | None = None
        self._low_s: float | None = None
        self._lowered_s = -math.inf
        self._num_relapses = 0

    def note_arrival(self, camera: str) -> None:
        """Note that an image arrived."""
        with self._lock:
            self._cameras[camera].arrivals.append(self._now_s())

    def note_frame(self, camera: str, time_s: float) -> None:
        """Note the time that a frame took, and choose the level."""
        with self._lock:
            self._cameras[camera].times.append(time_s)
            self._choose()

    @property
    def reduction(self) -> Reduction:
        """What to leave out at the present level."""
        settings = self._settings()
        level = min(self._level, settings.max_level)
        return Reduction(
            one_hypothesis=level >= 1,
            search_interval_s=settings.search_interval_s if level >= 2 else 0.0,
            turns=settings.turns if level >= 3 else 1,
        )

    def report(self) -> OverloadReport:
        """Return the present level and its reason."""
        with self._lock:
            then = self._changed_s
            since_s = None if then is None else self._now_s() - then
            load, _ = self._measure()
            return OverloadReport(self._level, since_s, self._reason, load)

    def _measure(self) -> tuple[float, str]:
        """Return the load and, as text, what it is made of; NaN while unknown."""
        now, load, parts = self._now_s(), 0.0, []
        for name, camera in self._cameras.items():
            if not camera.arrivals or now - camera.arrivals[-1] > _SILENT_S:
                continue
            medians = camera.medians()
            if medians is None:
                return math.nan, ''
            time_s, period_s = medians
            load += time_s / period_s
            label = f'{name}: ' if name else ''
            parts.append(
                f'{label}a frame takes {1e3 * time_s:.1f} ms, the camera sends one each '
                f'{1e3 * period_s:.1f} ms'
            )
        return (load, '; '.join(parts)) if parts else (math.nan, '')

    def _choose(self) -> None:
        settings, now = self._settings(), self._now_s()
        if self._level > settings.max_level:
            self._change(settings.max_level, 'overload.max_level was lowered')
        load, text = self._measure()
        self._high_s = _since(self._high_s, now, holds=load > settings.raise_load)
        self._low_s = _since(self._low_s, now, holds=load < settings.lower_load)
        if self._high_s is not None and now - self._high_s >= settings.raise_after_s:
            levels = range(self._level + 1, settings.max_level + 1)
            level = next(filter(self._would_help, levels), None)
            if level is not None:
                soon_s = 2.0 * self._lower_after_s(settings)
                relapsed = now - self._lowered_s < soon_s
                self._num_relapses = self._num_relapses + 1 if relapsed else 0
                self._change(level, f'load {load:.2f}: {text}')
        calm_s = 0.0 if self._low_s is None else now - self._low_s
        if self._level and self._low_s is not None and calm_s >= self._lower_after_s(settings):
            self._lowered_s = now
            self._change(self._level - 1, f'load {load:.2f}: {text}')

    def _lower_after_s(self, settings: OverloadSettings) -> float:
        waits_s = settings.lower_after_s * 2.0 ** min(self._num_relapses, 16)
        return max(settings.lower_after_s, min(waits_s, _MAX_LOWER_AFTER_S))

    def _change(self, level: int, reason: str) -> None:
        self._level, self._changed_s, self._reason = level, self._now_s(), reason
        self._high_s = self._low_s = None
        for camera in self._cameras.values():  # the times belong to the old level
            camera.times.clear()


def _since(start_s: float | None, now_s: float, *, holds: bool) -> float | None:
    """Return since when a condition holds without a break; None if it does not."""
    if not holds:
        return None
    return now_s if start_s is None else start_s
