"""Numbers of a report, each with its 95% interval over resampled sequences and its cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.eval.intervals import bootstrap_interval, resampled_sums

# `value` and `interval` are None without cases; some measures never have an interval.
Measure = dict[str, Any]
# Takes (..., C) sums over sequences, gives (...) values.
Statistic = Callable[[np.ndarray], np.ndarray]


def plain(value: float | None, cases: int) -> Measure:
    """Return a number without an interval."""
    return {'value': value, 'interval': None, 'cases': cases}


def mean(values: Sequence[float]) -> Measure:
    """Return the mean of some numbers, one per sequence."""
    if not len(values):
        return plain(None, 0)
    low, high = bootstrap_interval(values)
    return {'value': float(np.mean(values)), 'interval': [low, high], 'cases': len(values)}


def mean_known(values: Sequence[float | None]) -> Measure:
    """Return the mean of those numbers that there are, without an interval."""
    known = [value for value in values if value is not None]
    return plain(float(np.mean(known)) if known else None, len(known))


def median(values: Sequence[float]) -> Measure:
    """Return the median, None where it is infinite."""
    middle = float(np.median(values)) if values else float('nan')
    return plain(middle if np.isfinite(middle) else None, len(values))


def ratio(pairs: Sequence[Sequence[float]]) -> Measure:
    """Return the sum of the first numbers over that of the second ones.

    Args:
        pairs: Sum and cases of each sequence.
    """
    table = np.array(pairs, np.float64).reshape(-1, 2)
    cases = int(table[:, 1].sum())
    return of_sums(table, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1e-9), cases)


def of_sums(table: np.ndarray, statistic: Statistic, cases: int) -> Measure:
    """Return a statistic of the (N, ...) table summed over its N sequences."""
    if not cases:
        return plain(None, 0)
    low, high = np.quantile(statistic(resampled_sums(table)), [0.025, 0.975])
    value = float(statistic(table.sum(axis=0)))
    return {'value': value, 'interval': [float(low), float(high)], 'cases': cases}
