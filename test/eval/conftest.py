"""A clip in which copying fails and following works: a square that leaves its first place."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

NUM_FRAMES = 10


def texture(rng, height, width, base):
    coarse = rng.normal(0.0, 20.0, (height // 4, width // 4, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + np.array(base), 0, 255).astype(np.uint8)


@pytest.fixture(scope='session')
def clip():
    """Images (160, 244, 3) of a 72 px square that moves by 6 px a frame, and its masks."""
    rng = np.random.default_rng(5)
    background = texture(rng, 160, 244, (60, 110, 60))
    square = texture(rng, 72, 72, (190, 70, 70))
    images, masks = [], []
    for index in range(NUM_FRAMES):
        place = np.s_[40 + index : 112 + index, 30 + 6 * index : 102 + 6 * index]
        image, mask = background.copy(), np.zeros(background.shape[:2], bool)
        image[place], mask[place] = square, True
        images.append(image)
        masks.append(mask)
    return SimpleNamespace(images=images, masks=masks)


@pytest.fixture
def dataset_root(clip, tmp_path):
    """The clip as a data set of one sequence, in folders."""
    for index, (image, mask) in enumerate(zip(clip.images, clip.masks, strict=True)):
        for folder in ('JPEGImages', 'Annotations'):
            (tmp_path / folder / 'square').mkdir(parents=True, exist_ok=True)
        stem = f'square/{index:05d}'
        cv2.imwrite(str(tmp_path / 'JPEGImages' / f'{stem}.jpg'), image[..., ::-1])
        cv2.imwrite(str(tmp_path / 'Annotations' / f'{stem}.png'), 255 * mask.astype(np.uint8))
    (tmp_path / 'val.txt').write_text('square\n')
    return tmp_path
