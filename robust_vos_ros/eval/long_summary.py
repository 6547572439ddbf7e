"""The numbers of the suite of long clips, with 95% intervals over resampled clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.eval.calibration import bin_sums, expected_errors
from robust_vos_ros.eval.intervals import bootstrap_interval, resampled_sums
from robust_vos_ros.eval.long import DELAY_S, Rows, Verdict, fifths, judge, scored
from robust_vos_ros.eval.long_records import LongRecord

# Takes (..., C) sums over clips, gives (...) values.
Statistic = Callable[[np.ndarray], np.ndarray]


def summarize_long(records: Sequence[LongRecord]) -> dict[str, Any]:
    """Return the measures of one variant; see docs/long_tracking.md.

    Args:
        records: One per clip.

    Returns:
        For each measure `value`, `interval` (None if it has no cases) and `cases`; J&F in percent,
        errors of calibration and shares in [0, 1], delays in seconds. `clean`, `corrupted` and
        `masked` have the bins of `reliability`.
    """
    tables = [record.tables() for record in records]
    verdicts = [
        [verdict for rows in clip for verdict in judge(rows, record.rate_hz)]
        for record, clip in zip(records, tables, strict=True)
    ]
    result = {'J&F': _mean([clip_score(clip) for clip in tables])}
    result['J&F in view'] = _mean([_score_in_view(clip) for clip in tables])
    parts = 100.0 * np.array([np.mean([fifths(rows) for rows in clip], axis=0) for clip in tables])
    for number in range(parts.shape[1]):
        result[f'J&F fifth {number + 1}'] = _mean(parts[:, number])
    result['fall'] = _mean(parts[:, 0] - parts[:, -1])
    result |= _of_verdicts(verdicts)
    absent = [[(rows.absent[1:] & rows.masked[1:], rows.absent[1:]) for rows in c] for c in tables]
    result['absent masked'] = _share(
        [[sum(int(part[i].sum()) for part in clip) for i in (0, 1)] for clip in absent]
    )
    result['confidently wrong'] = _share(
        [
            [
                sum(int(rows.confidently_wrong[1:].sum()) for rows in clip),
                sum(len(rows.j) - 1 for rows in clip),
            ]
            for clip in tables
        ]
    )
    for name, wanted in (('clean', (False,)), ('corrupted', (True,)), ('masked', (False, True))):
        sums = np.array([_bins(clip, wanted, masked=name == 'masked') for clip in tables])
        result[f'ECE {name}'] = _summed(sums, expected_errors, int(sums[:, 0].sum()))
        result[name] = {'reliability': _reliability(sums.sum(axis=0))}
    frames = sum(len(record.weather) for record in records)
    result['ms per frame'] = {
        'value': 1000.0 * sum(record.seconds for record in records) / frames,
        'interval': None,
        'cases': frames,
    }
    return result


def clip_score(clip: Sequence[Rows]) -> float:
    """Return the J&F of a clip in percent: over the frames of each object, then over objects."""
    return 100.0 * float(np.mean([scored(rows).mean() for rows in clip]))


def compare_long(
    first: Sequence[LongRecord], other: Sequence[LongRecord]
) -> dict[str, dict[str, Any]]:
    """Return how much `other` is above `first` in J&F, clip by clip, in percent."""
    gains = [
        clip_score(b.tables()) - clip_score(a.tables()) for a, b in zip(first, other, strict=True)
    ]
    return {'J&F': _mean(gains)}


def _score_in_view(clip: Sequence[Rows]) -> float:
    """Return the J&F of the frames that show the object alone, in percent."""
    values = [scored(rows)[~rows.absent[1:-1]] for rows in clip]
    return 100.0 * float(np.mean([value.mean() for value in values if len(value)]))


def _of_verdicts(clips: Sequence[Sequence[Verdict]]) -> dict[str, Any]:
    """Return the measures of absences."""
    every = [verdict for clip in clips for verdict in clip]
    back = [verdict.back_s for verdict in every if verdict.back_s is not None]
    result = {}
    for name, wanted in (('', (True, False)), (' hidden', (False,)), (' exit', (True,))):
        chosen = [[v for v in clip if v.exit in wanted] for clip in clips]
        kept = [[v.kept for v in clip if v.kept is not None] for clip in chosen]
        result[f'kept{name}'] = _share([[sum(clip), len(clip)] for clip in kept])
        result[f'false{name}'] = _share([[sum(v.false for v in c), len(c)] for c in chosen])
    result['in time'] = _share(
        [[sum(v.delay_s <= DELAY_S for v in clip), len(clip)] for clip in clips]
    )
    delays = [verdict.delay_s for verdict in every]
    result['delay s'] = _median(delays)
    result['back s'] = _median(back)
    return result


def _median(values: Sequence[float]) -> dict[str, Any]:
    middle = float(np.median(values)) if values else float('nan')
    value = middle if np.isfinite(middle) else None
    return {'value': value, 'interval': None, 'cases': len(values)}


def _bins(clip: Sequence[Rows], weather: Sequence[bool], *, masked: bool) -> np.ndarray:
    """Return `calibration.bin_sums` of frames after the prompt, those with a mask if `masked`."""
    keep = [np.isin(r.weather[1:], weather) & (r.masked[1:] | (not masked)) for r in clip]
    pairs = list(zip(clip, keep, strict=True))
    confidence = np.concatenate([rows.confidence[1:][part] for rows, part in pairs])
    return bin_sums(confidence, np.concatenate([rows.right[1:][part] for rows, part in pairs]))


def _reliability(sums: np.ndarray) -> list[dict[str, float]]:
    """Return the bins that are not empty, as `charts.reliability_diagram` takes them."""
    return [
        {'confidence': confidence / count, 'accuracy': right / count, 'count': int(count)}
        for count, confidence, right in sums.T.tolist()
        if count
    ]


def _mean(values: Sequence[float]) -> dict[str, Any]:
    low, high = bootstrap_interval(values)
    return {'value': float(np.mean(values)), 'interval': [low, high], 'cases': len(values)}


def _share(pairs: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the share of (cases that are so, all cases) of each clip."""
    table = np.array(pairs, np.float64)
    return _summed(
        table, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1e-9), int(table[:, 1].sum())
    )


def _summed(table: np.ndarray, statistic: Statistic, cases: int) -> dict[str, Any]:
    """Return a statistic of the (N, ...) table summed over clips."""
    if not cases:
        return {'value': None, 'interval': None, 'cases': 0}
    low, high = np.quantile(statistic(resampled_sums(table)), [0.025, 0.975])
    value = float(statistic(table.sum(axis=0)))
    return {'value': value, 'interval': [float(low), float(high)], 'cases': cases}
