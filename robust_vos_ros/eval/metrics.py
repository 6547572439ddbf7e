"""Region similarity J and boundary accuracy F of the DAVIS benchmark.

Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation",
CVPR 2016. All values are in [0, 1].
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.core.errors import ImageError
from robust_vos_ros.core.masks import mask_iou_numpy


@dataclasses.dataclass(frozen=True, slots=True)
class SequenceScore:
    """Means over the scored frames of a sequence, in [0, 1]."""

    j: float
    f: float

    @property
    def jf(self) -> float:
        """Mean of J and F."""
        return (self.j + self.f) / 2

    @property
    def percents(self) -> dict[str, float]:
        """J&F, J and F in percent by name, for a file."""
        values = {'jf': self.jf, 'j': self.j, 'f': self.f}
        return {name: round(100 * value, 2) for name, value in values.items()}


def region_similarity(pred: np.ndarray, true: np.ndarray, void: np.ndarray | None = None) -> float:
    """Return J, the intersection over union; 1 if both masks are empty.

    Args:
        pred: (H, W) bool.
        true: (H, W) bool.
        void: (H, W) bool, pixels that are not scored.

    Raises:
        ImageError: The masks are not (H, W) bool of one size.
    """
    pred, true = _without_void(pred, true, void)
    return mask_iou_numpy(pred, true)


def boundary_accuracy(
    pred: np.ndarray, true: np.ndarray, void: np.ndarray | None = None, bound_th: float = 0.008
) -> float:
    """Return F, the harmonic mean of precision and recall of the boundary pixels.

    A boundary pixel matches if the boundary of the other mask is within the tolerance. F is 1 if
    neither mask has a boundary, because each is empty or fills the image.

    Args:
        pred: (H, W) bool.
        true: (H, W) bool.
        void: (H, W) bool, pixels that are not scored.
        bound_th: Tolerance as a share of the image diagonal, rounded up to pixels.

    Raises:
        ImageError: The masks are not (H, W) bool of one size.
    """
    pred, true = _without_void(pred, true, void)
    radius = math.ceil(bound_th * math.hypot(*pred.shape))
    window = _window(pred | true)
    pred_edge, true_edge = _boundary(pred[window]), _boundary(true[window])
    num_pred, num_true = cv2.countNonZero(pred_edge), cv2.countNonZero(true_edge)
    if not num_pred or not num_true:
        return float(num_pred == num_true)
    disk = _disk(radius)
    precision = cv2.countNonZero(pred_edge & cv2.dilate(true_edge, disk)) / num_pred
    recall = cv2.countNonZero(true_edge & cv2.dilate(pred_edge, disk)) / num_true
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def score_sequence(
    pred_masks: Sequence[np.ndarray],
    true_masks: Sequence[np.ndarray],
    voids: Sequence[np.ndarray | None] | None = None,
    *,
    skip_first: bool = True,
    skip_last: bool = True,
) -> SequenceScore:
    """Score one object of a video; the defaults follow the semi-supervised protocol of DAVIS.

    Args:
        pred_masks: (H, W) bool, one per frame.
        true_masks: (H, W) bool, one per frame.
        voids: (H, W) bool or None, one per frame; None = no void pixels.
        skip_first: Leave out the first frame, whose mask is given.
        skip_last: Leave out the last frame.

    Raises:
        ImageError: The numbers or sizes of the masks differ, or no frame is left to score.
    """
    num = len(true_masks)
    if len(pred_masks) != num or (voids is not None and len(voids) != num):
        raise ImageError(
            f'expected {num} predicted masks and void masks, one per true mask, got other numbers'
        )
    frames = range(int(skip_first), num - int(skip_last))
    if not frames:
        raise ImageError(
            f'expected more than {int(skip_first) + int(skip_last)} frames, as so many are not '
            f'scored, got {num}'
        )
    scores = []
    for i in frames:
        triple = pred_masks[i], true_masks[i], voids[i] if voids is not None else None
        scores.append((region_similarity(*triple), boundary_accuracy(*triple)))
    j, f = np.mean(scores, axis=0)
    return SequenceScore(float(j), float(f))


def mean_of(scores: Sequence[SequenceScore]) -> SequenceScore:
    """Return the mean of scores with equal weights."""
    return SequenceScore(
        float(np.mean([score.j for score in scores])),
        float(np.mean([score.f for score in scores])),
    )


def _without_void(
    pred: np.ndarray, true: np.ndarray, void: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return both masks without the void pixels."""
    arrays = [pred, true] if void is None else [pred, true, void]
    if any(a.ndim != 2 or a.dtype != bool or a.shape != pred.shape for a in arrays):
        got = ', '.join(f'{a.shape} {a.dtype}' for a in arrays)
        raise ImageError(f'expected (H, W) bool masks of one size, got {got}')
    return (pred, true) if void is None else (pred & ~void, true & ~void)


def _window(mask: np.ndarray) -> tuple[slice, slice]:
    """Return the bounding box of a mask and a margin of one pixel, as slices of (y, x)."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1)


def _boundary(mask: np.ndarray) -> np.ndarray:
    """Return the pixels that differ from one of their neighbours to the right and below.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) uint8, 0 or 1. Outside of the image the mask continues as at its edge.
    """
    wide = np.pad(mask, ((0, 1), (0, 1)), mode='edge')
    right, below, across = wide[:-1, 1:], wide[1:, :-1], wide[1:, 1:]
    return ((mask ^ right) | (mask ^ below) | (mask ^ across)).view(np.uint8)


@functools.cache
def _disk(radius: int) -> np.ndarray:
    """Return the (2 r + 1, 2 r + 1) uint8 disk of pixels at most `radius` away."""
    # cv2's ellipse has other corner pixels.
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x**2 + y**2 <= radius**2).astype(np.uint8)
