"""Prompts made from a true mask: the mask itself, its box, or clicks on it."""

from __future__ import annotations

from typing import Literal, get_args

import cv2
import numpy as np

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.data.mask_points import three_points

PromptForm = Literal['mask', 'box', 'clicks3', 'click1']
PROMPT_FORMS: tuple[str, ...] = get_args(PromptForm)


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
