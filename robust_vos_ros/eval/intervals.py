"""Bootstrap confidence intervals over sequences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robust_vos_ros.core.errors import ConfigError

NUM_RESAMPLES = 10_000


def bootstrap_interval(
    differences: Sequence[float], *, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile interval of the mean (Efron 1979).

    Args:
        differences: One per sequence, between two scores of the same sequence.
        level: Confidence level of the interval.
        seed: Of the resampling.

    Raises:
        ConfigError: There is no difference.
    """
    values = np.asarray(differences, np.float64)
    if not len(values):
        raise ConfigError('expected at least one sequence to compare on, got none')
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (NUM_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def resampled_sums(values: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Return sums over resampled sequences, for statistics of sums such as shares.

    Args:
        values: (N, ...) summands, one per sequence.
        seed: Of the resampling.

    Returns:
        (R, ...) float64, R = `NUM_RESAMPLES` / 5.
    """
    count = len(values)
    rng = np.random.default_rng(seed)
    times = rng.multinomial(count, np.full(count, 1.0 / count), NUM_RESAMPLES // 5)
    return np.tensordot(times.astype(np.float64), np.asarray(values, np.float64), axes=1)
