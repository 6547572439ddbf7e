"""Associate boxes of a detector with objects, and decide on changes.

Boxes are in pixels of one camera image, see `boxes.place`.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable, Sequence

import numpy as np

from robust_vos_ros.core.types import UNSEEN_STATES, TrackedObject
from robust_vos_ros.node.boxes import Box, ious, stack
from robust_vos_ros.node.detector_settings import AddSettings, CorrectSettings, DetectorSettings
from robust_vos_ros.node.views import View

MAX_TRIED = 4  # boxes per unseen object and array, highest scores first
MAX_NEW = 64  # maximum number of pending new objects, highest scores first: that of max_objects


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A box that may show an object."""

    item: TrackedObject
    box: Box


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Changes that follow from an array.

    Attributes:
        corrections: Visible objects to correct, and their boxes.
        additions: Boxes of new objects.
        removals: Added objects that are no longer detected.
        no_room: Number of new objects that would exceed max_objects.
    """

    corrections: tuple[Candidate, ...] = ()
    additions: tuple[Box, ...] = ()
    removals: tuple[TrackedObject, ...] = ()
    no_room: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """A box and its visible object.

    Attributes:
        iou: Of the box and the box of the mask, above 0.
    """

    box: Box
    iou: float


@dataclasses.dataclass(slots=True)
class Pending:
    """A detection that may become an object.

    Attributes:
        arrays: Number of consecutive arrays that contain it.
    """

    box: Box
    arrays: int = 1


@dataclasses.dataclass(slots=True)
class Probation:
    """Detections of an added object.

    Attributes:
        arrays: Number of arrays since it was added.
        unmatched: Number of these that do not contain it.
    """

    arrays: int = 0
    unmatched: int = 0


def find_candidates(boxes: Sequence[Box], objects: Iterable[TrackedObject]) -> list[Candidate]:
    """Return, for each unseen object, the boxes of its id or class."""
    candidates = []
    for item in objects:
        if item.state in UNSEEN_STATES:
            alike = [box for box in boxes if box.may_be(item)]
            alike.sort(key=lambda box: (box.object_id != item.object_id, -box.score_of(item)))
            candidates += [Candidate(item, box) for box in alike[:MAX_TRIED]]
    return candidates


class Matcher:
    """Compares consecutive arrays with the tracked objects; decides on changes, applies none.

    An array on the same image as the previous one is not counted; one on an older image resets the
        counts.
    """

    def __init__(self) -> None:
        """Create it without previous arrays."""
        self._last_ns: int | None = None
        self._disagreeing: dict[uuid.UUID, int] = {}  # arrays in a row
        self._corrected: dict[uuid.UUID, int] = {}  # arrays since then
        self._pending: list[Pending] = []
        self._probation: dict[uuid.UUID, Probation] = {}

    def watch(self, key: uuid.UUID) -> None:
        """Put an added object on probation."""
        self._probation[key] = Probation()

    def update(
        self,
        boxes: Sequence[Box],
        view: View,
        live: Sequence[TrackedObject],
        settings: DetectorSettings,
        *,
        stamp_ns: int,
        room: int,
    ) -> Decision:
        """Evaluate the next array.

        Args:
            boxes: Of the array.
            view: Tracked objects in its image, or in the nearest one.
            live: All present objects.
            settings: Thresholds; the mode is correct or add.
            stamp_ns: Of the image.
            room: Number of objects that may be added.
        """
        last_ns, self._last_ns = self._last_ns, stamp_ns
        if stamp_ns == last_ns:
            return Decision()
        if last_ns is not None and stamp_ns < last_ns:
            self._disagreeing, self._pending = {}, []
        self._forget_removed(live)
        seen = [view.objects[item.uuid] for item in live if item.uuid in view.objects]
        matches, free = assign(boxes, [item for item in seen if is_in_view(item)])
        removals = self._check_added(matches, seen, settings.add, settings.match_iou)
        gone = {item.uuid for item in removals}
        stay = [item for item in live if item.uuid not in gone]
        corrections = self._correct(matches, stay, settings.correct, settings.trusted_score)
        if settings.mode != 'add':
            return Decision(corrections, removals=removals)
        confirmed = self._confirm(find_new(free, view, live, settings), settings)
        no_room = max(0, len(confirmed) - room)
        return Decision(corrections, tuple(confirmed[:room]), removals, no_room)

    def _forget_removed(self, live: Sequence[TrackedObject]) -> None:
        keys = {item.uuid for item in live}
        for known in (self._disagreeing, self._corrected, self._probation):
            for key in known.keys() - keys:
                del known[key]

    def _correct(
        self,
        matches: dict[uuid.UUID, Match],
        live: Sequence[TrackedObject],
        rule: CorrectSettings,
        trusted_score: float,
    ) -> tuple[Candidate, ...]:
        corrections = []
        for item in live:
            match, key = matches.get(item.uuid), item.uuid
            if key in self._corrected:
                self._corrected[key] += 1
            if (
                match is None
                or match.iou >= rule.iou
                or match.box.score_of(item) < trusted_score
                or not is_in_view(item)
            ):
                self._disagreeing.pop(key, None)
                continue
            self._disagreeing[key] = self._disagreeing.get(key, 0) + 1
            interval_over = self._corrected.get(key, rule.interval) >= rule.interval
            if self._disagreeing[key] >= rule.after and interval_over:
                corrections.append(Candidate(item, match.box))
                self._corrected[key] = self._disagreeing[key] = 0
        return tuple(corrections)

    def _check_added(
        self,
        matches: dict[uuid.UUID, Match],
        seen: Sequence[TrackedObject],
        rule: AddSettings,
        match_iou: float,
    ) -> tuple[TrackedObject, ...]:
        removals = []
        for item in seen:
            on_probation = self._probation.get(item.uuid)
            if on_probation is None:
                continue
            match = matches.get(item.uuid)
            on_probation.arrays += 1
            on_probation.unmatched += match is None or match.iou < match_iou
            if on_probation.unmatched >= rule.max_unmatched:
                removals.append(item)
            if on_probation.arrays >= rule.probation:
                del self._probation[item.uuid]
        return tuple(removals)

    def _confirm(self, new: Sequence[Box], settings: DetectorSettings) -> list[Box]:
        """Update pending objects; returns those detected often enough, by falling score."""
        overlap = ious(
            stack([box.corners for box in new]), stack([one.box.corners for one in self._pending])
        )
        for column, one in enumerate(self._pending):
            overlap[[box.class_id != one.box.class_id for box in new], column] = 0.0
        pending = [Pending(box) for box in new]
        for row, column in _pairs(overlap, settings.match_iou):
            pending[row].arrays += self._pending[column].arrays
        self._pending = pending
        return [one.box for one in pending if one.arrays >= settings.add.after]


def is_in_view(item: TrackedObject) -> bool:
    """Whether an object is visible."""
    return item.area_px > 0 and item.state not in UNSEEN_STATES


def assign(
    boxes: Sequence[Box], seen: Sequence[TrackedObject]
) -> tuple[dict[uuid.UUID, Match], list[Box]]:
    """Assign boxes to visible objects of the same id or class, by IoU.

    The assignment is one to one and greedy by IoU, so that a box that fits one object well does
        not correct its neighbour.

    Returns:
        The matches by uuid, and the unassigned boxes.
    """
    overlap = ious(stack([_corners(item) for item in seen]), stack([b.corners for b in boxes]))
    for row, item in enumerate(seen):
        overlap[row, [not box.may_be(item) for box in boxes]] = 0.0
    pairs = _pairs(overlap, 0.0)
    matches = {seen[row].uuid: Match(boxes[col], float(overlap[row, col])) for row, col in pairs}
    taken = {col for _, col in pairs}
    return matches, [box for col, box in enumerate(boxes) if col not in taken]


def find_new(
    boxes: Sequence[Box], view: View, live: Sequence[TrackedObject], settings: DetectorSettings
) -> list[Box]:
    """Return the boxes that no object explains, highest scores first.

    Args:
        boxes: Not assigned to an object.
        view: Tracked objects in their image.
        live: All present objects.
        settings: Thresholds.
    """
    # Objects that the view lacks have an unknown position: a box that may show one is not new.
    unknown = [item for item in live if item.uuid not in view.objects]
    shown = stack([_corners(item) for item in view.objects.values() if is_in_view(item)])
    new: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        if not box.class_id or box.score < settings.trusted_score:
            continue
        if any(not item.class_id or box.may_be(item) for item in unknown):
            continue
        others = np.concatenate([shown, stack([other.corners for other in new])])
        same = ious(box.corners[None], others) >= settings.match_iou
        if not same.any() and view.covered(box.corners) <= settings.add.max_covered:
            new.append(box)
        if len(new) == MAX_NEW:
            break
    return new


def _pairs(overlap: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Return rows and columns of a greedy one-to-one assignment of (N, M) IoU, highest first.

    Args:
        overlap: The IoU; pairs of IoU 0 are excluded.
        least: Minimum IoU of a pair.
    """
    pairs: list[tuple[int, int]] = []
    rows, columns = np.nonzero((overlap > 0) & (overlap >= least))
    order = np.argsort(-overlap[rows, columns], kind='stable')
    free_rows, free_columns = set(rows.tolist()), set(columns.tolist())
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row in free_rows and column in free_columns:
            pairs.append((row, column))
            free_rows.discard(row)
            free_columns.discard(column)
    return pairs


def _corners(item: TrackedObject) -> np.ndarray:
    x, y, width, height = item.box_xywh
    return np.array([x, y, x + width, y + height], np.float64)
