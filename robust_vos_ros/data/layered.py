"""Clips made of single images: objects move apart from their background, others are pasted.

If an image moves as a whole, a network learns that everything moves together. Here the objects of
an image are cut out, the background is inpainted or taken from another image, and each object
moves on its own while the camera pans and zooms. Some objects stay attached to the background, so
that parts of objects and objects at rest are tracked as well.

Shape legend: T frames, S side of the square images, K objects of an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.data import motion
from robust_vos_ros.data.layers import Layer, cut_out, place_at
from robust_vos_ros.data.moving_objects import (
    MovingObject,
    cut_in_place,
    deform,
    draw,
    draw_path,
    inpaint,
)
from robust_vos_ros.data.sources import LabelledImage

_MIN_PX = 30  # area of an object that is cut out
_MAX_OBJECTS = 8  # of one image
_ATTACHED_SHARES = (0.1, 0.5, 1.0)  # of the objects; one is drawn per clip
_BORDER_MOVES = 0.25  # share of the objects at the image border that move on their own


class LayeredSettings(Settings):
    """How still images are animated, and which objects are pasted into clips."""

    other_background: float = setting(
        0.2,
        'Share of images whose objects move over the background of another image.',
        ge=0.0,
        le=1.0,
    )
    pan: float = setting(0.2, 'Largest motion of the camera, share of the image.', ge=0.0, le=1.0)
    deform: float = setting(0.6, 'Share of objects that change their shape.', ge=0.0, le=1.0)
    away: float = setting(
        0.15, 'Share of moving objects that leave the image and come back.', ge=0.0, le=1.0
    )
    far: float = setting(0.4, 'Share of moving objects that may cross the image.', ge=0.0, le=1.0)
    slowest: float = setting(
        0.08,
        'Speed of the slowest clips, relative to the fastest; speeds between them are equally '
        'likely on a logarithmic scale, as most motion in video is slow.',
        gt=0.0,
        le=1.0,
    )
    shadow: float = setting(0.2, 'Share of pasted objects that cast a shadow.', ge=0.0, le=1.0)
    behind: float = setting(
        0.25, 'Share of pasted objects that pass behind the others.', ge=0.0, le=1.0
    )
    same_class: float = setting(
        0.4,
        'Share of pasted objects that are of the class of an object of the clip.',
        ge=0.0,
        le=1.0,
    )
    copies: float = setting(
        0.15, 'Share of pasted objects that are copies of an object of the clip.', ge=0.0, le=1.0
    )
    touching: float = setting(
        0.4, 'Share of pasted objects that start on an object, or at its outline.', ge=0.0, le=1.0
    )
    grouped: float = setting(
        0.0,
        'Share of images in which an object and those that touch it become one object, as a rider '
        'and a bicycle.',
        ge=0.0,
        le=1.0,
    )
    min_area: float = setting(
        0.004, 'Area of the smallest pasted object, share of the image.', gt=0.0, le=1.0
    )
    max_area: float = setting(
        0.15, 'Area of the largest pasted object, share of the image.', gt=0.0, le=1.0
    )


def animate(
    rng: np.random.Generator,
    image: np.ndarray,
    masks: np.ndarray,
    num_frames: int,
    settings: LayeredSettings,
    *,
    other: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Move the objects of an image, its background and the camera.

    Args:
        rng: Source of randomness.
        image: (S, S, 3) uint8.
        masks: (K, S, S) uint8.
        num_frames: T.
        settings: How they move.
        other: (S, S, 3) uint8 image for the background; None = its own, inpainted.

    Returns:
        (T, S, S, 3) uint8 images and (K', T, S, S) uint8 masks of what is visible.
    """
    size = len(image)
    masks = masks[np.flatnonzero(masks.sum(axis=(1, 2)) >= _MIN_PX)]
    masks = masks[rng.permutation(len(masks))[:_MAX_OBJECTS]]
    attached = _attached(rng, masks) if other is None else np.zeros(len(masks), bool)
    free, rest = masks[~attached], masks[attached]
    speed = _draw_speed(rng, settings)
    camera = motion.affine_path(
        rng, num_frames, size=size, shift=settings.pan * size * speed, turn_deg=10 * speed,
        log_scale=0.25 * speed, shear=0.05 * speed,
    )  # fmt: skip
    if rng.random() < 0.5:
        camera = camera[::-1]
    background = image if other is None else other
    if other is None and len(free):
        background = inpaint(rng, image, free.max(axis=0))
    images, kept = _move_background(rng, background, rest, camera, settings)
    moving = [_free_object(rng, image, mask, camera, settings, speed=speed) for mask in free]
    return images, draw(images, kept, moving)


