"""What became of the boxes of a detector, and its status on /diagnostics."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import Counter

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from robust_vos_ros.node.detection_messages import FILTERED


@dataclasses.dataclass(frozen=True, slots=True)
class DetectorCounts:
    """Totals since activation.

    Attributes:
        received: Arrays that arrived.
        left_out: Came while the one before was worked on, or while images are not processed.
        not_needed: Came in mode restart while all objects were in view.
        failed: Could not be applied, for instance because no image has their stamp.
        without_result: Had no result near enough in time to correct or add.
        boxes: In the arrays that were read.
        corrected: Times an object in view was corrected.
        added: New objects.
        removed: Those of them that were removed again.
        no_room: Things that would have been added, but for max_objects.
    """

    received: int = 0
    left_out: int = 0
    not_needed: int = 0
    failed: int = 0
    without_result: int = 0
    boxes: int = 0
    corrected: int = 0
    added: int = 0
    removed: int = 0
    no_room: int = 0


_NAMES = {
    'received': 'arrays received',
    'left_out': 'arrays left out',
    'not_needed': 'arrays not needed',
    'failed': 'arrays failed',
    'without_result': 'arrays without a result of their time',
    'boxes': 'boxes read',
    'corrected': 'objects corrected',
    'added': 'objects added',
    'removed': 'objects removed again',
    'no_room': 'objects without room (max_objects)',
}


class DetectorStatistics:
    """Counters behind one lock, written by two threads."""

    def __init__(self) -> None:
        """Start from zero."""
        self._lock = threading.Lock()
        self.counts = DetectorCounts()
        self.unused = Counter[str]()  # boxes by reason
        self._problem = ''
        self._problem_ns: int | None = None

    def add(self, **increments: int) -> None:
        """Increase counters: `add(received=1)`."""
        with self._lock:
            changed = {name: getattr(self.counts, name) + n for name, n in increments.items()}
            self.counts = dataclasses.replace(self.counts, **changed)

    def add_boxes(self, num_boxes: int, unused: Counter[str]) -> None:
        """Count the boxes of an array; what is wrong with them becomes the problem.

        Args:
            num_boxes: All of them.
            unused: How many are not used for which reason.
        """
        self.add(boxes=num_boxes)
        reasons = sorted(unused.keys() - FILTERED)
        faults = [f'{unused[reason]} {reason}' for reason in reasons]
        with self._lock:
            self.unused = self.unused + unused
        if faults:
            self.note_problem(f'of {num_boxes} boxes {", ".join(faults)}')

    def note_problem(self, text: str) -> None:
        """Remember what is wrong."""
        with self._lock:
            self._problem, self._problem_ns = text, time.monotonic_ns()

    def describe(self, name: str, mode: str, hold_s: float) -> DiagnosticStatus:
        """Return the status.

        Args:
            name: Of the node.
            mode: Of the detector.
            hold_s: How long a problem shows in the level.
        """
        with self._lock:
            counts, unused = dataclasses.asdict(self.counts), dict(self.unused)
            problem, since_ns = self._problem, self._problem_ns
        recent = since_ns is not None and (time.monotonic_ns() - since_ns) / 1e9 <= hold_s
        values = {'mode': mode} | {text: counts[key] for key, text in _NAMES.items()}
        values |= {f'boxes {reason}': number for reason, number in sorted(unused.items())}
        values['last problem'] = problem
        return DiagnosticStatus(
            level=DiagnosticStatus.WARN if recent else DiagnosticStatus.OK,
            name=f'{name}: detector',
            message=problem if recent else 'listening',
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
