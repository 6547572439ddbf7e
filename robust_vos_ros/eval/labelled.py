"""One image with its ground truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One image with its ground truth.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        masks: (H, W) bool of each visible object, by its id; None if the frame is not labelled.
        void: (H, W) bool, pixels that are not scored; None = no such pixels.
        visible: Share of each object that is visible, in [0, 1]; empty if not known.
        in_view: Whether each object is inside the image, occluded or not; empty if not known.
    """

    image: np.ndarray
    masks: Mapping[int, np.ndarray] | None
    void: np.ndarray | None = None
    visible: Mapping[int, float] = dataclasses.field(default_factory=dict)
    in_view: Mapping[int, bool] = dataclasses.field(default_factory=dict)
