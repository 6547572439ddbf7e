"""Convert ROS prompts to core types. The engine checks geometry, `ros_types.images` images."""

from __future__ import annotations

from typing import Any

import numpy as np

from robust_vos_ros.core.errors import ImageError, PromptError
from robust_vos_ros.core.prompting.prompts import MAX_NAME, check_names, check_num_points
from robust_vos_ros.core.prompting.reference_pictures import ReferencePicture
from robust_vos_ros.core.settings import Scale16Settings
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.ros_types.images import (
    MAX_DECODED_PIXELS,
    check_image,
    read_values,
    to_frame,
)

MASK_ENCODINGS = ('mono8', '8UC1', 'mono16', '16UC1')


def to_mask(msg: Any) -> np.ndarray:
    """Convert a mask image to (H, W) bool, True where a pixel is not zero.

    Raises:
        PromptError: The image is not a well-formed mono8, 8UC1, mono16 or 16UC1 image.
    """
    if msg.encoding not in MASK_ENCODINGS:
        raise PromptError(
            f'a mask must be one of {", ".join(MASK_ENCODINGS)}, got {msg.encoding!r}'
        )
    try:
        check_image(msg)
    except ImageError as error:
        raise PromptError(f'mask: {error}') from error
    return read_values(msg) != 0


def to_prompt(msg: Any) -> Prompt:
    """Convert a robust_vos/ObjectPrompt to a prompt; the engine checks its geometry.

    Raises:
        PromptError: A name is missing or too long, there are too many points, the labels do not
            match them, the mask is malformed, or there is a reference picture.
    """
    if msg.reference:
        raise PromptError(
            f'{msg.object_id[:MAX_NAME]!r}: expected a prompt on an image of the stream, got one '
            'with a reference picture; send it to add_objects'
        )
    return _to_prompt(msg)


def to_reference_picture(msg: Any, scale_16bit: Scale16Settings) -> ReferencePicture:
    """Convert a robust_vos/ObjectPrompt with a reference picture; decodes the picture.

    Raises:
        PromptError: As in `to_prompt`, or the picture is malformed or too large.
    """
    prompt, (picture,) = _to_prompt(msg), msg.reference
    name = f'{msg.object_id!r}: reference picture'
    if picture.height * picture.width > MAX_DECODED_PIXELS:
        raise PromptError(
            f'{name} of {picture.width} x {picture.height} pixels; expected at most '
            f'{MAX_DECODED_PIXELS / 1e6:.0f} million. Send a smaller one'
        )
    try:
        return ReferencePicture(prompt, to_frame(picture, scale_16bit))
    except ImageError as error:
        raise PromptError(f'{name}: {error}') from error


def _to_prompt(msg: Any) -> Prompt:
    check_names(msg.object_id, msg.class_id)
    check_num_points(len(msg.points), msg.object_id)
    with np.errstate(over='ignore'):  # values too large for float32 become inf, which is rejected
        points = np.array([(point.x, point.y) for point in msg.points], np.float32)
    points = points.reshape(-1, 2)
    num_labels = len(msg.point_labels) or len(points)
    if num_labels != len(points):
        raise PromptError(
            f'{msg.object_id!r}: {len(points)} points but {num_labels} point_labels; give one '
            'label per point, or none'
        )
    labels = np.array(msg.point_labels or [1] * len(points), np.int32)
    box = None
    if msg.box:
        roi = msg.box[0]
        x0, y0 = roi.x_offset, roi.y_offset
        box = np.array((x0, y0, x0 + roi.width, y0 + roi.height), np.float32)
    return Prompt(
        object_id=msg.object_id,
        points=points,
        point_labels=labels,
        box=box,
        mask=to_mask(msg.mask[0]) if msg.mask else None,
        class_id=msg.class_id,
        text=msg.text,
    )