def make_pasted_object(
    rng: np.random.Generator,
    frames: Sequence[LabelledImage],
    images: np.ndarray,
    masks: np.ndarray,
    settings: LayeredSettings,
    *,
    class_name: str = '',
) -> MovingObject | None:
    """Return an object of another image or of the clip itself, to be drawn into a clip.

    Args:
        rng: Source of randomness.
        frames: Consecutive frames of a video, or one image.
        images: (T, S, S, 3) uint8 of the clip.
        masks: (K, T, S, S) uint8 of the clip.
        settings: How it moves.
        class_name: Class of the object that is taken, if `frames` show one; empty = any.

    Returns:
        None if `frames` show no object.
    """
    num_frames, size = images.shape[:2]
    layer = _copy_of(rng, images, masks) if rng.random() < settings.copies else None
    layer = layer or _cut_from(rng, frames, class_name)
    if layer is None:
        return None
    if len(layer.alphas) == 1 and rng.random() < settings.deform:
        layer = deform(rng, layer, num_frames)
    low, high = math.log(settings.min_area), math.log(settings.max_area)
    area = size**2 * math.exp(rng.uniform(low, high))
    center, carrier = rng.uniform(0.05, 0.95, 2) * size, None
    if len(masks) and rng.random() < settings.touching:
        row = int(rng.integers(len(masks)))
        point = _point_on(rng, masks[row, 0])
        if point is not None:
            center, area = point, min(area, max(0.3 * masks[row, 0].sum(), settings.min_area))
            carrier = masks[row] if rng.random() < 0.5 else None
    first = place_at(rng, layer, area, center)
    if carrier is None:
        path = draw_path(
            rng, num_frames, size, center=(center[0], center[1]), away=settings.away,
            far=settings.far, speed=_draw_speed(rng, settings),
        )  # fmt: skip
    else:
        path = _shifts_of(carrier)
    behind = carrier is None and rng.random() < settings.behind
    return MovingObject(layer, motion.compose(path, first), rng.random() < settings.shadow, behind)


def group_touching(rng: np.random.Generator, masks: np.ndarray) -> np.ndarray:
    """Join an object and up to two that touch it; (K, S, S) -> (K', S, S) uint8 masks."""
    seen = np.flatnonzero(masks.any(axis=(1, 2)))
    if len(seen) < 2:
        return masks
    first = int(rng.choice(seen))
    around = cv2.dilate(masks[first], np.ones((7, 7), np.uint8)).astype(bool)
    touching = [row for row in seen if row != first and (masks[row] > 0)[around].any()]
    joined = rng.permutation(touching)[: rng.integers(1, 3)].astype(int)
    union = masks[[first, *joined]].max(axis=0)
    return np.concatenate([union[None], np.delete(masks, [first, *joined], axis=0)])


def _draw_speed(rng: np.random.Generator, settings: LayeredSettings) -> float:
    """Draw the factor of all motion in a clip, in [`slowest`, 1]."""
    return math.exp(rng.uniform(math.log(settings.slowest), 0.0))


def _attached(rng: np.random.Generator, masks: np.ndarray) -> np.ndarray:
    """Draw which of K objects move with the background, as most do that the border cuts."""
    attached = rng.random(len(masks)) < rng.choice(_ATTACHED_SHARES)
    edges = [masks[:, 0], masks[:, -1], masks[:, :, 0], masks[:, :, -1]]
    cut = np.concatenate(edges, axis=1).any(axis=1)
    return attached | (cut & (rng.random(len(masks)) >= _BORDER_MOVES))


