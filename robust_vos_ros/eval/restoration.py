"""The two-stage baseline: restore the image, then segment it."""

from __future__ import annotations

import cv2
import numpy as np

_STRENGTH = 12.0  # of the denoising, grey levels
_PATCH, _SEARCH = 5, 11  # pixels
_CLIP_LIMIT, _TILES = 1.5, (4, 4)  # of the histogram equalization


def restore(rgb: np.ndarray) -> np.ndarray:
    """Denoise by non-local means (Buades et al., 2005) and equalize contrast locally (CLAHE).

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (H, W, 3) uint8.
    """
    clean = cv2.fastNlMeansDenoisingColored(rgb, None, _STRENGTH, _STRENGTH, _PATCH, _SEARCH)
    lab = cv2.cvtColor(clean, cv2.COLOR_RGB2LAB)
    clahe = cv2.createCLAHE(_CLIP_LIMIT, _TILES)
    lab[..., 0] = clahe.apply(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
