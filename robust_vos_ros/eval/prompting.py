"""Prompts made from a true mask: the mask itself, its box, or clicks on it."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.types import Prompt

PromptForm = Literal['mask', 'box', 'clicks3', 'click1']
PROMPT_FORMS: tuple[str, ...] = get_args(PromptForm)
_CLICK_MARGIN_PX = 2.0


def make_prompt(form: str, mask: np.ndarray, object_id: str) -> Prompt:
    """Return the prompt for the object of a mask.

    Args:
        form: One of `PROMPT_FORMS`.
        mask: (H, W) bool, not empty.
        object_id: Name of the object.

    Raises:
        ConfigError: The form is unknown.
    """
    if form == 'mask':
        return Prompt(object_id, mask=mask)
    if form == 'box':
        return Prompt(object_id, box=tight_box(mask))
    if form in {'clicks3', 'click1'}:
        points = three_points(mask)[: 3 if form == 'clicks3' else 1]
        return Prompt(object_id, points=points, point_labels=np.ones(len(points), np.int32))
    raise ConfigError(f'prompt: expected one of {", ".join(PROMPT_FORMS)}, got {form!r}')


def tight_box(mask: np.ndarray) -> np.ndarray:
    """Return the (4,) float32 box (x0, y0, x1, y1) in pixels around an (H, W) bool mask."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return np.array([x, y, x + width, y + height], np.float32)


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
    y, x = np.nonzero(depth >= min(_CLICK_MARGIN_PX, depth.max()))
    inside = np.stack([x, y], axis=1).astype(np.float32)
    chosen = [inside[np.argmax(depth[y, x])]]
    nearest = np.full(len(inside), np.inf)
    for _ in range(2):
        nearest = np.minimum(nearest, np.linalg.norm(inside - chosen[-1], axis=1))
        chosen.append(inside[np.argmax(nearest)])
    return np.stack(chosen)
