"""Fit a calibration: first the projection of embeddings, then rounds of tracking and fitting.

The masks of a tracker depend on its calibration, so each round tracks with the fit of the round
before. The first round shows every mask. Every further fit uses the masks of all rounds but the
first.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cv2
import torch

from robust_vos_ros.core.confidence.calibration import (
    Calibration,
    CalibrationFile,
    SavedProjection,
)
from robust_vos_ros.core.errors import WeightsError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.reid.appearance import feature_map_width
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.eval.calibration_clips import Source
from robust_vos_ros.eval.embedding_fitting import EmbeddingSamples, fit_projection
from robust_vos_ros.eval.fitting import Samples, fit, keep_visibility
from robust_vos_ros.eval.tasks import load_cached

Mapper = Callable[..., Iterator[Any]]
Progress = Callable[[str, int, Iterator[Any]], Iterator[Any]]


def calibrate(
    settings: ModelSettings,
    sources: Sequence[Source],
    more: Sequence[Source],
    *,
    rounds: int,
    data: str,
    processes: int,
    progress: Progress,
) -> CalibrationFile:
    """Fit a calibration.

    Args:
        settings: The model, without a calibration.
        sources: Clips that are tracked.
        more: Further clips, used only for the projection of embeddings.
        rounds: Number of times all sources are tracked.
        data: Description of the clips, for the file.
        processes: Number of processes, one thread each; the result does not depend on it.
        progress: Shows progress: called with a title, the number of items and the items, which it
            yields again.

    Raises:
        DatasetError: The clips are too few or too easy, or cannot be used.
        WeightsError, ConfigError: The model cannot be loaded.
    """
    model = load_cached(settings)
    with _mapper(processes) as mapped:
        clips = [*sources, *more]
        given = ((settings, clip, number) for number, clip in enumerate(clips))
        embeddings = EmbeddingSamples()
        for part in progress('embeddings', len(clips), mapped(_collect_embeddings, given)):
            embeddings.objects += part.objects
            embeddings.background += part.background
        projection = fit_projection(embeddings)
        file: CalibrationFile | None = None
        samples = Samples()
        for turn in range(rounds):
            if turn == 1:
                samples = Samples()
            given = ((settings, clip, projection, file) for clip in sources)
            title = f'round {turn + 1} of {rounds}'
            for part in progress(title, len(sources), mapped(_collect, given)):
                samples.evidence += part.evidence
                samples.iou += part.iou
            file = fit(samples, projection, model, data, first=turn == 0)
    assert file is not None, 'there is at least one round'
    return file


def fit_confidence(
    settings: ModelSettings,
    start: CalibrationFile,
    sources: Sequence[Source],
    *,
    data: str,
    processes: int,
    progress: Progress,
) -> CalibrationFile:
    """Fit P(IoU > 0.5), the confidence, alone.

    The probability that a mask is on its object, which decides whether it is shown, and the
    projection of embeddings stay, so that one round is enough: masks and their visibility do not
    change.

    Args:
        settings: The model, without a calibration.
        start: The calibration whose other parts are kept.
        sources: Clips that are tracked with it.
        data: Description of the clips, for the file.
        processes: As for `calibrate`; `progress` too.

    Raises:
        DatasetError: The clips are too few or too easy, or cannot be used.
        WeightsError, ConfigError: The model cannot be loaded, or `start` is of another one.
    """
    model = load_cached(settings)
    expected, got = feature_map_width(model.hidden_dim), len(start.projection.center)
    if (start.model, got) != (model.name, expected):
        raise WeightsError(
            f'expected a calibration of {model.name} with a projection of {expected} numbers to '
            f'start from, got one of {start.model} with {got}; choose another --start'
        )
    samples = Samples()
    with _mapper(processes) as mapped:
        given = ((settings, clip, start.projection, start) for clip in sources)
        for part in progress('masks', len(sources), mapped(_collect, given)):
            samples.evidence += part.evidence
            samples.iou += part.iou
    found = fit(samples, start.projection, model, data)
    return keep_visibility(found, start)


def _collect_embeddings(settings: ModelSettings, clip: Source, seed: int) -> EmbeddingSamples:
    samples = EmbeddingSamples()
    samples.collect(_prepare(settings, None, None), clip.frames(), seed)
    return samples


def _collect(
    settings: ModelSettings,
    clip: Source,
    projection: SavedProjection,
    file: CalibrationFile | None,
) -> Samples:
    samples = Samples()
    samples.collect(_prepare(settings, projection, file), clip.frames(), clip.prompt)
    return samples


def _prepare(
    settings: ModelSettings, projection: SavedProjection | None, file: CalibrationFile | None
) -> Model:
    """Return the model with what is fitted so far."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    model = load_cached(settings)
    model.projection = None if projection is None else projection.load()
    model.calibration = None if file is None else Calibration(file)
    return model


@contextlib.contextmanager
def _mapper(processes: int) -> Iterator[Mapper]:
    """Yield a map over tuples of arguments, in order, in this process or in several."""
    if processes == 1:
        yield lambda work, given: (work(*values) for values in given)
        return
    context = multiprocessing.get_context('spawn')  # the threads of torch do not survive a fork
    with concurrent.futures.ProcessPoolExecutor(processes, context) as pool:
        yield lambda work, given: pool.map(work, *zip(*given, strict=True))
