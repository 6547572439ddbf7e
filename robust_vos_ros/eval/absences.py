"""How an object is followed through absences: verdicts over a table with a row per frame.

An object is absent in a frame where none of its pixels is visible. It is well in view where at
least `SEEN_SHARE` of its pixels are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from robust_vos_ros.core.types import ObjectState

MIN_ABSENCE_S = 0.5  # shorter ones are judged by J&F alone
DELAY_S = 0.5  # until OCCLUDED or LOST must be published
ELSEWHERE_S = 0.2  # a mask may be wrong for so long
WINDOW_S = 1.5  # after an object is well in view again
SEEN_SHARE = 0.25
ELSEWHERE = 0.1  # a mask with less of its pixels on its object is on something else
SURE, WRONG_IOU = 0.8, 0.3  # confidence above which a planner relies on a mask, IoU of a wrong one
_GONE = (int(ObjectState.OCCLUDED), int(ObjectState.LOST))


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """What happened to one object in each labelled frame from that of its prompt on.

    Attributes:
        frames: (T,) int, index of each frame in the sequence.
        j: (T,) region similarity in [0, 1]; 1 where object and mask are both absent.
        f: (T,) boundary accuracy in [0, 1]; likewise.
        visible: (T,) share of the object's pixels that are visible, in [0, 1].
        in_view: (T,) bool, whether the image would show it if nothing were in front of it; None
            where nobody knows.
        masked: (T,) bool, whether a mask is published.
        precision: (T,) share of the mask's pixels that are on the object, 0 without a mask.
        confidence: (T,) as published, in [0, 1].
        state: (T,) int, `ObjectState`.
        weather: (T,) bool, whether the frame is corrupted.
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
    weather: np.ndarray

    @property
    def absent(self) -> np.ndarray:
        """(T,) bool."""
        return self.visible == 0.0

    @property
    def gapless(self) -> bool:
        """Whether every frame from the first to the last is labelled."""
        return bool(self.frames[-1] - self.frames[0] + 1 == len(self.frames))

    @property
    def right(self) -> np.ndarray:
        """(T,) bool, whether a mask is published that covers the object with an IoU over 0.5."""
        return self.masked & ~self.absent & (self.j > 0.5)

    @property
    def confidently_wrong(self) -> np.ndarray:
        """(T,) bool, whether a mask of an IoU below 0.3 is published with confidence above 0.8."""
        return self.masked & (self.confidence > SURE) & (self.j < WRONG_IOU)


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """How one absence went.

    Attributes:
        start: First row of the absence.
        end: First row in which a pixel is visible again, T if there is none.
        exit: Whether the object was out of view most of the time; otherwise it was hidden. None
            where nobody knows.
        delay_s: From the start until OCCLUDED or LOST is published; infinite if never.
        false: A mask is published for more than `ELSEWHERE_S` in a row while the object is absent,
            or is elsewhere for as long in the window after it.
        kept: In some frame of the window the mask is right, and from the first such frame on in
            most frames of the window in which the object is well in view. None where the object
            does not stay well in view for most of a whole window.
        back_s: From being well in view until the mask is right; None if it is not in the window.
    """

    start: int
    end: int
    exit: bool | None
    delay_s: float
    false: bool
    kept: bool | None
    back_s: float | None


def judge(rows: Rows, rate_hz: float) -> list[Verdict]:
    """Return how each absence of `MIN_ABSENCE_S` or more went, in order of time.

    There are none where labels have gaps: nobody knows how long an object was absent there.
    """
    if not rows.gapless:
        return []
    return [
        _verdict(rows, start, end, rate_hz)
        for start, end in runs(rows.absent)
        if start > 0 and (end - start) / rate_hz >= MIN_ABSENCE_S
    ]


def _verdict(rows: Rows, start: int, end: int, rate_hz: float) -> Verdict:
    gone = np.flatnonzero(np.isin(rows.state[start:end], _GONE))
    window = _window(rows, end, rate_hz)
    most = ELSEWHERE_S * rate_hz
    after = slice(end, window.stop if window else end + round(WINDOW_S * rate_hz))
    elsewhere = (rows.masked & ~rows.absent & (rows.precision < ELSEWHERE))[after]
    kept, back_s = (None, None) if window is None else _identity(rows, window, rate_hz)
    return Verdict(
        start=start,
        end=end,
        exit=None if rows.in_view is None else bool(rows.in_view[start:end].mean() < 0.5),
        delay_s=int(gone[0]) / rate_hz if len(gone) else float('inf'),
        false=longest(rows.masked[start:end]) > most or longest(elsewhere) > most,
        kept=kept,
        back_s=back_s,
    )


def _window(rows: Rows, end: int, rate_hz: float) -> slice | None:
    """Return the frames after a re-entry that show who is tracked; None if too few do."""
    seen = rows.visible >= SEEN_SHARE
    later = np.flatnonzero(seen[end:])
    if not len(later):
        return None
    first = end + int(later[0])
    last = first + round(WINDOW_S * rate_hz)
    gone_between = rows.absent[end:first].any()
    if last > len(seen) or gone_between or seen[first:last].mean() < 0.5:
        return None
    return slice(first, last)


def _identity(rows: Rows, window: slice, rate_hz: float) -> tuple[bool, float | None]:
    seen, right = rows.visible[window] >= SEEN_SHARE, rows.right[window]
    hits = np.flatnonzero(right & seen)
    if not len(hits):
        return False, None
    first = int(hits[0])
    return bool(right[first:][seen[first:]].mean() > 0.5), first / rate_hz


def runs(flags: np.ndarray | Sequence[bool]) -> list[tuple[int, int]]:
    """Return (start, end) of each stretch of true flags in a (T,) bool array; end is past it."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def longest(flags: np.ndarray | Sequence[bool]) -> int:
    """Return the length of the longest stretch of true flags."""
    return max((end - start for start, end in runs(flags)), default=0)
