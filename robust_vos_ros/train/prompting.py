"""Prompts made from true masks, as users give them: boxes, clicks, masks, correction clicks."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from robust_vos_ros.core.network.tensors import Clicks
from robust_vos_ros.data.mask_points import three_points

# Forms besides the mask; a step uses masks and one of these.
CLICK_FORMS = ('box', 'click1', 'clicks3')
_BOX_JITTER = 0.1  # share of the side, as in SAM 2's training
_MAX_JITTER_PX = 20.0
_SPREAD_SHARE = 0.5  # of three clicks that are far from each other, as in the benchmarks


def make_clicks(rng: np.random.Generator, truth: np.ndarray, form: str) -> Clicks:
    """Prompt B objects in one form.

    Args:
        rng: Source of randomness.
        truth: (B, H, W) uint8; for an empty mask the prompt is anywhere in the image.
        form: One of `CLICK_FORMS`.
    """
    made = [_one(rng, mask, form) for mask in truth]
    return Clicks(
        torch.from_numpy(np.stack([coords for coords, _ in made])),
        torch.from_numpy(np.stack([labels for _, labels in made])),
    )


def degrade_mask(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Return an (H, W) uint8 mask with errors as of a hand-drawn one: dilated, eroded or smoothed.

    Half of the masks are not changed, nor is one that would become empty.
    """
    choice = rng.integers(6)
    if choice > 2:
        return mask
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (int(rng.integers(2, 5)),) * 2)
    if choice == 0:
        changed = cv2.dilate(mask, kernel)
    elif choice == 1:
        changed = cv2.erode(mask, kernel)
    else:
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(1.0, 3.0))
        changed = (soft > 0.5).astype(np.uint8)
    return changed if changed.any() else mask


def correction_clicks(rng: np.random.Generator, logits: torch.Tensor, truth: np.ndarray) -> Clicks:
    """Click once on the largest error of each mask.

    Args:
        rng: Source of randomness; a mask without errors gets a random click.
        logits: (B, h, w) predicted masks.
        truth: (B, H, W) uint8.

    Returns:
        One click per object, in pixels of the truth.
    """
    height, width = truth.shape[1:]
    coords = np.zeros((len(truth), 1, 2), np.float32)
    labels = np.zeros((len(truth), 1), np.int32)
    predicted = logits.detach().float().numpy(force=True)
    for row, (mask, wanted) in enumerate(zip(predicted, truth, strict=True)):
        shown = cv2.resize(mask, (width, height)) > 0
        regions = {1: (wanted > 0) & ~shown, 0: (wanted == 0) & shown}
        label = max(regions, key=lambda key: regions[key].sum())
        region = regions[label]
        if not region.any():
            label, region = (1, wanted > 0) if wanted.any() else (0, ~shown)
            coords[row, 0] = _random_points(rng, region, 1)
        else:
            coords[row, 0] = _deepest(region)
        labels[row, 0] = label
    return Clicks(torch.from_numpy(coords), torch.from_numpy(labels))


def _one(rng: np.random.Generator, mask: np.ndarray, form: str) -> tuple[np.ndarray, np.ndarray]:
    region = mask > 0 if mask.any() else np.ones_like(mask, bool)
    if form == 'box':
        return _box(rng, region), np.array([2, 3], np.int32)
    count = 1 if form == 'click1' else 3
    points = _random_points(rng, _core(region) if rng.random() < 0.5 else region, count)
    if rng.random() < 0.5:
        points[0] = _deepest(region)
    if count > 1 and rng.random() < _SPREAD_SHARE:
        points = three_points(region) + 0.5
    labels = np.ones(count, np.int32)
    if count > 1 and rng.random() < 0.25:
        around = cv2.dilate(mask, np.ones((31, 31), np.uint8)) > 0
        around &= cv2.dilate(mask, np.ones((5, 5), np.uint8)) == 0
        if around.any():
            points[-1], labels[-1] = _random_points(rng, around, 1)[0], 0
    return points, labels


def _box(rng: np.random.Generator, region: np.ndarray) -> np.ndarray:
    """Return the (2, 2) corners of the tight box, jittered in half of the cases."""
    ys, xs = np.nonzero(region)
    corners = np.array([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]], np.float32)
    if rng.random() < 0.5:
        spread = np.minimum(_BOX_JITTER * (corners[1] - corners[0]), _MAX_JITTER_PX)
        corners = corners + rng.uniform(-spread, spread, (2, 2))
    height, width = region.shape
    return np.clip(corners, 0, [width, height]).astype(np.float32)


def _core(region: np.ndarray) -> np.ndarray:
    """Return the half of the pixels of a region that are farthest from its outline."""
    depth = _depth(region)
    return depth >= np.median(depth[region])


def _deepest(region: np.ndarray) -> np.ndarray:
    """Return the (x, y) of the pixel that is farthest from the outline."""
    y, x = np.unravel_index(_depth(region).argmax(), region.shape)
    return np.array([x + 0.5, y + 0.5], np.float32)


def _depth(region: np.ndarray) -> np.ndarray:
    padded = np.pad(region.astype(np.uint8), 1)
    return cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]


def _random_points(rng: np.random.Generator, region: np.ndarray, count: int) -> np.ndarray:
    ys, xs = np.nonzero(region)
    picked = rng.integers(len(ys), size=count)
    return (np.stack([xs[picked], ys[picked]], axis=1) + 0.5).astype(np.float32)
