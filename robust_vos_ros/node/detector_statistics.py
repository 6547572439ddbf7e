"""Counters of a detector's boxes, and its status on /diagnostics."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from robust_vos_ros.node.detection_messages import FILTERED
from robust_vos_ros.node.threads import make_lock


@dataclasses.dataclass(frozen=True, slots=True)
class DetectorCounts:
    """Totals since activation.

    Attributes:
        received: Received arrays.
        left_out: Arrays skipped because the previous one was being applied, or processing was off.
        not_needed: Arrays skipped in mode restart because all objects were visible.
        failed: Arrays that could not be applied, for instance because no image has their stamp.
        without_result: Arrays without a result near enough in time to correct or add.
        boxes: Boxes in the arrays that were read.
        corrected: Corrections of visible objects.
        added: Added objects.
        removed: Added objects that were removed again.
        no_room: Objects not added because of max_objects.
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
        self._lock = make_lock('detector statistics')
        self.counts = DetectorCounts()
        self.unused = Counter[str]()  # number of unused boxes by reason
        self._problem = ''
        self._problem_ns: int | None = None

    def add(self, **increments: int) -> None:
        """Increase counters: `add(received=1)`."""
        with self._lock:
            changed = {name: getattr(self.counts, name) + n for name, n in increments.items()}
            self.counts = dataclasses.replace(self.counts, **changed)

    def add_boxes(self, num_boxes: int, unused: Counter[str]) -> None:
        """Count the boxes of an array; faults become the reported problem.

        Args:
            num_boxes: Number of all boxes.
            unused: Number of unused boxes by reason.
        """
        self.add(boxes=num_boxes)
        reasons = sorted(unused.keys() - FILTERED)
        faults = [f'{unused[reason]} {reason}' for reason in reasons]
        with self._lock:
            self.unused = self.unused + unused
        if faults:
            self.note_problem(f'of {num_boxes} boxes {", ".join(faults)}')

    def note_problem(self, text: str) -> None:
        """Set the reported problem."""
        with self._lock:
            self._problem, self._problem_ns = text, time.monotonic_ns()

    def describe(self, name: str, mode: str, hold_s: float) -> DiagnosticStatus:
        """Return the status.

        Args:
            name: Of the node.
            mode: Of the detector.
            hold_s: How long a problem raises the level.
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
