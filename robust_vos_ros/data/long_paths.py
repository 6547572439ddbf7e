"""Trajectories of long clips: of objects through their absences, of occluders and of the camera.

Times are in seconds, positions in shares of the side of the image: x right and y down from its
centre.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np

from robust_vos_ros.data.motion import smooth_in_time

RATE_HZ = 30  # of long clips
_CAMERA_RANGE = 0.09  # largest motion of the camera
_TRAVEL_S = (1.2, 2.2)  # from a visible place to a hidden one, and back
_STEP_S = 2.5  # from one visible place to the next
_SMOOTH_S = 0.12  # sigma of the smoothing of paths

AbsenceKind = Literal['behind', 'covered', 'exit']
ABSENCE_KINDS: tuple[AbsenceKind, ...] = ('behind', 'covered', 'exit')
Waypoint = tuple[float, np.ndarray]  # time and position


@dataclasses.dataclass(frozen=True, slots=True)
class Absence:
    """A planned absence of an object.

    Attributes:
        kind: Behind a static occluder, covered by a moving one, or outside of the image.
        start_s: When the object arrives at the place where it is not visible.
        end_s: When it leaves that place.
    """

    kind: AbsenceKind
    start_s: float
    end_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Trajectory:
    """Positions of something over a clip.

    Attributes:
        centers: (T, 2) float64, x and y.
        radius: Of a circle around it.
    """

    centers: np.ndarray
    radius: float

    @property
    def times_s(self) -> np.ndarray:
        """(T,) time of each frame."""
        return np.arange(len(self.centers)) / RATE_HZ


def static_occluders(rng: np.random.Generator, num_frames: int) -> list[Trajectory]:
    """Return two squares, left and right of the centre, large enough to hide objects."""
    occluders = []
    for side in (-1, 1):
        place = np.array([side * rng.uniform(0.17, 0.3), rng.uniform(-0.22, 0.22)])
        centers = np.tile(place, (num_frames, 1))
        occluders.append(Trajectory(centers, rng.uniform(0.15, 0.17)))
    return occluders


def moving_occluder(rng: np.random.Generator, target: Trajectory, absence: Absence) -> Trajectory:
    """Return an occluder that comes, covers an object while that moves on, and leaves."""
    angle = rng.choice([0.0, math.pi]) + rng.uniform(-0.35, 0.35)
    times = [absence.start_s - 1.5, absence.start_s, absence.end_s, absence.end_s + 1.5]
    offset = np.interp(target.times_s, times, [-1.6, 0.0, 0.0, 1.6])
    way = offset[:, None] * [math.cos(angle), math.sin(angle)]
    return Trajectory(target.centers + _smooth(way), target.radius * rng.uniform(1.25, 1.45))


def passing_by(
    rng: np.random.Generator, target: Trajectory, place: np.ndarray, times_s: list[float]
) -> Trajectory:
    """Return something of about the size of an object that comes near a place and leaves.

    Args:
        rng: Source of randomness.
        target: The object.
        place: (T, 2) position of the place.
        times_s: When it enters the image, arrives, leaves and is outside of the image again.
    """
    angle = rng.uniform(0.0, 2.0 * math.pi)
    along = np.array([math.cos(angle), math.sin(angle)])
    aside = np.array([-along[1], along[0]]) * rng.choice([-1.0, 1.0])
    offset = np.interp(target.times_s, times_s, [-1.5, -0.05, 0.05, 1.5])
    way = _smooth(offset[:, None] * along)
    near = target.radius * rng.uniform(2.0, 3.0)
    return Trajectory(place + way + aside * near, target.radius * rng.uniform(0.92, 1.08))


def start_places(
    rng: np.random.Generator, count: int, occluders: list[Trajectory]
) -> list[np.ndarray]:
    """Return places in the image, each the farthest of 40 from the others and from occluders."""
    places: list[np.ndarray] = []
    for _ in range(count):
        tries = rng.uniform(-0.36, 0.36, (40, 2))
        near = [np.linalg.norm(tries - place, axis=1) for place in places]
        near += [np.linalg.norm(tries - item.centers[0], axis=1) - 0.1 for item in occluders]
        places.append(tries[int(np.argmax(np.min(near, axis=0)))])
    return places


def camera_path(rng: np.random.Generator, num_frames: int) -> np.ndarray:
    """Return the (T, 2) shift of the scene by the motion of a hand-held or driving camera."""
    time_s = np.arange(num_frames)[:, None] / RATE_HZ
    slow, fast = rng.uniform(0.03, 0.1, 2), rng.uniform(0.2, 0.6, 2)
    phase = rng.uniform(0.0, 2.0 * math.pi, (2, 2))
    reach = _CAMERA_RANGE * rng.uniform(0.1, 1.0) * np.array([0.85, 0.15])
    waves = reach[0] * np.sin(2.0 * math.pi * slow * time_s + phase[0])
    return waves + reach[1] * np.sin(2.0 * math.pi * fast * time_s + phase[1])


@dataclasses.dataclass(frozen=True, slots=True)
class PathPlanner:
    """Plans the path of an object between occluders and the objects planned before.

    Attributes:
        rng: Source of randomness.
        num_frames: T.
        occluders: The static ones.
        others: The objects planned before.
    """

    rng: np.random.Generator
    num_frames: int
    occluders: list[Trajectory]
    others: list[Trajectory]

    def plan(self, start: np.ndarray, absences: tuple[Absence, ...], radius: float) -> Trajectory:
        """Return the trajectory of an object: visible, but for its absences."""
        parts = self._through(start, absences, radius)
        parts[-1] += self._visible(parts[-1][-1], self.num_frames / RATE_HZ)
        return Trajectory(_join(parts, self.num_frames), radius)

    def _through(
        self, start: np.ndarray, absences: tuple[Absence, ...], radius: float
    ) -> list[list[Waypoint]]:
        """Return the waypoints up to the return from the last absence.

        A new part begins where the position jumps, outside of the image.
        """
        rng = self.rng
        parts: list[list[Waypoint]] = [[(0.0, start)]]
        for absence in absences:
            way_in, way_out = rng.uniform(*_TRAVEL_S, 2)
            path = parts[-1]
            leave = max(absence.start_s - way_in, path[-1][0] + 0.1)
            path += self._visible(path[-1], leave)
            here = path[-1][1]
            if absence.kind == 'exit':
                path.append((max(absence.start_s, leave + 0.1), _outside(rng, radius)))
                path.append((absence.end_s, path[-1][1]))
                parts.append([(absence.end_s, _outside(rng, radius))])
            elif absence.kind == 'behind':
                occluder = self.occluders[int(rng.integers(len(self.occluders)))]
                free = max(0.0, occluder.radius - 1.05 * radius)
                for time_s in (max(absence.start_s, leave + 0.1), absence.end_s):
                    path.append((time_s, occluder.centers[0] + rng.uniform(-free, free, 2)))
            else:
                path.append((absence.start_s, here))
                path.append((absence.end_s, here + rng.uniform(-0.08, 0.08, 2)))
            back_s = absence.end_s + way_out
            parts[-1].append((back_s, self._free_place(back_s)))
        return parts

    def _visible(self, last: Waypoint, until_s: float) -> list[Waypoint]:
        """Return visible waypoints after the last one, up to a time."""
        count = max(1, round((until_s - last[0]) / _STEP_S))
        path: list[Waypoint] = []
        for time_s in np.linspace(last[0], until_s, count + 1)[1:].tolist():
            path.append((time_s, self._free_place(time_s, (path or [last])[-1][1])))
        return path

    def _free_place(self, time_s: float, near: np.ndarray | None = None) -> np.ndarray:
        """Return the place of 60 with the most room around it at a time, if possible near one."""
        tries = self.rng.uniform(-0.36, 0.36, (60, 2))
        room = np.min([np.abs(tries - o.centers[0]).max(axis=1) for o in self.occluders], axis=0)
        cost = np.maximum(0.0, 0.29 - room) * 10.0 + self.rng.uniform(0.0, 0.2, 60)
        for other in self.others:
            frame = min(round(time_s * RATE_HZ), len(other.centers) - 1)
            gap = np.linalg.norm(tries - other.centers[frame], axis=1)
            cost += np.maximum(0.0, 0.32 - gap) * 6.0
        if near is not None:
            cost += np.maximum(0.0, np.linalg.norm(tries - near, axis=1) - 0.35)
        return tries[int(np.argmin(cost))]


def _outside(rng: np.random.Generator, radius: float) -> np.ndarray:
    """Return a place outside of the image, wherever the camera moves to."""
    far = 0.5 + radius + _CAMERA_RANGE + 0.02
    along = rng.uniform(-0.35, 0.35)
    side = rng.choice([-1.0, 1.0])
    return np.array([side * far, along] if rng.random() < 0.7 else [along, side * far])


def _join(parts: list[list[Waypoint]], num_frames: int) -> np.ndarray:
    """Return (T, 2) positions along smoothed lines; they jump from one part to the next."""
    frames_s = np.arange(num_frames) / RATE_HZ
    centers = np.empty((num_frames, 2))
    for part in parts:
        times_s = np.array([time_s for time_s, _ in part])
        places = np.array([place for _, place in part])
        line = np.stack([np.interp(frames_s, times_s, axis) for axis in places.T], axis=1)
        line = _smooth(line)
        begin = times_s[0] if part is not parts[0] else 0.0
        centers[frames_s >= begin] = line[frames_s >= begin]
    return centers


def _smooth(line: np.ndarray) -> np.ndarray:
    return smooth_in_time(line, _SMOOTH_S * RATE_HZ)
