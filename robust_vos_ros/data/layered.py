"""Clips out of single pictures: objects move apart from their background, others pass by.

A photograph that is moved as a whole teaches that everything moves together. Here the objects of a
picture are cut out, the background is filled in or taken from another picture, and each object
goes its own way while the camera pans and zooms. Some objects stay attached to the background, so
that parts and things at rest are tracked as well.

Shape legend: T frames, S side of the square images, K objects of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.data import motion
from robust_vos_ros.data.actors import Actor, cut_in_place, deform, draw, fill, travel
from robust_vos_ros.data.layers import Layer, cut_out, place_at
from robust_vos_ros.data.sources import Picture

_LEAST_PX = 30  # of an object worth cutting out
_MOST_OBJECTS = 8  # of one picture
_ATTACHED_SHARES = (0.1, 0.5, 1.0)  # drawn per clip
_BORDER_MOVES = 0.25  # share of the objects cut by the image border that move on their own


class LayeredSettings(Settings):
    """How pictures are taken apart and what passes through them."""

    other_background: float = setting(
        0.2, 'Share of pictures whose objects move over another picture.', ge=0.0, le=1.0
    )
    pan: float = setting(0.2, 'Largest motion of the camera, share of the image.', ge=0.0, le=1.0)
    deform: float = setting(0.6, 'Share of objects that change their shape.', ge=0.0, le=1.0)
    away: float = setting(
        0.15, 'Share of moving objects that leave the image and come back.', ge=0.0, le=1.0
    )
    far: float = setting(0.4, 'Share of moving objects that may cross the image.', ge=0.0, le=1.0)
    slowest: float = setting(
        0.08,
        'Motion of the slowest clips relative to that of the fastest; clips between them are '
        'equally likely on a logarithmic scale, as most motion in video is slow.',
        gt=0.0,
        le=1.0,
    )
    shadow: float = setting(0.2, 'Share of pasted objects that cast a shadow.', ge=0.0, le=1.0)
    behind: float = setting(
        0.25, 'Share of pasted objects that pass behind the others.', ge=0.0, le=1.0
    )
    same_class: float = setting(
        0.4, 'Share of pasted objects of the class of an object of the clip.', ge=0.0, le=1.0
    )
    copies: float = setting(
        0.15, 'Share of pasted objects that are copies of an object of the clip.', ge=0.0, le=1.0
    )
    touching: float = setting(
        0.4, 'Share of pasted objects that begin on or beside an object.', ge=0.0, le=1.0
    )
    grouped: float = setting(
        0.0,
        'Share of pictures in which an object and those that touch it are one thing, as a rider '
        'and a bicycle are.',
        ge=0.0,
        le=1.0,
    )
    min_area: float = setting(0.004, 'Smallest pasted object, share of the image.', gt=0.0, le=1.0)
    max_area: float = setting(0.15, 'Largest pasted object, share of the image.', gt=0.0, le=1.0)


def set_in_motion(
    rng: np.random.Generator,
    image: np.ndarray,
    masks: np.ndarray,
    num_frames: int,
    settings: LayeredSettings,
    *,
    other: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Move the objects of a picture, its background and the camera.

    Args:
        rng: Source of randomness.
        image: (S, S, 3) uint8.
        masks: (K, S, S) uint8.
        num_frames: T.
        settings: How.
        other: (S, S, 3) uint8 picture for the background; None = its own, filled in.

    Returns:
        (T, S, S, 3) uint8 images and (K', T, S, S) uint8 masks of what is visible.
    """
    size = len(image)
    masks = masks[np.flatnonzero(masks.sum(axis=(1, 2)) >= _LEAST_PX)]
    masks = masks[rng.permutation(len(masks))[:_MOST_OBJECTS]]
    attached = _attached(rng, masks) if other is None else np.zeros(len(masks), bool)
    free, rest = masks[~attached], masks[attached]
    tempo = draw_tempo(rng, settings)
    camera = motion.affine_path(
        rng, num_frames, size=size, shift=settings.pan * size * tempo, turn_deg=10 * tempo,
        log_scale=0.25 * tempo, shear=0.05 * tempo,
    )  # fmt: skip
    if rng.random() < 0.5:
        camera = camera[::-1]
    background = image if other is None else other
    if other is None and len(free):
        background = fill(rng, image, free.max(axis=0))
    images, kept = _move_background(rng, background, rest, camera, settings)
    actors = [_free_actor(rng, image, mask, camera, settings, tempo=tempo) for mask in free]
    return images, draw(images, kept, actors)


