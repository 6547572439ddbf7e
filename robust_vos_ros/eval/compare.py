"""Compare networks, prompted in several forms, and trackers without training on a data set."""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.table import Table

from robust_vos_ros.core.errors import ConfigError, DatasetError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import model_names
from robust_vos_ros.data.video_folder import VideoFolder
from robust_vos_ros.data.video_sequence import VideoSequence
from robust_vos_ros.eval.baselines import BASELINES, Baseline
from robust_vos_ros.eval.clip_scores import track_prompts
from robust_vos_ros.eval.metrics import SequenceScore, mean_of, score_sequence
from robust_vos_ros.eval.prompting import PromptForm, make_prompt

_OBJECT_ID = 'object'
_TITLES = {'mask': 'mask', 'box': 'box', 'clicks3': 'clicks', 'click1': 'click'}


@dataclasses.dataclass(frozen=True, slots=True)
class Method:
    """A method of the comparison: tracks the object of the first mask."""

    name: str
    track: Baseline


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """The result of one method.

    Attributes:
        fps: Frames per second of tracking alone, over all sequences.
        sequences: Scores by the name of the sequence.
    """

    name: str
    fps: float
    sequences: dict[str, SequenceScore]

    @property
    def total(self) -> SequenceScore:
        """Mean over sequences."""
        return mean_of(list(self.sequences.values()))


def parse_weights(text: str) -> tuple[str, str, str]:
    """Split `NAME=[MODEL:][FILE]`.

    Returns:
        Name, model (nano if none is named) and file (empty = the model's own weights).

    Raises:
        ConfigError: The text has another form.
    """
    name, equals, source = text.partition('=')
    if not name or not equals:
        raise ConfigError(
            'expected weights as NAME=FILE, NAME=MODEL:FILE, or NAME= for those of nano, '
            f'got {text!r}'
        )
    model, colon, path = source.partition(':')
    return (name, model, path) if colon and model in model_names() else (name, 'nano', source)


def baseline_methods() -> list[Method]:
    """Return the trackers without training."""
    return [Method(name, track) for name, track in BASELINES.items()]


def network_methods(
    name: str, model: Model, forms: Sequence[PromptForm] = get_args(PromptForm)
) -> list[Method]:
    """Return a network as one method for each form of the prompt."""

    def method(form: PromptForm) -> Method:
        def track(images: Sequence[np.ndarray], first_mask: np.ndarray) -> list[np.ndarray]:
            prompt = make_prompt(form, first_mask, _OBJECT_ID)
            results = track_prompts(model, images, [prompt])
            return [result.mask(_OBJECT_ID) for result in results]

        return Method(f'{name} {_TITLES[form]}', track)

    return [method(form) for form in forms]


def compare(
    methods: Sequence[Method],
    dataset: VideoFolder,
    *,
    on_track: Callable[[], None] = lambda: None,
) -> list[Row]:
    """Run every method on every sequence, and score it by the protocol of DAVIS.

    All objects of a sequence count as one, as in DAVIS-2016.

    Args:
        methods: Methods to compare.
        dataset: Fully labelled sequences.
        on_track: Called after every sequence of every method, for a progress bar.

    Raises:
        DatasetError: A sequence cannot be read, lacks masks or begins without an object.
    """
    scores: dict[str, dict[str, SequenceScore]] = {method.name: {} for method in methods}
    seconds = dict.fromkeys(scores, 0.0)
    num_frames = 0
    for sequence in dataset:
        images = [sequence.image(i) for i in range(sequence.num_frames)]
        true_masks, voids = _read_masks(sequence, images[0].shape[:2])
        num_frames += len(images)
        for method in methods:
            start_s = time.perf_counter()
            masks = method.track(images, true_masks[0])
            seconds[method.name] += time.perf_counter() - start_s
            scores[method.name][sequence.name] = score_sequence(masks, true_masks, voids)
            on_track()
    return [Row(name, num_frames / seconds[name], scores[name]) for name in scores]


def make_table(rows: Sequence[Row]) -> Table:
    """Return a table of the scores in percent, with the J&F of every sequence."""
    table = Table(title='J&F, J and F in percent; fps on this machine; J&F of every sequence')
    table.add_column('')
    for heading in ('J&F', 'J', 'F', 'fps'):
        table.add_column(heading, justify='right')
    for name in rows[0].sequences:
        table.add_column(name.replace('-', '\n').replace('_', '\n'), justify='right')
    for row in rows:
        total = row.total
        percents = [total.jf, total.j, total.f]
        table.add_row(
            row.name,
            *(f'{100 * value:.1f}' for value in percents),
            f'{row.fps:.1f}' if row.fps < 1000 else '> 1000',
            *(f'{100 * score.jf:.1f}' for score in row.sequences.values()),
        )
    return table


def make_report(
    rows: Sequence[Row], models: dict[str, Model], *, root: Path, split: str
) -> dict[str, Any]:
    """Return the same for a JSON file, with models, data set and machine."""
    return {
        'dataset': str(root),
        'split': split,
        'machine': platform.processor() or platform.machine(),
        'torch': torch.__version__,
        'torch_threads': torch.get_num_threads(),
        'models': {
            name: {
                'model': model.name,
                'weights_sha256': model.weights_hash,
                'device': str(model.device),
                'precision': model.precision,
            }
            for name, model in models.items()
        },
        'rows': [{'name': row.name, 'fps': round(row.fps, 2), **row_numbers(row)} for row in rows],
    }


def row_numbers(row: Row) -> dict[str, Any]:
    """Return the scores of a method in percent, and those of every sequence."""
    sequences = {name: score.percents for name, score in row.sequences.items()}
    return {**row.total.percents, 'sequences': sequences}


def _read_masks(
    sequence: VideoSequence, size_hw: tuple[int, int]
) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """Return, for every frame, the (H, W) bool mask of all objects and the void pixels."""
    masks = list(_united_masks(sequence, size_hw))
    if not masks[0].any():
        raise DatasetError(
            f'{sequence.name}: expected an object in the first frame, from which it is tracked, '
            'got none'
        )
    return masks, [sequence.void(index) for index in range(sequence.num_frames)]


def _united_masks(sequence: VideoSequence, size_hw: tuple[int, int]) -> Iterator[np.ndarray]:
    for index in range(sequence.num_frames):
        objects = sequence.masks(index)
        if objects is None:
            raise DatasetError(
                f'{sequence.name}: expected a mask of every frame to compare with, got none of '
                f'frame {index} ({sequence.frames[index].name})'
            )
        united = np.zeros(size_hw, bool)
        for mask in objects.values():
            if mask.shape != size_hw:
                raise DatasetError(
                    f'{sequence.name}: expected masks as high and wide as the first image, '
                    f'{size_hw}, got {mask.shape} in frame {index}'
                )
            united |= mask
        yield united
