"""Prompts as messages."""

from __future__ import annotations

import array
import math
from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point
from robust_vos.msg import ObjectPrompt
from sensor_msgs.msg import Image, RegionOfInterest

from robust_vos_ros.core.errors import PromptError

Pair = tuple[float, float]
# As in the node, which gets the box after it is cut here.
_MIN_INSIDE = 0.75


def to_prompt_message(
    object_id: str,
    *,
    class_id: str = '',
    box: tuple[float, float, float, float] | None = None,
    points: Sequence[Pair] = (),
    labels: Sequence[int] = (),
    mask: np.ndarray | None = None,
    text: str = '',
    reference: Image | np.ndarray | None = None,
) -> ObjectPrompt:
    """Return the message of a prompt; coordinates are pixels of the image, x right, y down.

    Args:
        object_id: Name of the object.
        class_id: Free text.
        box: (x0, y0, x1, y1); it is rounded outwards to whole pixels, and cut at the left and
            upper border if most of it is inside.
        points: Clicks (x, y).
        labels: Of each click, 1 on the object, 0 not on it; empty = all on it.
        mask: (H, W), not zero on the object.
        text: What it is, in words: alone, the object is added when it is found; with box, points
            or mask, it is what to find again when the object is lost.
        reference: A picture of the object from another time, which box, points and mask refer to:
            a message, or (H, W, 3) uint8 RGB. Only for adding the object.

    Raises:
        PromptError: The box, the mask or the picture is malformed.
    """
    msg = ObjectPrompt(object_id=object_id, class_id=class_id, text=text)
    msg.points = [Point(x=float(x), y=float(y)) for x, y in points]
    msg.point_labels = [int(label) for label in labels]
    if box is not None:
        msg.box = [_to_roi(box)]
    if mask is not None:
        msg.mask = [_to_mask(np.asarray(mask))]
    if reference is not None:
        picture = reference if isinstance(reference, Image) else _to_picture(reference)
        msg.reference = [picture]
    return msg


def _to_roi(box: tuple[float, float, float, float]) -> RegionOfInterest:
    x0, y0, x1, y1 = box
    if not (-math.inf < x0 < x1 < 2**31 and -math.inf < y0 < y1 < 2**31):
        raise PromptError(f'expected a box (x0, y0, x1, y1) with x0 < x1 and y0 < y1, got {box}')
    width, height = x1 - max(x0, 0), y1 - max(y0, 0)
    if min(width, height) <= 0 or width * height < _MIN_INSIDE * (x1 - x0) * (y1 - y0):
        raise PromptError(
            f'expected a box of which at least {_MIN_INSIDE:.0%} is inside the image, got {box}; '
            'send pixels (x right, y down) of the image'
        )
    left, top = max(math.floor(x0), 0), max(math.floor(y0), 0)
    return RegionOfInterest(
        x_offset=left, y_offset=top, width=math.ceil(x1) - left, height=math.ceil(y1) - top
    )


def _to_mask(mask: np.ndarray) -> Image:
    if mask.ndim != 2:
        raise PromptError(f'expected a mask of shape (H, W), got {mask.shape}')
    return _to_image((mask != 0).astype(np.uint8), 'mono8')


def _to_picture(rgb: np.ndarray) -> Image:
    rgb = np.asarray(rgb)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise PromptError(
            f'expected a picture of shape (H, W, 3) uint8 RGB, got {rgb.shape} {rgb.dtype}'
        )
    return _to_image(rgb, 'rgb8')


def _to_image(values: np.ndarray, encoding: str) -> Image:
    height, width = values.shape[:2]
    data = array.array('B', values.tobytes())
    step = len(data) // height if height else 0
    return Image(height=height, width=width, encoding=encoding, step=step, data=data)
