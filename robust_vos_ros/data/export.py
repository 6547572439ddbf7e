"""Write clips as a data set of images and palette masks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from robust_vos_ros.data.clip import Clip

_JPEG_QUALITY = 95
_PALETTE = [0, 0, 0, *np.random.default_rng(0).integers(60, 256, 3 * 255).tolist()]


def write_clip(root: Path, name: str, clip: Clip) -> None:
    """Write one clip in the layout `folders`: JPEGImages/NAME and Annotations/NAME.

    Args:
        root: Folder of the data set.
        name: Name of the sequence.
        clip: At most 255 objects; ids begin with 1. Where masks overlap, the later object counts.
    """
    images, masks = root / 'JPEGImages' / name, root / 'Annotations' / name
    for folder in (images, masks):
        folder.mkdir(parents=True, exist_ok=True)
    for t, image in enumerate(clip.images):
        quality = (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
        cv2.imwrite(str(images / f'{t:05d}.jpg'), image[..., ::-1], quality)
        labels = np.zeros(image.shape[:2], np.uint8)
        for row, mask in enumerate(clip.masks[:, t]):
            labels[mask > 0] = row + 1
        palette_image = Image.fromarray(labels, 'P')
        palette_image.putpalette(_PALETTE)
        palette_image.save(masks / f'{t:05d}.png')
