"""Scores of absences: how an object is tracked while it is absent, and after its return.

An object is absent in a frame if none of its pixels is visible, and well in view if at least
`SEEN_SHARE` of its pixels are visible.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from robust_vos_ros.core.types import ObjectState

MIN_ABSENCE_S = 0.5  # shorter absences are not scored
MAX_DELAY_S = 0.5  # until OCCLUDED or LOST must be published
MAX_WRONG_S = 0.2  # a false mask may be published for so long
WINDOW_S = 1.5  # in which the return of an object is scored
SEEN_SHARE = 0.25
MIN_PRECISION = 0.1  # a mask with a smaller share of its pixels on the object is on something else
CONFIDENT, WRONG_IOU = 0.8, 0.3  # a planner relies on masks above; a mask below is wrong
_UNSEEN = (int(ObjectState.OCCLUDED), int(ObjectState.LOST))


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """Numbers of one object in each of T labelled frames, from the frame of its prompt on.

    Attributes:
        frames: (T,) int, index of each frame in the sequence.
        j: (T,) region similarity in [0, 1]; 1 where object and mask are both absent.
        f: (T,) boundary accuracy in [0, 1]; likewise.
        visible: (T,) share of the object's pixels that are visible, in [0, 1].
        in_view: (T,) bool, whether it is inside the image, occluded or not; None if not known.
        masked: (T,) bool, whether a mask is published.
        precision: (T,) share of the mask's pixels that are on the object, 0 without a mask.
        confidence: (T,) as published, in [0, 1].
        state: (T,) int, `ObjectState`.
        corrupted: (T,) bool, whether the frame is corrupted.
    """

    frames: np.ndarray
    j: np.ndarray
    f: np.ndarray
    visible: np.ndarray
    in_view: np.ndarray | None
    masked: np.ndarray
    precision: np.ndarray
    confidence: np.ndarray
    state: np.ndarray
    corrupted: np.ndarray

    @property
    def absent(self) -> np.ndarray:
        """(T,) bool, whether no pixel of the object is visible."""
        return self.visible == 0.0

    @property
    def gapless(self) -> bool:
        """Whether every frame from the first to the last is labelled."""
        return bool(self.frames[-1] - self.frames[0] + 1 == len(self.frames))

    @property
    def correct(self) -> np.ndarray:
        """(T,) bool, whether a mask with an IoU over 0.5 is published."""
        return self.masked & ~self.absent & (self.j > 0.5)

    @property
    def confidently_wrong(self) -> np.ndarray:
        """(T,) bool, whether a mask with an IoU below 0.3 has a confidence above 0.8."""
        return self.masked & (self.confidence > CONFIDENT) & (self.j < WRONG_IOU)


@dataclasses.dataclass(frozen=True, slots=True)
class AbsenceScore:
    """How an object was tracked through one absence.

    Attributes:
        start: First frame of the absence.
        end: First frame in which a pixel is visible again, T if there is none.
        exit: Whether the object was outside of the image for most of the time; otherwise it was
            occluded. None if not known.
        delay_s: From the start until OCCLUDED or LOST is published; infinite if never.
        false: Whether a mask is published for more than `MAX_WRONG_S` in a row while the object
            is absent, or is on something else for as long in the window after the return.
        kept: Whether the mask is correct in some frame of the window, and from the first such
            frame on in most frames of the window in which the object is well in view. None if the
            object is not well in view for most of a whole window.
        back_s: From being well in view until the mask is correct; None if it is not in the window.
    """

    start: int
    end: int
    exit: bool | None
    delay_s: float
    false: bool
    kept: bool | None
    back_s: float | None


def score_absences(rows: Rows, rate_hz: float) -> list[AbsenceScore]:
    """Return the score of each absence of `MIN_ABSENCE_S` or more, in order of time.

    Empty if not every frame is labelled: the lengths of absences are not known then.
    """
    if not rows.gapless:
        return []
    return [
        _score(rows, start, end, rate_hz)
        for start, end in runs(rows.absent)
        if start > 0 and (end - start) / rate_hz >= MIN_ABSENCE_S
    ]


def _score(rows: Rows, start: int, end: int, rate_hz: float) -> AbsenceScore:
    unseen = np.flatnonzero(np.isin(rows.state[start:end], _UNSEEN))
    window = _window(rows, end, rate_hz)
    most = MAX_WRONG_S * rate_hz
    after = slice(end, window.stop if window else end + round(WINDOW_S * rate_hz))
    elsewhere = (rows.masked & ~rows.absent & (rows.precision < MIN_PRECISION))[after]
    kept, back_s = (None, None) if window is None else _identity(rows, window, rate_hz)
    return AbsenceScore(
        start=start,
        end=end,
        exit=None if rows.in_view is None else bool(rows.in_view[start:end].mean() < 0.5),
        delay_s=int(unseen[0]) / rate_hz if len(unseen) else float('inf'),
        false=longest(rows.masked[start:end]) > most or longest(elsewhere) > most,
        kept=kept,
        back_s=back_s,
    )


def _window(rows: Rows, end: int, rate_hz: float) -> slice | None:
    """Return the frames in which the return of an object is scored; None if too few show it."""
    seen = rows.visible >= SEEN_SHARE
    later = np.flatnonzero(seen[end:])
    if not len(later):
        return None
    first = end + int(later[0])
    last = first + round(WINDOW_S * rate_hz)
    absent_between = rows.absent[end:first].any()
    if last > len(seen) or absent_between or seen[first:last].mean() < 0.5:
        return None
    return slice(first, last)


def _identity(rows: Rows, window: slice, rate_hz: float) -> tuple[bool, float | None]:
    """Return `kept` and `back_s`."""
    seen, correct = rows.visible[window] >= SEEN_SHARE, rows.correct[window]
    hits = np.flatnonzero(correct & seen)
    if not len(hits):
        return False, None
    first = int(hits[0])
    return bool(correct[first:][seen[first:]].mean() > 0.5), first / rate_hz


def runs(flags: np.ndarray | Sequence[bool]) -> list[tuple[int, int]]:
    """Return (start, end) of each run of true values in a (T,) bool array; end is exclusive."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def longest(flags: np.ndarray | Sequence[bool]) -> int:
    """Return the length of the longest run of true values."""
    return max((end - start for start, end in runs(flags)), default=0)
