"""Counters and latencies since activation, written by two threads."""

from __future__ import annotations

import collections
import dataclasses
import time

import numpy as np

from robust_vos_ros.node.detector_statistics import DetectorStatistics
from robust_vos_ros.node.threads import make_lock

_LATENCIES = 512  # newest values, enough for a stable 95th percentile


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """Totals since activation.

    Received frames are counted as invalid or ignored at once, or go to the mailbox. Those that the
    mailbox does not drop end as processed, stale, invalid, ignored or failed.

    Attributes:
        received: Received images.
        ignored: Not processed because processing was disabled.
        invalid: Rejected: malformed or damaged.
        stale: Older than input.max_frame_age_s when the worker took them.
        failed: Raised an unexpected error.
        processed: Tracked and published.
        reinitializations_accepted: Unseen objects re-initialized by a prompt or a detection.
        reinitializations_rejected: Rejected candidates for unseen objects.
    """

    received: int = 0
    ignored: int = 0
    invalid: int = 0
    stale: int = 0
    failed: int = 0
    processed: int = 0
    time_jumps: int = 0
    resolution_changes: int = 0
    frame_id_changes: int = 0
    requests_served: int = 0
    requests_failed: int = 0
    reinitializations_accepted: int = 0
    reinitializations_rejected: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Snapshot:
    """All statistics at one moment.

    Attributes:
        latencies_ms: (N,) float, newest last, from receiving an image to publishing its objects.
        since_frame_s: Time since the newest image arrived; None before the first.
        since_error_s: Time since the newest error; None without one.
        error: Text of that error.
        failed_in_succession: Number of failed frames since the last processed one.
    """

    counts: Counts
    latencies_ms: np.ndarray
    since_frame_s: float | None
    since_error_s: float | None
    since_invalid_s: float | None
    error: str
    failed_in_succession: int = 0


class Statistics:
    """Counters behind one lock.

    Attributes:
        detector: Counters of detector boxes.
    """

    def __init__(self) -> None:
        """Start from zero."""
        self.detector = DetectorStatistics()
        self._lock = make_lock('statistics')
        self._counts = Counts()
        self._latencies_ns: collections.deque[int] = collections.deque(maxlen=_LATENCIES)
        self._frame_ns: int | None = None
        self._error_ns: int | None = None
        self._invalid_ns: int | None = None
        self._error = ''
        self._failed_in_succession = 0

    def add(self, **increments: int) -> None:
        """Increase counters: `add(processed=1)`."""
        with self._lock:
            changed = {
                name: getattr(self._counts, name) + number for name, number in increments.items()
            }
            self._counts = dataclasses.replace(self._counts, **changed)
            if 'processed' in increments:
                self._failed_in_succession = 0
            self._failed_in_succession += increments.get('failed', 0)

    def add_received(self, received_ns: int) -> None:
        """Count an image and its arrival time (time.monotonic_ns())."""
        self.add(received=1)
        self._frame_ns = received_ns

    def add_latency(self, latency_ns: int) -> None:
        """Record the latency from receiving an image to publishing its objects."""
        with self._lock:
            self._latencies_ns.append(latency_ns)

    def add_invalid(self, text: str) -> None:
        """Count a rejected image."""
        self.add(invalid=1)
        with self._lock:
            self._error, self._invalid_ns = text, time.monotonic_ns()

    def add_error(self, text: str, **increments: int) -> None:
        """Record an unexpected error, and increase counters."""
        self.add(**increments)
        with self._lock:
            self._error, self._error_ns = text, time.monotonic_ns()

    @property
    def counts(self) -> Counts:
        """The present counters."""
        return self._counts

    def snapshot(self) -> Snapshot:
        """Return all present statistics."""
        now = time.monotonic_ns()
        with self._lock:
            since_frame, since_error, since_invalid = (
                None if then is None else (now - then) / 1e9
                for then in (self._frame_ns, self._error_ns, self._invalid_ns)
            )
            latencies_ms = np.array(self._latencies_ns, np.float64) / 1e6
            return Snapshot(
                self._counts,
                latencies_ms,
                since_frame,
                since_error,
                since_invalid,
                self._error,
                self._failed_in_succession,
            )
