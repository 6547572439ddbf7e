"""Points of a true mask that stand for the clicks of a person."""

from __future__ import annotations

import cv2
import numpy as np

_MARGIN_PX = 2.0


def three_points(mask: np.ndarray) -> np.ndarray:
    """Return three points of a mask: the deepest one, then twice the one farthest from the others.

    Args:
        mask: (H, W) bool, not empty.

    Returns:
        (3, 2) float32, (x, y) in pixels. The points are at least 2 px inside of the mask if it has
        such pixels, and may repeat in a tiny mask.
    """
    # The border of the image counts as the border of the object.
    padded = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.nonzero(depth >= min(_MARGIN_PX, depth.max()))
    inside = np.stack([x, y], axis=1).astype(np.float32)
    chosen = [inside[np.argmax(depth[y, x])]]
    nearest = np.full(len(inside), np.inf)
    for _ in range(2):
        nearest = np.minimum(nearest, np.linalg.norm(inside - chosen[-1], axis=1))
        chosen.append(inside[np.argmax(nearest)])
    return np.stack(chosen)
