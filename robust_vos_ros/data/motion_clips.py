"""Clips in which named things move differently, with how each one moves.

Things are cut out of still images and move over the background of another one, along paths of one
kind each: to a side, nearer, turning, or not at all. What a thing does is relative to the scene;
the camera moves a little, too. The place in the last frame says nothing about the motion.

Shape legend: T frames, S side of the square images, K things.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data import motion
from robust_vos_ros.data.expressions import NO_WORDS, canonical
from robust_vos_ros.data.layers import Layer, cut_out, place_at
from robust_vos_ros.data.moving_objects import MovingObject, deform, draw
from robust_vos_ros.data.stills import Still

LEFT, RIGHT, UP, DOWN, STILL, CLOSER, AWAY, TURNING = MOTIONS = (
    'left', 'right', 'up', 'down', 'still', 'closer', 'away', 'turning',
)  # fmt: skip
_SIDES = {LEFT: (-1.0, 0.0), RIGHT: (1.0, 0.0), UP: (0.0, -1.0), DOWN: (0.0, 1.0)}
_OFTEN = (0.2, 0.2, 0.12, 0.12, 0.14, 0.08, 0.06, 0.08)  # shares of the kinds
_LEAST_SHARE = 0.02  # of its image that a thing covers which is cut out
_AREAS = (0.03, 0.16)  # of things in clips, share of the image
_CENTRES = (0.28, 0.72)  # of things in the last frame, share of the image
_APART = 0.3  # least distance of two centres in the last frame, share of the image
_SHIFTS = (0.06, 0.36)  # of a thing that moves to a side, share of the image
_SLANT_DEG = 25.0  # of such motion
_GROWTHS = (0.25, 0.7)  # logarithm of the change of size
_TURNS_DEG = (30.0, 100.0)
_WOBBLE = 0.006  # motion of every thing beside its own, share of the image
_PANS = (0.04, 0.3)  # largest motion of the camera at rest and moving, share of the image
_AT_REST = 0.6  # share of clips
_SAME_WORD = 0.75  # share of clips with two things of one word
_TRIES = 30  # to find a background without the things that move over it
_PARTS = ('clothes/',)  # sources of parts of things, which do not move alone


@dataclasses.dataclass(frozen=True, slots=True)
class MotionClip:
    """A clip whose things have a word and move in a known way.

    Attributes:
        images: (T, S, S, 3) uint8, RGB.
        masks: (K, T, S, S) uint8, 1 where a thing is visible.
        words: (K) canonical words.
        motions: (K) kinds out of MOTIONS.
    """

    images: np.ndarray
    masks: np.ndarray
    words: tuple[str, ...]
    motions: tuple[str, ...]

    def ids(self, word: str = '', kind: str = '') -> tuple[int, ...]:
        """Return the rows of the things of a word (empty = any) and of a kind of motion."""
        return tuple(
            row
            for row, (other, moves) in enumerate(zip(self.words, self.motions, strict=True))
            if (not word or other == word) and (not kind or moves == kind)
        )


class MotionClipMaker:
    """Makes clips of still images with names.

    Args:
        stills: At least some of them with things that are not tiny.
        size: Side S of the clips in pixels.

    Raises:
        DatasetError: No still has a named thing of at least 2% of its image.
    """

    def __init__(self, stills: Sequence[Still], size: int) -> None:
        self._stills = [s for s in stills if not s.name.startswith(_PARTS)]
        self._size = size
        self._things: dict[str, list[tuple[int, int]]] = {}
        for index, still in enumerate(self._stills):
            for number, mask in still.masks().items():
                name = still.class_names.get(number, '')
                if name and name not in NO_WORDS and mask.mean() >= _LEAST_SHARE:
                    self._things.setdefault(canonical(name), []).append((index, number))
        if not self._things:
            raise DatasetError(
                'stills: expected named things of 2% of their image or more, got none'
            )
        self.words = sorted(self._things)
        counts = np.array([len(self._things[word]) for word in self.words])
        self._often = np.sqrt(counts) / np.sqrt(counts).sum()

    def make(self, rng: np.random.Generator, num_frames: int) -> MotionClip:
        """Return a clip of T frames with two or three things, no two of which move alike."""
        first = str(rng.choice(self.words, p=self._often))
        words = [first, first] if rng.random() < _SAME_WORD else [first, self._another(rng)]
        if rng.random() < 0.3:
            words.append(self._another(rng))
        kinds = rng.choice(MOTIONS, len(words), replace=False, p=_OFTEN)
        camera = motion.affine_path(
            rng, num_frames, size=self._size, shift=_PANS[rng.random() >= _AT_REST] * self._size,
            turn_deg=1.0, log_scale=0.02, shear=0.0,
        )[::-1]  # fmt: skip
        background = self._background(rng, words)
        images = np.stack([motion.warp(background, matrix) for matrix in camera])
        moving = []
        for word, kind, at in zip(words, kinds, self._places(rng, len(words)), strict=True):
            layer = self._cut_out(rng, word)
            if rng.random() < 0.5:
                layer = deform(rng, layer, num_frames)
            low, high = np.log(_AREAS)
            area = self._size**2 * math.exp(rng.uniform(low, high))
            path = draw_motion(rng, str(kind), num_frames, self._size, at)
            first_place = place_at(rng, layer, area, at)
            whole = motion.compose(camera, motion.compose(path, first_place))
            moving.append(MovingObject(layer, whole, rng.random() < 0.2))
        masks = draw(images, np.zeros((0, *images.shape[:3]), np.uint8), moving)
        return MotionClip(images, masks, tuple(words), tuple(map(str, kinds)))

    def _another(self, rng: np.random.Generator) -> str:
        return str(rng.choice(self.words, p=self._often))

    def _places(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Draw (K, 2) centres x, y in pixels that are apart from each other."""
        while True:
            places = rng.uniform(*_CENTRES, (count, 2))
            gaps = np.linalg.norm(places[:, None] - places, axis=2) + np.eye(count)
            if gaps.min() >= _APART * (0.8 if count > 2 else 1.0):
                return places * self._size

    def _background(self, rng: np.random.Generator, words: Sequence[str]) -> np.ndarray:
        """Return an (S, S, 3) image in which no thing of some words is to be seen."""
        for _ in range(_TRIES):
            still = self._stills[int(rng.integers(len(self._stills)))]
            if not {canonical(name) for name in still.class_names.values()} & set(words):
                break
        image = cv2.resize(still.image(), (self._size, self._size), interpolation=cv2.INTER_AREA)
        if {canonical(name) for name in still.class_names.values()} & set(words):
            image = cv2.GaussianBlur(image, (0, 0), self._size / 8)
        return np.ascontiguousarray(image[:, ::-1]) if rng.random() < 0.5 else image

    def _cut_out(self, rng: np.random.Generator, word: str) -> Layer:
        things = self._things[word]
        index, number = things[int(rng.integers(len(things)))]
        still = self._stills[index]
        mask = still.masks()[number].astype(np.uint8)
        return cut_out(still.image()[None], mask[None])


