"""Who goes where in a long clip, and when: hiding, being covered, leaving, and look-alikes.

All of it is planned before the first picture, in seconds and in shares of the side of the image.
What a camera would see of it is measured on the rendered masks, not taken from the plan.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import cv2
import numpy as np
import pydantic

from robust_vos_ros.core.settings import Settings, setting

RATE_HZ = 30  # of long clips
_SLACK = 0.09  # how far the camera moves, share of the side
_TRAVEL_S = (1.2, 2.2)  # from one place to the next
_STROLL_S = 2.5  # from one place in the open to the next
_SMOOTH_S = 0.12  # of the corners of paths

How = Literal['behind', 'covered', 'exit']
HOWS: tuple[How, ...] = ('behind', 'covered', 'exit')


class LongSettings(Settings):
    """What happens in long clips."""

    min_objects: int = setting(3, 'Fewest prompted objects.', ge=1, le=8)
    max_objects: int = setting(4, 'Most prompted objects.', ge=1, le=8)
    min_absence_s: float = setting(1.0, 'Shortest planned absence.', unit='s', gt=0.0)
    max_absence_s: float = setting(4.6, 'Longest planned absence.', unit='s', gt=0.0)
    min_visible_s: float = setting(3.0, 'Least time between two absences.', unit='s', ge=0.0)
    max_visible_s: float = setting(6.0, 'Most time between two absences.', unit='s', ge=0.0)
    passing: float = setting(
        0.5, 'Share of objects that a look-alike passes while they are in view.', ge=0.0, le=1.0
    )
    bait: float = setting(
        0.25, 'Share of absences during which a look-alike appears.', ge=0.0, le=1.0
    )

    @pydantic.model_validator(mode='after')
    def _check_order(self) -> LongSettings:
        for what in ('objects', 'absence_s', 'visible_s'):
            if getattr(self, f'min_{what}') > getattr(self, f'max_{what}'):
                raise ValueError(f'min_{what} must be at most max_{what}')
        return self


@dataclasses.dataclass(frozen=True, slots=True)
class Absence:
    """A planned absence of an object.

    Attributes:
        how: Behind a board that stands, covered by something that passes, or out of view.
        start_s: When the object arrives at the hidden place.
        end_s: When it goes from there.
    """

    how: How
    start_s: float
    end_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Mover:
    """A thing on its way, in shares of the side of the image.

    Attributes:
        centers: (T, 2) float64, x right and y down from the middle of the image.
        radius: Of a circle around it.
    """

    centers: np.ndarray
    radius: float


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A clip before it is drawn.

    Attributes:
        objects: The prompted ones.
        absences: A tuple for each of them.
        twins: Look-alikes, each with the index of the object it looks like.
        boards: Things that stand and hide, in front of objects and twins.
        covers: Things that pass, in front of all.
        camera: (T, 2) float64, where the world has moved to.
    """

    objects: tuple[Mover, ...]
    absences: tuple[tuple[Absence, ...], ...]
    twins: tuple[tuple[int, Mover], ...]
    boards: tuple[Mover, ...]
    covers: tuple[Mover, ...]
    camera: np.ndarray


def make_plan(rng: np.random.Generator, num_frames: int, settings: LongSettings) -> Plan:
    """Plan a clip.

    Args:
        rng: Source of randomness.
        num_frames: T, at `RATE_HZ`.
        settings: What may happen.
    """
    count = int(rng.integers(settings.min_objects, settings.max_objects + 1))
    boards = _boards(rng, num_frames)
    starts = _spread(rng, count, [board.centers[0] for board in boards])
    objects, absences, twins, covers = [], [], [], []
    for index, start in enumerate(starts):
        own = _absences(rng, num_frames / RATE_HZ, index, settings)
        radius = rng.uniform(0.1, 0.14)
        parts = _wander(_Stage(rng, boards, objects), start, own, radius)
        parts[-1] += _stroll(_Stage(rng, boards, objects), parts[-1][-1], num_frames / RATE_HZ)
        mover = Mover(_joined(parts, num_frames), radius)
        objects.append(mover)
        absences.append(own)
        covers += [_cover(rng, mover, a) for a in own if a.how == 'covered']
        twins += [(index, twin) for twin in _twins(rng, mover, own, settings)]
    return Plan(
        tuple(objects), tuple(absences), tuple(twins), tuple(boards), tuple(covers),
        _drift(rng, num_frames),
    )  # fmt: skip


