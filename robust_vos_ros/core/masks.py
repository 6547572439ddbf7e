"""Overlap, extent and relative size of masks."""

from __future__ import annotations

import numpy as np
import torch

_SIZE_RATIO = 3.0


def mask_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return (...) float32 IoU of (..., h, w) bool masks, broadcast; 1 for two empty masks."""
    overlap = (first & second).sum(dim=(-2, -1)).float()
    union = first.sum(dim=(-2, -1)) + second.sum(dim=(-2, -1)) - overlap
    return torch.where(union > 0, overlap / union.clamp(min=1.0), 1.0)


def mask_iou_numpy(first: np.ndarray, second: np.ndarray) -> float:
    """Return the IoU of two bool arrays of one shape; 1 for two empty masks."""
    union = np.count_nonzero(first | second)
    return float(np.count_nonzero(first & second) / union) if union else 1.0


def box_agreement(chosen: torch.Tensor, alternative: torch.Tensor) -> torch.Tensor:
    """Return (B,) the IoU of the boxes of masks and of their unions with alternatives.

    The measure of "A Distractor-Aware Memory for Visual Object Tracking with SAM2" (arXiv
    2411.17576, section 3.2).

    Args:
        chosen: (B, h, w) bool.
        alternative: (B, h, w) bool.
    """
    return torch.where(
        chosen.flatten(1).any(dim=1),
        _box_area(chosen) / _box_area(chosen | alternative).clamp(min=1.0),
        1.0,
    )


def spread(masks: torch.Tensor) -> torch.Tensor:
    """Return (B,) the radius of gyration of (B, h, w) masks of 0 and 1, in sides of the image."""
    total = masks.sum(dim=(1, 2)).clamp(min=1.0)
    variance = torch.zeros_like(total)
    for axis in (1, 2):
        line = masks.sum(dim=3 - axis)
        at = (torch.arange(line.shape[1], device=masks.device) + 0.5) / line.shape[1]
        mean = line @ at / total
        variance += (line * (at[None] - mean[:, None]) ** 2).sum(dim=1) / total
    return variance.sqrt()


def much_smaller(areas: torch.Tensor, than: torch.Tensor) -> torch.Tensor:
    """Return (N, M) bool, which masks are too small to show the same object as others.

    Where the two overlap, the small mask is taken to lie in front, as a cup in a hand. Such a pair
        is excluded from duplicate suppression, exclusive memory and appearance comparison.

    Args:
        areas: (N,) float32.
        than: (M,) float32, in the same unit.
    """
    return areas[:, None] * _SIZE_RATIO < than[None]


def _box_area(masks: torch.Tensor) -> torch.Tensor:
    """Return (B,) the area of the tight box around each (B, h, w) mask, in cells."""
    area = torch.ones(len(masks), device=masks.device)
    for axis in (1, 2):
        line = masks.any(dim=axis).float()
        size = line.shape[1]
        first = line.argmax(dim=1)
        last = size - 1 - line.flip(1).argmax(dim=1)
        area = area * torch.where(line.any(dim=1), (last - first + 1).float(), 0.0)
    return area
