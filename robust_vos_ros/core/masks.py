"""Mask logits to label images, shapes and pictures."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask

# A part of a mask counts as large from this share of the mask's area.
_LARGE_PART = 0.15
_SIZE_RATIO = 3.0


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """Measures of one mask in pixels.

    Attributes:
        box_xywh: Tight box, all zero for an empty mask.
        centroid_xy: Mean pixel, NaN for an empty mask.
        fragmented: Whether the mask, before others took pixels from it, had several large parts.
    """

    area_px: int
    box_xywh: tuple[int, int, int, int]
    centroid_xy: tuple[float, float]
    touches_border: bool
    fragmented: bool


EMPTY_SHAPE = Shape(0, (0, 0, 0, 0), (float('nan'), float('nan')), False, False)


def much_smaller(areas: torch.Tensor, than: torch.Tensor) -> torch.Tensor:
    """Return (N, M) bool, which masks are too small to show the same thing as others.

    Such a mask lies in front where the two overlap: a ball on a man, a cup in a hand. Neither is
    taken for the other, so that each is followed as if the other one were not there.

    Args:
        areas: (N,) float32.
        than: (M,) float32, in the same unit.
    """
    return areas[:, None] * _SIZE_RATIO < than[None]


def compose(
    logits: torch.Tensor, labels: list[int], size_hw: tuple[int, int]
) -> tuple[np.ndarray, list[Shape]]:
    """Let objects compete for pixels: each goes to the object of the highest logit above 0.

    But a much smaller object lies in front of a larger one, whatever the logits say.
    Logits are enlarged bilinearly, as SAM 2 does, but only where an object can be: a mask of a
    tenth of the image costs a tenth of the time.

    Args:
        logits: (N, h, w) float32.
        labels: N pixel values above 0.
        size_hw: Height and width of the result.

    Returns:
        (H, W) uint8 (uint16 when a label exceeds 255) label mask, 0 = background, and the shapes
        of the N masks in it.
    """
    dtype = np.uint8 if max(labels, default=0) <= 255 else np.uint16
    label_mask = np.zeros(size_hw, dtype)
    best = np.zeros(size_hw, np.float32)
    on = (logits > 0).cpu().numpy()
    enlarge_y = _enlargement(size_hw[0], logits.shape[1]).to(logits.device)
    enlarge_x = _enlargement(size_hw[1], logits.shape[2]).to(logits.device)
    windows = [_window(mask, size_hw) for mask in on]
    areas = torch.from_numpy(on.sum(axis=(1, 2), dtype=np.float32))
    smaller = much_smaller(areas, areas).numpy()
    for row in torch.argsort(-areas, stable=True).tolist():  # what lies in front comes later
        label, (ys, xs) = labels[row], windows[row]
        full = (enlarge_y[ys] @ logits[row] @ enlarge_x[xs].T).cpu().numpy()
        won = full > best[ys, xs]
        behind = [labels[other] for other in np.flatnonzero(smaller[row])]
        if behind:
            won |= (full > 0.0) & np.isin(label_mask[ys, xs], behind)
        np.copyto(best[ys, xs], full, where=won)
        np.copyto(label_mask[ys, xs], label, where=won, casting='unsafe')
    shapes = [
        _measure(label_mask, label, window, mask)
        for label, window, mask in zip(labels, windows, on, strict=True)
    ]
    return label_mask, shapes


@functools.lru_cache(maxsize=8)
def _enlargement(size: int, low_res: int) -> torch.Tensor:
    """Return the (size, low_res) float32 matrix of bilinear interpolation at pixel centres."""
    identity = torch.eye(low_res)[None, None]
    return F.interpolate(identity, (size, low_res), mode='bilinear', align_corners=False)[0, 0]


def _window(on: np.ndarray, size_hw: tuple[int, int]) -> tuple[slice, slice]:
    """Return where an (h, w) low-resolution mask can have pixels in the full image."""
    slices = []
    for axis, size in enumerate(size_hw):
        cells = np.flatnonzero(on.any(axis=1 - axis))
        scale = size / on.shape[axis]
        # Bilinear interpolation reaches less than one cell beyond.
        first, last = (cells[0] - 1, cells[-1] + 2) if len(cells) else (0, 0)
        slices.append(slice(max(0, int(first * scale)), min(size, int(np.ceil(last * scale)))))
    return slices[0], slices[1]


def _measure(
    label_mask: np.ndarray, label: int, window: tuple[slice, slice], on: np.ndarray
) -> Shape:
    crop = (label_mask[window] == label).view(np.uint8)
    moments = cv2.moments(crop, binaryImage=True)
    area = int(moments['m00'])
    if not area:
        return EMPTY_SHAPE
    x, y, width, height = cv2.boundingRect(crop)
    left, top = window[1].start, window[0].start
    rows, columns = label_mask.shape
    _, _, stats, _ = cv2.connectedComponentsWithStats(on.view(np.uint8), connectivity=8)
    parts = stats[1:, cv2.CC_STAT_AREA]
    return Shape(
        area,
        (x + left, y + top, width, height),
        (moments['m10'] / area + left, moments['m01'] / area + top),
        x + left == 0 or y + top == 0 or x + left + width == columns or y + top + height == rows,
        int((parts >= _LARGE_PART * parts.sum()).sum()) > 1,
    )


def encode_rle(mask: np.ndarray) -> bytes:
    """Return the compressed COCO run lengths (`counts`) of an (H, W) bool mask."""
    encoded: bytes = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))['counts']
    return encoded


@functools.cache
def label_colors() -> np.ndarray:
    """Return (256, 3) uint8 RGB colours, far apart for neighbouring labels; row 0 is black."""
    hues = (np.arange(256) * 0.618034 * 180.0 + 10.0) % 180.0  # golden ratio: never close soon
    hsv = np.stack([hues, np.full(256, 210.0), np.full(256, 255.0)], axis=1).astype(np.uint8)
    colors = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    colors[0] = 0
    return colors


def overlay(rgb: np.ndarray, label_mask: np.ndarray, *, opacity: float = 0.45) -> np.ndarray:
    """Paint a label mask over an image, with a solid outline.

    Args:
        rgb: (H, W, 3) uint8.
        label_mask: (H, W) uint8 labels, 0 = background.
        opacity: Of the fill, in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    out = rgb.copy()
    x, y, width, height = cv2.boundingRect(label_mask)
    if not width:
        return out
    window = (slice(max(0, y - 1), y + height + 1), slice(max(0, x - 1), x + width + 1))
    labels = label_mask[window].astype(np.uint8)
    painted = cv2.LUT(cv2.merge([labels] * 3), label_colors()[:, None])
    blended = cv2.addWeighted(rgb[window], 1 - opacity, painted, opacity, 0)
    edge = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    crop = cv2.copyTo(blended, labels, np.ascontiguousarray(out[window]))
    out[window] = cv2.copyTo(painted, cv2.min(edge, labels), crop)
    return out