def _absences(
    rng: np.random.Generator, length_s: float, index: int, settings: LongSettings
) -> tuple[Absence, ...]:
    """Return absences one after the other, each early enough for the object to come back."""
    found: list[Absence] = []
    turn = int(rng.integers(len(HOWS))) + index
    now = rng.uniform(0.25, 1.0) * settings.max_visible_s
    while True:
        end = now + rng.uniform(settings.min_absence_s, settings.max_absence_s)
        if end + settings.min_visible_s > length_s:
            break
        found.append(Absence(HOWS[(turn + len(found)) % len(HOWS)], now, end))
        now = end + rng.uniform(settings.min_visible_s, settings.max_visible_s)
    if found:  # the time that is left at the end comes between them
        left = length_s - settings.min_visible_s - found[-1].end_s
        later = np.sort(rng.uniform(0.0, left, len(found)))
        found = [
            Absence(a.how, a.start_s + more, a.end_s + more)
            for a, more in zip(found, later, strict=True)
        ]
    return tuple(found)


def _boards(rng: np.random.Generator, num_frames: int) -> list[Mover]:
    """Return two squares that stand left and right of the middle, large enough to hide objects."""
    boards = []
    for side in (-1, 1):
        place = np.array([side * rng.uniform(0.17, 0.3), rng.uniform(-0.22, 0.22)])
        boards.append(Mover(np.tile(place, (num_frames, 1)), rng.uniform(0.15, 0.17)))
    return boards


def _spread(rng: np.random.Generator, count: int, taken: list[np.ndarray]) -> list[np.ndarray]:
    """Return places in view, each as far from the others and from the boards as 40 tries find."""
    places: list[np.ndarray] = []
    for _ in range(count):
        tries = rng.uniform(-0.36, 0.36, (40, 2))
        near = [np.linalg.norm(tries - place, axis=1) for place in places]
        near += [np.linalg.norm(tries - place, axis=1) - 0.1 for place in taken]
        places.append(tries[int(np.argmax(np.min(near, axis=0)))])
    return places


@dataclasses.dataclass(frozen=True, slots=True)
class _Stage:
    """Where an object can go: between the boards, and away from the objects planned before."""

    rng: np.random.Generator
    boards: list[Mover]
    others: list[Mover]

    def open_place(self, moment_s: float, near: np.ndarray | None = None) -> np.ndarray:
        """Return a place in view with room around it, within reach if `near` is given."""
        tries = self.rng.uniform(-0.36, 0.36, (60, 2))
        room = np.min([np.abs(tries - b.centers[0]).max(axis=1) for b in self.boards], axis=0)
        cost = np.maximum(0.0, 0.29 - room) * 10.0 + self.rng.uniform(0.0, 0.2, 60)
        for other in self.others:
            frame = min(round(moment_s * RATE_HZ), len(other.centers) - 1)
            gap = np.linalg.norm(tries - other.centers[frame], axis=1)
            cost += np.maximum(0.0, 0.32 - gap) * 6.0
        if near is not None:
            cost += np.maximum(0.0, np.linalg.norm(tries - near, axis=1) - 0.35)
        return tries[int(np.argmin(cost))]


def _outside(rng: np.random.Generator, radius: float) -> np.ndarray:
    """Return a place out of view, wherever the camera moves to."""
    far = 0.5 + radius + _SLACK + 0.02
    along = rng.uniform(-0.35, 0.35)
    side = rng.choice([-1.0, 1.0])
    return np.array([side * far, along] if rng.random() < 0.7 else [along, side * far])


def _wander(
    stage: _Stage, start: np.ndarray, absences: tuple[Absence, ...], radius: float
) -> list[list[tuple[float, np.ndarray]]]:
    """Return moments in seconds and places of an object, in the open when it is not absent.

    A new part begins wherever the place jumps, out of view.
    """
    rng = stage.rng
    parts: list[list[tuple[float, np.ndarray]]] = [[(0.0, start)]]
    for absence in absences:
        way_in, way_out = rng.uniform(*_TRAVEL_S, 2)
        path = parts[-1]
        leave = max(absence.start_s - way_in, path[-1][0] + 0.1)
        path += _stroll(stage, path[-1], leave)
        here = path[-1][1]
        if absence.how == 'exit':
            path.append((max(absence.start_s, leave + 0.1), _outside(rng, radius)))
            path.append((absence.end_s, path[-1][1]))
            parts.append([(absence.end_s, _outside(rng, radius))])
        elif absence.how == 'behind':
            board = stage.boards[int(rng.integers(len(stage.boards)))]
            free = max(0.0, board.radius - 1.05 * radius)
            for moment in (max(absence.start_s, leave + 0.1), absence.end_s):
                path.append((moment, board.centers[0] + rng.uniform(-free, free, 2)))
        else:
            path.append((absence.start_s, here))
            path.append((absence.end_s, here + rng.uniform(-0.08, 0.08, 2)))
        back_s = absence.end_s + way_out
        parts[-1].append((back_s, stage.open_place(back_s)))
    return parts


