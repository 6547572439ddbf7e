"""Errors of the positions that the node published."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from rich.table import Table

from robust_vos_ros.demo.clip import Clip
from robust_vos_ros.demo.records import Recording

MAX_ERROR = 0.02  # median error, share of the range
MIN_SHARE = 0.5  # of visible frames with a position


@dataclasses.dataclass(frozen=True, slots=True)
class PositionScore:
    """Errors of the positions of one object; NaN without positions.

    Attributes:
        visible: Number of processed frames in which it is visible (`clip.VISIBLE_SHARE`).
        located: Number of those frames with a published position.
        error_p50: Median distance to the true position, share of the range; `p95` likewise.
        error_m_p50: The same in metres.
    """

    object_id: str
    visible: int
    located: int
    error_p50: float
    error_p95: float
    error_m_p50: float

    @property
    def failure(self) -> str:
        """Reason why the result is not good enough, else empty."""
        if self.located < MIN_SHARE * self.visible:
            return (
                f'{self.object_id} has a position in {self.located} of the {self.visible} frames '
                f'in which it is visible, expected at least {MIN_SHARE:.0%}'
            )
        if not self.error_p50 < MAX_ERROR:
            return (
                f'the position of {self.object_id} is wrong by {self.error_p50:.1%} of the range, '
                f'expected less than {MAX_ERROR:.0%}'
            )
        return ''


def score_positions(recording: Recording, clip: Clip) -> tuple[PositionScore, ...]:
    """Compare the positions of a run with the true positions of a clip with depth."""
    processed = {frame.index: frame.stamp_ns for frame in recording.frames[1:]}
    errors: dict[str, list[tuple[float, float]]] = {}
    visible: dict[str, int] = {}
    for index, frame in enumerate(clip.frames()):
        if index not in processed or frame.truth is None:
            continue
        for object_id in sorted(frame.truth.visible):
            visible[object_id] = visible.get(object_id, 0) + 1
            found = recording.positions.get(object_id, {}).get(processed[index])
            true = frame.truth.positions.get(object_id)
            if found is not None and true is not None:
                distance = float(np.linalg.norm(np.array(found) - true))
                share = distance / float(np.linalg.norm(true))
                errors.setdefault(object_id, []).append((share, distance))
    return tuple(
        _score(object_id, count, errors.get(object_id, [])) for object_id, count in visible.items()
    )


def _score(object_id: str, visible: int, errors: list[tuple[float, float]]) -> PositionScore:
    if not errors:
        return PositionScore(object_id, visible, 0, math.nan, math.nan, math.nan)
    shares, metres = np.array(errors).T
    p50, p95 = (float(value) for value in np.percentile(shares, (50, 95)))
    return PositionScore(object_id, visible, len(errors), p50, p95, float(np.median(metres)))


def make_position_table(scores: tuple[PositionScore, ...]) -> Table:
    """Return the scores as a table."""
    table = Table(title='Positions in space', title_justify='left')
    table.add_column('object')
    names = ('visible frames', 'with a position', 'error p50', 'error p95', 'error p50')
    for name in names:
        table.add_column(name, justify='right')
    for item in scores:
        error = '-' if math.isnan(item.error_m_p50) else f'{item.error_m_p50 * 100:.1f} cm'
        shares = (_share(item.error_p50), _share(item.error_p95))
        table.add_row(item.object_id, str(item.visible), str(item.located), *shares, error)
    return table


def _share(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.2%}'
