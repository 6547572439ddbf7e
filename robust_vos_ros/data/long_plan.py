"""The plan of a long clip: absences of its objects, occluders and distractors.

Everything is planned before the first frame is rendered. What is visible is measured on the
rendered masks, not taken from the plan.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pydantic

from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.data import long_paths
from robust_vos_ros.data.long_paths import (
    ABSENCE_KINDS,
    RATE_HZ,
    Absence,
    PathPlanner,
    Trajectory,
)


class LongSettings(Settings):
    """Content of long clips."""

    min_objects: int = setting(3, 'Fewest prompted objects.', ge=1, le=8)
    max_objects: int = setting(4, 'Most prompted objects.', ge=1, le=8)
    min_absence_s: float = setting(1.0, 'Shortest planned absence.', unit='s', gt=0.0)
    max_absence_s: float = setting(4.6, 'Longest planned absence.', unit='s', gt=0.0)
    min_visible_s: float = setting(3.0, 'Shortest time between two absences.', unit='s', ge=0.0)
    max_visible_s: float = setting(6.0, 'Longest time between two absences.', unit='s', ge=0.0)
    distractor_near: float = setting(
        0.5, 'Share of objects that a distractor passes while they are visible.', ge=0.0, le=1.0
    )
    distractor_in_absence: float = setting(
        0.25, 'Share of absences during which a distractor appears.', ge=0.0, le=1.0
    )

    @pydantic.model_validator(mode='after')
    def _check_order(self) -> LongSettings:
        for what in ('objects', 'absence_s', 'visible_s'):
            if getattr(self, f'min_{what}') > getattr(self, f'max_{what}'):
                raise ValueError(f'min_{what} must be at most max_{what}')
        return self


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """A clip before it is rendered.

    Attributes:
        objects: The prompted objects.
        absences: Of each of them, in order of time.
        distractors: Each with the index of the object that it resembles.
        static_occluders: In front of objects and distractors.
        moving_occluders: In front of everything.
        camera: (T, 2) float64 shift of the scene, share of the side of the image.
    """

    objects: tuple[Trajectory, ...]
    absences: tuple[tuple[Absence, ...], ...]
    distractors: tuple[tuple[int, Trajectory], ...]
    static_occluders: tuple[Trajectory, ...]
    moving_occluders: tuple[Trajectory, ...]
    camera: np.ndarray


def make_plan(rng: np.random.Generator, num_frames: int, settings: LongSettings) -> Plan:
    """Plan a clip.

    Args:
        rng: Source of randomness.
        num_frames: T, at `RATE_HZ`.
        settings: Content of the clip.
    """
    count = int(rng.integers(settings.min_objects, settings.max_objects + 1))
    static = long_paths.static_occluders(rng, num_frames)
    objects: list[Trajectory] = []
    absences, distractors, moving = [], [], []
    for index, start in enumerate(long_paths.start_places(rng, count, static)):
        own = _draw_absences(rng, num_frames / RATE_HZ, index, settings)
        radius = rng.uniform(0.1, 0.14)
        item = PathPlanner(rng, num_frames, static, objects).plan(start, own, radius)
        objects.append(item)
        absences.append(own)
        moving += [long_paths.moving_occluder(rng, item, a) for a in own if a.kind == 'covered']
        distractors += [(index, other) for other in _draw_distractors(rng, item, own, settings)]
    return Plan(
        tuple(objects), tuple(absences), tuple(distractors), tuple(static), tuple(moving),
        long_paths.camera_path(rng, num_frames),
    )  # fmt: skip


def _draw_absences(
    rng: np.random.Generator, length_s: float, index: int, settings: LongSettings
) -> tuple[Absence, ...]:
    """Draw absences one after another; each ends early enough for the object to come back."""
    found: list[Absence] = []
    turn = int(rng.integers(len(ABSENCE_KINDS))) + index
    now = rng.uniform(0.25, 1.0) * settings.max_visible_s
    while True:
        end = now + rng.uniform(settings.min_absence_s, settings.max_absence_s)
        if end + settings.min_visible_s > length_s:
            break
        kind = ABSENCE_KINDS[(turn + len(found)) % len(ABSENCE_KINDS)]
        found.append(Absence(kind, now, end))
        now = end + rng.uniform(settings.min_visible_s, settings.max_visible_s)
    if found:  # spread the time that is left at the end
        left = length_s - settings.min_visible_s - found[-1].end_s
        later = np.sort(rng.uniform(0.0, left, len(found)))
        found = [
            Absence(a.kind, a.start_s + more, a.end_s + more)
            for a, more in zip(found, later, strict=True)
        ]
    return tuple(found)


def _draw_distractors(
    rng: np.random.Generator,
    target: Trajectory,
    absences: tuple[Absence, ...],
    settings: LongSettings,
) -> list[Trajectory]:
    """Draw distractors that pass an object, or appear during one of its absences."""
    found = []
    if rng.random() < settings.distractor_near:
        middle = rng.uniform(0.1, 0.9) * len(target.centers) / RATE_HZ
        lasts = rng.uniform(3.0, 5.0)
        times = [middle - lasts / 2, middle - 0.3, middle + 0.3, middle + lasts / 2]
        found.append(long_paths.passing_by(rng, target, target.centers, times))
    for absence in absences:
        if rng.random() < settings.distractor_in_absence:
            lasts = absence.end_s - absence.start_s
            first = absence.start_s + 0.35 * lasts
            last = absence.start_s + 0.75 * lasts
            times = [first - 1.2, first, last, last + 1.2]
            start = min(int(absence.start_s * RATE_HZ), len(target.centers) - 1)
            place = np.clip(target.centers[start], -0.3, 0.3)
            places = np.tile(place, (len(target.centers), 1))
            found.append(long_paths.passing_by(rng, target, places, times))
    return found