def _move_background(
    rng: np.random.Generator,
    background: np.ndarray,
    masks: np.ndarray,
    camera: np.ndarray,
    settings: LayeredSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Return images and masks of what moves with the camera, in some clips deformed a little."""
    size = len(background)
    amplitude = rng.uniform(0.0, 0.03) * size if rng.random() < settings.deform else 0.0
    fields = motion.field_path(rng, len(camera), size, cells=4, amplitude=amplitude)
    soft = np.ascontiguousarray(masks.transpose(1, 2, 0)).astype(np.float32)
    images = np.empty((len(camera), size, size, 3), np.uint8)
    kept = np.zeros((len(masks), len(camera), size, size), np.uint8)
    for t, (matrix, field) in enumerate(zip(camera, fields, strict=True)):
        images[t] = motion.warp(background, matrix, field, border='reflect')
        for row in range(len(masks)):
            moved = motion.warp(soft[..., row], matrix, field, border='zero')
            kept[row, t] = moved >= 0.5
    return images, kept


def _free_object(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray,
    camera: np.ndarray,
    settings: LayeredSettings,
    *,
    speed: float,
) -> MovingObject:
    """Cut an object out of its image and let it move on its own, besides the camera."""
    layer, place = cut_in_place(image, mask)
    height, width = layer.alphas[0].shape
    center = place @ [width / 2, height / 2, 1.0]
    if rng.random() < settings.deform:
        layer = deform(rng, layer, len(camera))
    path = draw_path(
        rng, len(camera), len(image), center=(center[0], center[1]), away=settings.away,
        far=settings.far, speed=speed,
    )  # fmt: skip
    return MovingObject(layer, motion.compose(camera, motion.compose(path, place)))


def _copy_of(rng: np.random.Generator, images: np.ndarray, masks: np.ndarray) -> Layer | None:
    """Cut out an object of the clip itself: such a copy differs by its position alone."""
    rows = np.flatnonzero(masks[:, 0].sum(axis=(1, 2)) >= _MIN_PX)
    if not len(rows):
        return None
    return cut_in_place(images[0], masks[rng.choice(rows), 0])[0]


def _cut_from(
    rng: np.random.Generator, frames: Sequence[LabelledImage], class_name: str
) -> Layer | None:
    """Cut an object out of frames, if possible one of a class."""
    areas = frames[0].masks.sum(axis=(1, 2), dtype=np.int64)
    rows = np.flatnonzero(areas >= _MIN_PX)
    named = [row for row in rows if class_name and frames[0].class_names[row] == class_name]
    if not len(rows):
        return None
    row = int(rng.choice(named or rows))
    masks = np.stack([frame.masks[row] for frame in frames])
    return cut_out(np.stack([frame.image for frame in frames]), masks)


def _point_on(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray | None:
    """Draw a point (x, y) on an object or at its outline; None if there is none in the image."""
    around = cv2.dilate(mask, np.ones((9, 9), np.uint8))
    outline = around - cv2.erode(mask, np.ones((9, 9), np.uint8))
    ys, xs = np.nonzero(mask if rng.random() < 0.5 else outline)
    if not len(ys):
        return None
    picked = rng.integers(len(ys))
    return np.array([xs[picked], ys[picked]], np.float64)


def _shifts_of(masks: np.ndarray) -> np.ndarray:
    """Return (T, 2, 3) shifts by the motion of (T, S, S) masks; an empty mask adds no motion."""
    path = np.tile(np.eye(2, 3), (len(masks), 1, 1))
    start = last = None
    for t, mask in enumerate(masks):
        if mask.any():
            x, y, width, height = cv2.boundingRect(mask)
            last = np.array([x + width / 2, y + height / 2])
        start = last if start is None else start
        path[t, :, 2] = last - start
    return path
