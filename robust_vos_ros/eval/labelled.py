"""One image and what is in it."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One image and what is in it.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        masks: (H, W) bool by object; None where nothing is known of the frame.
    """

    image: np.ndarray
    masks: dict[str, np.ndarray] | None
