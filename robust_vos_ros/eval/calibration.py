"""Whether a published confidence means what it says: how often masks of that confidence are right.

Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; Brier 1950.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from robust_vos_ros.core.errors import ImageError

NUM_BINS = 15


@dataclasses.dataclass(frozen=True, slots=True)
class Reliability:
    """Confidences in bins of equal width over [0, 1].

    Attributes:
        confidence: (B,) mean confidence of each bin, NaN in an empty one.
        accuracy: (B,) share of right masks of each bin, NaN in an empty one.
        count: (B,) number of masks in each bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def expected_error(self) -> float:
        """Expected calibration error in [0, 1]: mean gap of the bins, weighted by their counts."""
        used = self.count > 0
        gaps = np.abs(self.confidence - self.accuracy)[used]
        return float(gaps @ self.count[used] / self.count.sum())


def reliability(
    confidence: np.ndarray, correct: np.ndarray, num_bins: int = NUM_BINS
) -> Reliability:
    """Sort confidences into bins (lower edge, upper edge], the first with 0.

    Args:
        confidence: (N,) in [0, 1].
        correct: (N,) bool, whether the mask was right.
        num_bins: Number of bins.

    Raises:
        ImageError: The arrays are empty, of different length or out of range.
    """
    confidence, correct = _checked(confidence, correct)
    count, *sums = bin_sums(confidence, correct, num_bins)
    safe = np.where(count, count, np.nan)
    return Reliability(sums[0] / safe, sums[1] / safe, count.astype(int))


def bin_sums(confidence: np.ndarray, correct: np.ndarray, num_bins: int = NUM_BINS) -> np.ndarray:
    """Return (3, B) float64: masks, sum of confidences and right masks of each bin.

    Such tables of several clips may be added. Args as in `reliability`, but N may be 0.
    """
    index = np.clip(np.ceil(confidence * num_bins).astype(int) - 1, 0, num_bins - 1)
    weights = np.ones(len(index)), confidence, correct
    return np.stack([np.bincount(index, weight, num_bins) for weight in weights])


def expected_errors(sums: np.ndarray) -> np.ndarray:
    """Return the (...) expected calibration errors of (..., 3, B) tables of `bin_sums`."""
    count, confidence, correct = np.moveaxis(sums, -2, 0)
    return np.abs(confidence - correct).sum(axis=-1) / np.maximum(count.sum(axis=-1), 1e-9)


def brier_score(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Return the mean squared difference of confidence and outcome, in [0, 1].

    Args and errors as in `reliability`.
    """
    confidence, correct = _checked(confidence, correct)
    return float(np.mean((confidence - correct) ** 2))


def _checked(confidence: np.ndarray, correct: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    confidence = np.asarray(confidence, np.float64)
    correct = np.asarray(correct, np.float64)
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence):
        raise ImageError(
            'expected two arrays (N,) of confidences and outcomes, N > 0, '
            f'got {confidence.shape} and {correct.shape}'
        )
    if not ((confidence >= 0.0) & (confidence <= 1.0)).all():
        raise ImageError('confidence: expected numbers from 0 to 1, got others')
    return confidence, correct
