"""Stability of masks over time: the decay of a score, and jitter from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.eval.metrics import region_similarity

_FLOW_SIDE = 256  # px; jitter is judged at this size of the longer side
_MIN_SIDE = 64  # px; DIS crashes on images of a few rows


def decay(values: Sequence[float]) -> float:
    """Return the decay: the mean of the first quarter of the frames minus that of the last.

    Adjacent quarters share a frame, as in the DAVIS benchmark (Perazzi et al., CVPR 2016).

    Args:
        values: Score of each frame, at least one.
    """
    ends = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[ends[0] : ends[1] + 1], values[ends[3] : ends[4] + 1]
    return float(np.mean(first) - np.mean(last))


class JitterMeter:
    """Jitter of masks: changes from frame to frame that the motion of the image does not explain.

    The mask of the frame before is warped by optical flow (DIS), computed on clean images; jitter
    is 1 - IoU with the mask of this frame. As the flow has errors too, the jitter of the true
    masks is the lower bound.
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._grey: np.ndarray | None = None
        self._masks: dict[str, np.ndarray] = {}
        self._values: dict[str, list[float]] = {}

    def add(self, image: np.ndarray, masks: dict[str, np.ndarray]) -> None:
        """Take the next frame.

        Args:
            image: (H, W, 3) uint8, clean.
            masks: (H, W) bool by name; a mask is not scored if it is empty or tiny, or if it was
                missing in the frame before.
        """
        height, width = image.shape[:2]
        scale = _FLOW_SIDE / max(height, width)
        size = max(_MIN_SIDE, round(width * scale)), max(_MIN_SIDE, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        shrunk = {
            name: cv2.resize(mask.view(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
            for name, mask in masks.items()
        }
        shrunk = {name: mask for name, mask in shrunk.items() if mask.any()}
        if self._grey is not None and shrunk.keys() & self._masks.keys():
            where = self._flow.calc(grey, self._grey, None)
            where += np.stack(np.meshgrid(np.arange(size[0]), np.arange(size[1])), axis=-1)
            for name in shrunk.keys() & self._masks.keys():
                before = self._masks[name].astype(np.float32)
                moved = cv2.remap(before, where, None, cv2.INTER_LINEAR) > 0.5
                similarity = region_similarity(moved, shrunk[name])
                self._values.setdefault(name, []).append(1.0 - similarity)
        self._grey, self._masks = grey, shrunk

    def mean(self, name: str) -> float | None:
        """Return the mean jitter in [0, 1]; None if no two consecutive frames had a mask."""
        values = self._values.get(name)
        return float(np.mean(values)) if values else None
