"""A short video with the masks of some of its objects."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """T frames and the masks of K objects.

    Attributes:
        name: The sequence or the seed it was made from.
        images: (T, H, W, 3) uint8, RGB.
        masks: (K, T, H, W) uint8: 1 where the object is visible, 0 elsewhere. Masks may overlap.
    """

    name: str
    images: np.ndarray
    masks: np.ndarray

    def __post_init__(self) -> None:
        shape = self.images.shape[:3]
        if self.images.shape != (*shape, 3) or self.images.dtype != np.uint8:
            raise ValueError(
                f'images: expected (T, H, W, 3) uint8, got {self.images.shape} {self.images.dtype}'
            )
        if self.masks.shape[1:] != shape or self.masks.dtype != np.uint8:
            raise ValueError(
                f'masks: expected (K, {", ".join(map(str, shape))}) uint8, '
                f'got {self.masks.shape} {self.masks.dtype}'
            )
