"""Scores on short clips with several objects, tracked one at a time and all together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, ObjectState, Prompt, TrackResult
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.eval.metrics import SequenceScore, mean_of, score_sequence

_STEP_NS = 66_666_667  # 15 frames per second
# Bounds of the groups of objects by area, share of the image.
SIZES = (0.0, 0.003, 0.01, 0.03, 0.1, 1.0)


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectScore:
    """One object of one clip.

    Attributes:
        size: Area of its first mask, share of the image.
        score: By the protocol of DAVIS.
        tracked: Share of the frames after the first in which its state is TRACKED, 0 to 1.
    """

    size: float
    score: SequenceScore
    tracked: float


@dataclasses.dataclass(frozen=True, slots=True)
class ClipRow:
    """The result of one network: means over all objects of all clips.

    Attributes:
        alone: Each object is tracked by a tracker of its own.
        together: All objects of a clip are tracked by one tracker, and compete for pixels.
        objects: Each object, tracked together with the others of its clip.
    """

    name: str
    alone: SequenceScore
    together: SequenceScore
    objects: tuple[ObjectScore, ...]

    @property
    def num_objects(self) -> int:
        """Number of scored objects."""
        return len(self.objects)


def score_clips(
    models: Mapping[str, Model],
    clips: Iterable[Clip],
    *,
    min_area: float = 0.001,
    on_clip: Callable[[], None] = lambda: None,
) -> list[ClipRow]:
    """Track objects from their masks in the first frame, and score them by the protocol of DAVIS.

    The first and the last frame do not count. While an object is not visible, the empty mask is
    correct. Objects that appear later are not tracked.

    Args:
        models: Networks by name.
        clips: At least 3 frames each.
        min_area: Smallest area of the first mask of an object, share of the image.
        on_clip: Called after every clip, for a progress bar.

    Raises:
        DatasetError: No clip shows such an object in its first frame.
        ImageError: A clip is too short.
    """
    alone: dict[str, list[ObjectScore]] = {name: [] for name in models}
    together: dict[str, list[ObjectScore]] = {name: [] for name in models}
    for clip in clips:
        areas = clip.masks[:, 0].mean(axis=(1, 2))
        truth = clip.masks[areas >= max(min_area, 1e-9)].astype(bool)
        for name, model in models.items():
            each = [score for mask in truth for score in _track(model, clip, mask[None])]
            alone[name] += each
            together[name] += each if len(truth) == 1 else _track(model, clip, truth)
        on_clip()
    if not all(alone.values()):
        raise DatasetError(
            'expected clips with an object in the first frame that covers at least '
            f'{min_area:.2%} of the image, got none'
        )
    return [
        ClipRow(name, _mean(alone[name]), _mean(together[name]), tuple(together[name]))
        for name in models
    ]


def make_size_table(rows: Sequence[ClipRow]) -> Table:
    """Return a table of the scores by the size of objects, in percent."""
    table = Table(title='Objects by size, tracked together; percent')
    for heading in ('', 'share of the image', 'objects', 'J&F', 'TRACKED'):
        table.add_column(heading, justify='left' if not heading else 'right')
    for row in rows:
        for entry in make_size_report(row):
            low, high = (100 * bound for bound in entry['share_of_image'])
            table.add_row(
                row.name,
                f'{low:g} to {high:g}',
                str(entry['objects']),
                f'{entry["jf"]:.1f}',
                f'{entry["tracked"]:.1f}',
            )
    return table


def make_size_report(row: ClipRow) -> list[dict[str, Any]]:
    """Return the same of one network for a JSON file; empty groups are left out."""
    report = []
    for low, high in itertools.pairwise(SIZES):
        mine = [one for one in row.objects if low <= one.size < high]
        if mine:
            tracked = 100 * float(np.mean([one.tracked for one in mine]))
            report.append(
                {
                    'share_of_image': (low, high),
                    'objects': len(mine),
                    'jf': _mean(mine).percents['jf'],
                    'tracked': round(tracked, 2),
                }
            )
    return report


def make_clip_table(rows: Sequence[ClipRow], title: str) -> Table:
    """Return a table of the scores in percent."""
    objects = rows[0].num_objects
    table = Table(title=f'Clips of still images, {title}: {objects} in all; percent')
    table.add_column('')
    for heading in ('alone J&F', 'J', 'together J&F', 'J'):
        table.add_column(heading, justify='right')
    for row in rows:
        values = (row.alone.jf, row.alone.j, row.together.jf, row.together.j)
        table.add_row(row.name, *(f'{100 * value:.1f}' for value in values))
    return table


def make_clip_report(rows: Sequence[ClipRow]) -> list[dict[str, Any]]:
    """Return the same for a JSON file."""
    return [
        {
            'name': row.name,
            'objects': row.num_objects,
            'alone': row.alone.percents,
            'together': row.together.percents,
            'sizes': make_size_report(row),
        }
        for row in rows
    ]


def track_prompts(
    model: Model,
    images: Sequence[np.ndarray],
    prompts: Sequence[Prompt],
    settings: TrackerSettings | None = None,
) -> list[TrackResult]:
    """Track objects from the first image.

    Args:
        model: The network.
        images: (H, W, 3) uint8, RGB.
        prompts: One for each object, in the first image.
        settings: Of tracking; None = the defaults.

    Returns:
        The result of the engine for each image.
    """
    settings = settings or TrackerSettings()
    room = max(settings.max_objects, len(prompts))
    tracker = VideoTracker(model, settings.model_copy(update={'max_objects': room}))
    tracker.step(Frame(images[0], 0))
    results = [tracker.add(prompts)]
    for index, image in enumerate(images[1:], 1):
        results.append(tracker.step(Frame(image, index * _STEP_NS)))
    return results


def _track(model: Model, clip: Clip, truth: np.ndarray) -> list[ObjectScore]:
    """Return the scores of K objects with (K, T, H, W) bool masks, tracked by one tracker."""
    if not len(truth):
        return []
    prompts = [Prompt(str(index), mask=masks[0]) for index, masks in enumerate(truth)]
    results = track_prompts(model, list(clip.images), prompts)
    return [
        ObjectScore(
            float(masks[0].mean()),
            score_sequence([result.mask(str(index)) for result in results], list(masks)),
            float(np.mean([_is_tracked(result, str(index)) for result in results[1:]])),
        )
        for index, masks in enumerate(truth)
    ]


def _is_tracked(result: TrackResult, object_id: str) -> bool:
    return any(o.object_id == object_id and o.state == ObjectState.TRACKED for o in result.objects)


def _mean(objects: Sequence[ObjectScore]) -> SequenceScore:
    return mean_of([one.score for one in objects])
