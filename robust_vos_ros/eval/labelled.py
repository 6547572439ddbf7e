"""One image and what is in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One image and what is in it.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        masks: (H, W) bool of each visible object, by its id; None where the frame has no labels.
        void: (H, W) bool, pixels that count for nothing; None = no such pixels.
        visible: Share of each object that is visible, in [0, 1]; empty where nobody knows.
        in_view: Whether the image would show each object if nothing were in front of it; likewise.
    """

    image: np.ndarray
    masks: Mapping[int, np.ndarray] | None
    void: np.ndarray | None = None
    visible: Mapping[int, float] = dataclasses.field(default_factory=dict)
    in_view: Mapping[int, bool] = dataclasses.field(default_factory=dict)
