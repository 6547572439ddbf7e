"""Calibration errors of the published confidence, as the probability that a mask is correct.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; Brier 1950. Sums of several
sequences may be added before an error is computed from them.
"""

from __future__ import annotations

import numpy as np

NUM_BINS = 15


def bin_sums(confidence: np.ndarray, correct: np.ndarray, num_bins: int = NUM_BINS) -> np.ndarray:
    """Return (3, B) float64: for each bin masks, sum of confidences, and correct masks.

    Bins have equal width over [0, 1]: (lower edge, upper edge], the first one includes 0.

    Args:
        confidence: (N,) in [0, 1]; N may be 0.
        correct: (N,) bool, whether the mask is correct.
        num_bins: B.
    """
    index = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    weights = np.ones(len(index)), confidence, correct
    return np.stack([np.bincount(index, weight, num_bins) for weight in weights])


def expected_errors(sums: np.ndarray) -> np.ndarray:
    """Return the (...) expected calibration errors of (..., 3, B) tables of `bin_sums`."""
    count, confidence, correct = np.moveaxis(sums, -2, 0)
    return np.abs(confidence - correct).sum(axis=-1) / np.maximum(count.sum(axis=-1), 1e-9)


def squared_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Return N times the Brier score; arguments as in `bin_sums`."""
    return float(np.sum((confidence - correct) ** 2))