def draw_motion(
    rng: np.random.Generator, kind: str, num_frames: int, size: int, at: np.ndarray
) -> np.ndarray:
    """Draw the path of a thing of one kind of motion.

    Args:
        rng: Source of randomness.
        kind: Out of MOTIONS.
        num_frames: T.
        size: Side of the image in pixels.
        at: (2,) x and y of its centre in the last frame, in pixels.

    Returns:
        (T, 2, 3) matrices, last frame -> frame t.
    """
    left = 1.0 - np.linspace(0.0, 1.0, num_frames) ** math.exp(rng.normal(0.0, 0.25))
    offset = motion.smooth_curve(rng, num_frames, 2)
    offset = (offset - offset[-1]) * _WOBBLE * size * rng.uniform()
    growth, angle = 0.0, 0.0
    if kind in _SIDES:
        far = size * math.exp(rng.uniform(*np.log(_SHIFTS)))
        slant = math.radians(rng.uniform(-_SLANT_DEG, _SLANT_DEG))
        cos, sin = math.cos(slant), math.sin(slant)
        way = np.array([[cos, -sin], [sin, cos]]) @ _SIDES[kind]
        offset = offset - far * left[:, None] * way
    elif kind in {CLOSER, AWAY}:
        growth = rng.uniform(*_GROWTHS) * (1.0 if kind == CLOSER else -1.0)
    elif kind == TURNING:
        angle = math.radians(rng.uniform(*_TURNS_DEG)) * rng.choice([-1.0, 1.0])
    scale = np.exp(-growth * left)
    path = np.empty((num_frames, 2, 3))
    path[:, 0, 0] = path[:, 1, 1] = scale * np.cos(angle * left)
    path[:, 1, 0] = scale * np.sin(angle * left)
    path[:, 0, 1] = -path[:, 1, 0]
    path[:, :, 2] = at + offset - path[:, :, :2] @ at
    return path
