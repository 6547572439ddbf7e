"""Numbers of a report, each with its 95% interval over sequences and its number of cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.eval.intervals import bootstrap_interval, resampled_sums

# Keys: value, interval, cases. Without cases the first two are None; some have no interval.
Measure = dict[str, Any]
# From (..., C) sums over sequences to (...) values.
Statistic = Callable[[np.ndarray], np.ndarray]


def without_interval(value: float | None, cases: int) -> Measure:
    """Return a number as a measure without an interval."""
    return {'value': value, 'interval': None, 'cases': cases}


def mean(values: Sequence[float]) -> Measure:
    """Return the mean of one number per sequence."""
    if not len(values):
        return without_interval(None, 0)
    low, high = bootstrap_interval(values)
    return {'value': float(np.mean(values)), 'interval': [low, high], 'cases': len(values)}


def mean_known(values: Sequence[float | None]) -> Measure:
    """Return the mean of the numbers that are not None, without an interval."""
    known = [value for value in values if value is not None]
    return without_interval(float(np.mean(known)) if known else None, len(known))


def median(values: Sequence[float]) -> Measure:
    """Return the median, without an interval; None if it is infinite."""
    middle = float(np.median(values)) if values else float('nan')
    return without_interval(middle if np.isfinite(middle) else None, len(values))


def ratio(pairs: Sequence[Sequence[float]]) -> Measure:
    """Return the ratio of two sums over sequences.

    Args:
        pairs: Numerator and denominator of each sequence; the denominators count the cases.
    """
    table = np.array(pairs, np.float64).reshape(-1, 2)
    cases = int(table[:, 1].sum())
    return of_sums(table, lambda sums: sums[..., 0] / np.maximum(sums[..., 1], 1e-9), cases)


def of_sums(table: np.ndarray, statistic: Statistic, cases: int) -> Measure:
    """Return a statistic of the sum of an (N, ...) table over its N sequences."""
    if not cases:
        return without_interval(None, 0)
    low, high = np.quantile(statistic(resampled_sums(table)), [0.025, 0.975])
    value = float(statistic(table.sum(axis=0)))
    return {'value': value, 'interval': [float(low), float(high)], 'cases': cases}