def _stroll(
    stage: _Stage, last: tuple[float, np.ndarray], until_s: float
) -> list[tuple[float, np.ndarray]]:
    """Return moments and places in the open, from after the last one until a moment."""
    count = max(1, round((until_s - last[0]) / _STROLL_S))
    path: list[tuple[float, np.ndarray]] = []
    for moment in np.linspace(last[0], until_s, count + 1)[1:].tolist():
        path.append((moment, stage.open_place(moment, (path or [last])[-1][1])))
    return path


def _joined(parts: list[list[tuple[float, np.ndarray]]], num_frames: int) -> np.ndarray:
    """Return (T, 2) places along smoothed lines; from one part to the next the place jumps."""
    time_s = np.arange(num_frames) / RATE_HZ
    centers = np.empty((num_frames, 2))
    for part in parts:
        moments = np.array([moment for moment, _ in part])
        places = np.array([place for _, place in part])
        line = np.stack([np.interp(time_s, moments, axis) for axis in places.T], axis=1)
        line = _smooth(line)
        begin = moments[0] if part is not parts[0] else 0.0
        centers[time_s >= begin] = line[time_s >= begin]
    return centers


def _smooth(line: np.ndarray) -> np.ndarray:
    """Return (T, C) curves without corners; they stay within what they were."""
    sigma = _SMOOTH_S * RATE_HZ
    return cv2.GaussianBlur(
        line, (0, 0), sigmaX=1e-3, sigmaY=sigma, borderType=cv2.BORDER_REPLICATE
    )


def _cover(rng: np.random.Generator, target: Mover, absence: Absence) -> Mover:
    """Return something that comes, hides an object while it goes on, and leaves."""
    angle = rng.choice([0.0, math.pi]) + rng.uniform(-0.35, 0.35)
    moments = [absence.start_s - 1.5, absence.start_s, absence.end_s, absence.end_s + 1.5]
    offset = np.interp(_seconds(target), moments, [-1.6, 0.0, 0.0, 1.6])
    way = offset[:, None] * [math.cos(angle), math.sin(angle)]
    return Mover(target.centers + _smooth(way), target.radius * rng.uniform(1.25, 1.45))


def _twins(
    rng: np.random.Generator, target: Mover, absences: tuple[Absence, ...], settings: LongSettings
) -> list[Mover]:
    """Return look-alikes that pass an object, or come while it is gone."""
    found = []
    if rng.random() < settings.passing:
        middle = rng.uniform(0.1, 0.9) * len(target.centers) / RATE_HZ
        lasts = rng.uniform(3.0, 5.0)
        moments = [middle - lasts / 2, middle - 0.3, middle + 0.3, middle + lasts / 2]
        found.append(_visitor(rng, target, target.centers, moments))
    for absence in absences:
        if rng.random() < settings.bait:
            lasts = absence.end_s - absence.start_s
            first = absence.start_s + 0.35 * lasts
            last = absence.start_s + 0.75 * lasts
            moments = [first - 1.2, first, last, last + 1.2]
            start = min(int(absence.start_s * RATE_HZ), len(target.centers) - 1)
            spot = np.clip(target.centers[start], -0.3, 0.3)
            found.append(_visitor(rng, target, np.tile(spot, (len(target.centers), 1)), moments))
    return found


def _visitor(
    rng: np.random.Generator, target: Mover, spot: np.ndarray, moments: list[float]
) -> Mover:
    """Return a look-alike that comes near a spot, (T, 2), and goes; out of view before, after."""
    angle = rng.uniform(0.0, 2.0 * math.pi)
    along = np.array([math.cos(angle), math.sin(angle)])
    aside = np.array([-along[1], along[0]]) * rng.choice([-1.0, 1.0])
    offset = np.interp(_seconds(target), moments, [-1.5, -0.05, 0.05, 1.5])
    way = _smooth(offset[:, None] * along)
    near = target.radius * rng.uniform(2.0, 3.0)
    return Mover(spot + way + aside * near, target.radius * rng.uniform(0.92, 1.08))


def _drift(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Return (T, 2) motion of a hand-held or driving camera, within the slack."""
    time_s = np.arange(num_frames)[:, None] / RATE_HZ
    slow, fast = rng.uniform(0.03, 0.1, 2), rng.uniform(0.2, 0.6, 2)
    phase = rng.uniform(0.0, 2.0 * math.pi, (2, 2))
    reach = _SLACK * rng.uniform(0.1, 1.0) * np.array([0.85, 0.15])
    waves = reach[0] * np.sin(2.0 * math.pi * slow * time_s + phase[0])
    return waves + reach[1] * np.sin(2.0 * math.pi * fast * time_s + phase[1])


def _seconds(mover: Mover) -> np.ndarray:
    return np.arange(len(mover.centers)) / RATE_HZ
