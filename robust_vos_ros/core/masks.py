"""Mask logits to label images, shapes and pictures."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask

# A part of a mask counts as large from this share of the mask's area.
_LARGE_PART = 0.15


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """Measures of one mask in pixels.

    Attributes:
        box_xywh: Tight box, all zero for an empty mask.
        centroid_xy: Mean pixel, NaN for an empty mask.
    """

    area_px: int
    box_xywh: tuple[int, int, int, int]
    centroid_xy: tuple[float, float]
    touches_border: bool
    fragmented: bool


EMPTY_SHAPE = Shape(0, (0, 0, 0, 0), (float('nan'), float('nan')), False, False)


def to_label_mask(
    logits: torch.Tensor, labels: list[int], size_hw: tuple[int, int]
) -> np.ndarray:
    """Let objects compete for pixels: each goes to the object of the highest logit above 0.

    Args:
        logits: (N, h, w) float32.
        labels: N pixel values above 0.
        size_hw: Height and width of the result.

    Returns:
        (H, W) uint8, or uint16 when a label exceeds 255; 0 = background.
    """
    dtype = np.uint8 if max(labels, default=0) <= 255 else np.uint16
    if not labels:
        return np.zeros(size_hw, dtype)
    full = F.interpolate(logits[:, None], size_hw, mode='bilinear', align_corners=False)[:, 0]
    best, winner = full.max(dim=0)
    table = torch.tensor([0, *labels], dtype=torch.int32, device=logits.device)
    label_mask = table[torch.where(best > 0, winner + 1, 0)]
    return label_mask.cpu().numpy().astype(dtype)


def measure(label_mask: np.ndarray, label: int) -> Shape:
    """Measure the pixels of one label in an (H, W) label mask."""
    mask = (label_mask == label).view(np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    if not width:
        return EMPTY_SHAPE
    crop = mask[y : y + height, x : x + width]
    num, _, stats, centroids = cv2.connectedComponentsWithStats(crop, connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.int64)
    area = int(areas.sum())
    centroid = (centroids[1:] * areas[:, None]).sum(axis=0) / area + (x, y)
    rows, columns = label_mask.shape
    return Shape(
        area,
        (x, y, width, height),
        (float(centroid[0]), float(centroid[1])),
        x == 0 or y == 0 or x + width == columns or y + height == rows,
        num > 2 and int((areas >= _LARGE_PART * area).sum()) > 1,
    )


def encode_rle(mask: np.ndarray) -> bytes:
    """Return the compressed COCO run lengths (`counts`) of an (H, W) bool mask."""
    encoded: bytes = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))['counts']
    return encoded


def label_colors(num: int) -> np.ndarray:
    """Return (num, 3) uint8 RGB colours, far apart for neighbouring labels; row 0 is black."""
    hues = (np.arange(num) * 0.618034 * 180.0 + 10.0) % 180.0  # golden ratio: never close soon
    hsv = np.stack([hues, np.full(num, 210.0), np.full(num, 255.0)], axis=1).astype(np.uint8)
    colors = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    colors[0] = 0
    return colors


def overlay(rgb: np.ndarray, label_mask: np.ndarray, *, opacity: float = 0.45) -> np.ndarray:
    """Paint a label mask over an image, with a solid outline.

    Args:
        rgb: (H, W, 3) uint8.
        label_mask: (H, W) labels, 0 = background.
        opacity: Of the fill, in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    colors = label_colors(int(label_mask.max()) + 1)
    painted = colors[label_mask]
    out = np.where(
        label_mask[..., None] > 0, cv2.addWeighted(rgb, 1 - opacity, painted, opacity, 0), rgb
    )
    edge = cv2.morphologyEx(label_mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    edge &= label_mask > 0
    out[edge] = painted[edge]
    return out