def make_guest(
    rng: np.random.Generator,
    shots: Sequence[Picture],
    images: np.ndarray,
    masks: np.ndarray,
    settings: LayeredSettings,
    *,
    word: str = '',
) -> Actor | None:
    """Let an object of another picture pass through a clip.

    Args:
        rng: Source of randomness.
        shots: Consecutive frames of a video, or one picture.
        images: (T, S, S, 3) uint8 of the clip.
        masks: (K, T, S, S) uint8 of the clip.
        settings: How.
        word: An object of this name is taken where there is one; empty = any.

    Returns:
        None if the picture shows no object.
    """
    num_frames, size = images.shape[:2]
    layer = _copy_of(rng, images, masks) if rng.random() < settings.copies else None
    layer = layer or _taken(rng, shots, word)
    if layer is None:
        return None
    if len(layer.alphas) == 1 and rng.random() < settings.deform:
        layer = deform(rng, layer, num_frames)
    low, high = math.log(settings.min_area), math.log(settings.max_area)
    area = size**2 * math.exp(rng.uniform(low, high))
    center, held = rng.uniform(0.05, 0.95, 2) * size, None
    if len(masks) and rng.random() < settings.touching:
        row = int(rng.integers(len(masks)))
        spot = _beside(rng, masks[row, 0])
        if spot is not None:
            center, area = spot, min(area, max(0.3 * masks[row, 0].sum(), settings.min_area))
            held = masks[row] if rng.random() < 0.5 else None
    first = place_at(rng, layer, area, center)
    if held is None:
        path = travel(
            rng, num_frames, size, center=(center[0], center[1]), away=settings.away,
            far=settings.far, tempo=draw_tempo(rng, settings),
        )  # fmt: skip
    else:
        path = _follow(held)
    behind = held is None and rng.random() < settings.behind
    return Actor(layer, motion.compose(path, first), rng.random() < settings.shadow, behind)


def group_touching(rng: np.random.Generator, masks: np.ndarray) -> np.ndarray:
    """Make one thing of an object and up to two that touch it; (K, S, S) -> (K', S, S) uint8."""
    seen = np.flatnonzero(masks.any(axis=(1, 2)))
    if len(seen) < 2:
        return masks
    first = int(rng.choice(seen))
    around = cv2.dilate(masks[first], np.ones((7, 7), np.uint8)).astype(bool)
    touching = [row for row in seen if row != first and (masks[row] > 0)[around].any()]
    joined = rng.permutation(touching)[: rng.integers(1, 3)].astype(int)
    thing = masks[[first, *joined]].max(axis=0)
    return np.concatenate([thing[None], np.delete(masks, [first, *joined], axis=0)])


def draw_tempo(rng: np.random.Generator, settings: LayeredSettings) -> float:
    """Draw how fast things move in a clip, 1 = as fast as can be."""
    return math.exp(rng.uniform(math.log(settings.slowest), 0.0))


def _attached(rng: np.random.Generator, masks: np.ndarray) -> np.ndarray:
    """Draw which (K,) objects move with the background; most of those that the border cuts do."""
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
    """Return images and masks of what moves with the camera, at times a little deformed."""
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


def _free_actor(
    rng: np.random.Generator,
    image: np.ndarray,
    mask: np.ndarray,
    camera: np.ndarray,
    settings: LayeredSettings,
    *,
    tempo: float,
) -> Actor:
    """Cut an object out of its picture and let it go its own way, seen by the camera."""
    layer, place = cut_in_place(image, mask)
    height, width = layer.alphas[0].shape
    center = place @ [width / 2, height / 2, 1.0]
    if rng.random() < settings.deform:
        layer = deform(rng, layer, len(camera))
    path = travel(
        rng, len(camera), len(image), center=(center[0], center[1]), away=settings.away,
        far=settings.far, tempo=tempo,
    )  # fmt: skip
    return Actor(layer, motion.compose(camera, motion.compose(path, place)))


def _copy_of(rng: np.random.Generator, images: np.ndarray, masks: np.ndarray) -> Layer | None:
    """Cut an object of the clip itself out: the copy can be told apart by its place alone."""
    rows = np.flatnonzero(masks[:, 0].sum(axis=(1, 2)) >= _LEAST_PX)
    if not len(rows):
        return None
    return cut_in_place(images[0], masks[rng.choice(rows), 0])[0]


def _taken(rng: np.random.Generator, shots: Sequence[Picture], word: str) -> Layer | None:
    """Cut an object out of other pictures, of a class where one is named."""
    areas = shots[0].masks.sum(axis=(1, 2), dtype=np.int64)
    rows = np.flatnonzero(areas >= _LEAST_PX)
    named = [row for row in rows if word and shots[0].words[row] == word]
    if not len(rows):
        return None
    row = int(rng.choice(named or rows))
    masks = np.stack([shot.masks[row] for shot in shots])
    cutout = cut_out(np.stack([shot.image for shot in shots]), masks)
    return Layer(list(cutout.colors), list(cutout.alphas))


def _beside(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray | None:
    """Draw an (x, y) on an object or at its outline; None if that is not in view."""
    around = cv2.dilate(mask, np.ones((9, 9), np.uint8))
    outline = around - cv2.erode(mask, np.ones((9, 9), np.uint8))
    ys, xs = np.nonzero(mask if rng.random() < 0.5 else outline)
    if not len(ys):
        return None
    picked = rng.integers(len(ys))
    return np.array([xs[picked], ys[picked]], np.float64)


def _follow(masks: np.ndarray) -> np.ndarray:
    """Return (T, 2, 3) shifts that go with the middle of (T, S, S) masks, where they are seen."""
    path = np.tile(np.eye(2, 3), (len(masks), 1, 1))
    start = last = None
    for t, mask in enumerate(masks):
        if mask.any():
            x, y, width, height = cv2.boundingRect(mask)
            last = np.array([x + width / 2, y + height / 2])
        start = last if start is None else start
        path[t, :, 2] = last - start
    return path
