"""Objects and backgrounds for rendered clips, taken from footage with masks."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.layers import Layer
from robust_vos_ros.data.video_sequence import VideoSequence

_NUM_PHOTOS = 3
_MAX_FRAMES = 45  # of one object
_MAX_SIDE_PX = 160  # of a cut-out object
_MARGIN_PX = 3  # around an object
_MIN_PX = 400  # area of an object that is cut out


def take_footage(
    rng: np.random.Generator, sequences: Sequence[VideoSequence], count: int
) -> tuple[list[np.ndarray], list[Layer]]:
    """Return images and cut-out objects, of different sequences if there are enough.

    Args:
        rng: Source of randomness.
        sequences: At least one.
        count: Number of objects.

    Returns:
        (H, W, 3) uint8 images, and objects, each in the centre of its layer.

    Raises:
        DatasetError: No sequence has a usable object.
    """
    order = [sequences[i] for i in rng.permutation(len(sequences))]
    cutouts, used = cut_objects(rng, order, count)
    others = order[used:] or order
    picked = [others[i % len(others)] for i in range(_NUM_PHOTOS)]
    photos = [sequence.image(int(rng.integers(sequence.num_frames))) for sequence in picked]
    return photos, cutouts


def cut_objects(
    rng: np.random.Generator, order: Sequence[VideoSequence], count: int
) -> tuple[list[Layer], int]:
    """Return cut-out objects, and the number of sequences that were read, from the first on.

    Arguments and errors as in `take_footage`.
    """
    cutouts: list[Layer] = []
    used = 0
    for sequence in order:
        if len(cutouts) == count:
            break
        used += 1
        cutout = _cut_object(rng, sequence)
        if cutout is not None:
            cutouts.append(cutout)
    if not cutouts:
        raise DatasetError(
            f'footage: expected objects of {_MIN_PX} pixels or more in {len(order)} sequences, '
            'got none'
        )
    return [cutouts[i % len(cutouts)] for i in range(count)], used


def _cut_object(rng: np.random.Generator, sequence: VideoSequence) -> Layer | None:
    """Cut out one object of a sequence, if possible where it is whole; None if none is usable."""
    if not sequence.object_ids:
        return None
    object_id = int(rng.choice(sequence.object_ids))
    masks = {}
    for index in sequence.labelled:
        mask = (sequence.masks(index) or {}).get(object_id)
        if mask is not None and np.count_nonzero(mask) >= _MIN_PX:
            masks[index] = mask
    whole = [index for index, mask in masks.items() if not _touches_border(mask)]
    run = _longest_run(sequence.labelled, set(whole) or set(masks))
    if not run:
        return None
    first = int(rng.integers(max(1, len(run) - _MAX_FRAMES + 1)))
    run = run[first : first + _MAX_FRAMES]
    return cut_out_centered(
        [sequence.image(index) for index in run], [masks[index] for index in run]
    )


def cut_out_centered(images: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Layer:
    """Cut an object out of frames; a window of constant size follows its centre.

    Args:
        images: (H, W, 3) uint8, RGB.
        masks: (H, W) bool, none of them empty.
    """
    boxes = np.array([cv2.boundingRect(mask.view(np.uint8)) for mask in masks])
    middles = boxes[:, :2] + boxes[:, 2:] / 2.0
    width, height = boxes[:, 2:].max(axis=0) + 2 * _MARGIN_PX
    scale = min(1.0, _MAX_SIDE_PX / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    colors, alphas = [], []
    for image, mask, (x, y) in zip(images, masks, middles, strict=True):
        shift = np.array([size[0] / 2 - x * scale, size[1] / 2 - y * scale])
        matrix = np.column_stack([np.eye(2) * scale, shift])
        soft = image if scale == 1.0 else cv2.GaussianBlur(image, (0, 0), 0.5 / scale)
        colors.append(cv2.warpAffine(soft, matrix, size, borderMode=cv2.BORDER_REPLICATE))
        edge = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.6, 0.5 / scale))
        alphas.append(cv2.warpAffine(edge, matrix, size))
    return Layer(np.stack(colors), np.stack(alphas))


def _touches_border(mask: np.ndarray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _longest_run(labelled: Sequence[int], good: set[int]) -> list[int]:
    """Return the longest run of labelled frames that are all good."""
    best: list[int] = []
    run: list[int] = []
    for index in labelled:
        run = [*run, index] if index in good else []
        if len(run) > len(best):
            best = run
    return best
