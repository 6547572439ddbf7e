"""Networks on short clips with several objects: each followed alone, and all of them together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.model import Model
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_config import TrackerSettings
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.eval.metrics import SequenceScore, mean_of, score_sequence

_STEP_NS = 66_666_667  # 15 frames per second


@dataclasses.dataclass(frozen=True, slots=True)
class ClipRow:
    """The result of one network, as means over all objects of all clips.

    Attributes:
        alone: Each object has a tracker of its own.
        together: The objects of a clip are followed by one tracker, and compete for pixels.
        num_objects: How many were scored.
    """

    name: str
    alone: SequenceScore
    together: SequenceScore
    num_objects: int


def score_clips(
    models: Mapping[str, Model],
    clips: Iterable[Clip],
    *,
    min_area: float = 0.001,
    on_clip: Callable[[], None] = lambda: None,
) -> list[ClipRow]:
    """Follow objects from their masks in the first frame of clips, and score them as DAVIS does.

    The first and the last frame do not count. Where an object is hidden or out of view, no mask is
    right, and any mask is wrong. Objects that come in later are not followed.

    Args:
        models: Networks by name.
        clips: Taken one after the other; at least 3 frames each.
        min_area: Smallest first mask of an object that is followed, share of the image.
        on_clip: Called after every clip, for a progress bar.

    Raises:
        DatasetError: No clip shows such an object in its first frame.
        ImageError: A clip is too short.
    """
    alone: dict[str, list[SequenceScore]] = {name: [] for name in models}
    together: dict[str, list[SequenceScore]] = {name: [] for name in models}
    for clip in clips:
        areas = clip.masks[:, 0].mean(axis=(1, 2))
        truth = clip.masks[areas >= max(min_area, 1e-9)].astype(bool)
        for name, model in models.items():
            each = [score for mask in truth for score in _follow(model, clip, mask[None])]
            alone[name] += each
            together[name] += each if len(truth) == 1 else _follow(model, clip, truth)
        on_clip()
    if not all(alone.values()):
        raise DatasetError(
            'expected clips with an object in the first frame that covers at least '
            f'{min_area:.2%} of the image, got none'
        )
    return [
        ClipRow(name, mean_of(alone[name]), mean_of(together[name]), len(alone[name]))
        for name in models
    ]


def make_clip_table(rows: Sequence[ClipRow], title: str) -> Table:
    """Return the scores in percent."""
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
    """Return the same as the table for a JSON file."""
    return [
        {
            'name': row.name,
            'objects': row.num_objects,
            'alone': row.alone.percents,
            'together': row.together.percents,
        }
        for row in rows
    ]


def track_prompts(
    model: Model, images: Sequence[np.ndarray], prompts: Sequence[Prompt]
) -> dict[str, list[np.ndarray]]:
    """Follow objects from the first image.

    Args:
        model: The network.
        images: (H, W, 3) uint8, RGB.
        prompts: One for each object, in the first image.

    Returns:
        The (H, W) bool masks that the engine publishes, one per image, by object.
    """
    settings = TrackerSettings()
    room = max(settings.max_objects, len(prompts))
    tracker = VideoTracker(model, settings.model_copy(update={'max_objects': room}))
    tracker.step(Frame(images[0], 0))
    results = [tracker.add(prompts)]
    for index, image in enumerate(images[1:], 1):
        results.append(tracker.step(Frame(image, index * _STEP_NS)))
    return {
        prompt.object_id: [result.mask(prompt.object_id) for result in results]
        for prompt in prompts
    }


def _follow(model: Model, clip: Clip, truth: np.ndarray) -> list[SequenceScore]:
    """Return the score of each object of (K, T, H, W) bool masks, followed by one tracker."""
    if not len(truth):
        return []
    prompts = [Prompt(str(index), mask=masks[0]) for index, masks in enumerate(truth)]
    found = track_prompts(model, list(clip.images), prompts)
    return [score_sequence(found[str(index)], list(masks)) for index, masks in enumerate(truth)]
