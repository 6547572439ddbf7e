"""Time of each stage of a frame in the runtimes that are installed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.graphs.runtimes import STEPS
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.stages import measure_stages
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, Prompt


@dataclasses.dataclass(frozen=True, slots=True)
class RuntimeSpeed:
    """Speed of one runtime.

    Attributes:
        runtime: Its name.
        precision: fp32 or bf16.
        objects: Number of tracked objects.
        median_ms: Median time of `VideoTracker.step`.
        stages_ms: Median time of each stage per frame.
    """

    runtime: str
    precision: str
    objects: int
    median_ms: float
    stages_ms: dict[str, float]


def load_runtimes(settings: ModelSettings) -> tuple[dict[tuple[str, str], Model], list[str]]:
    """Load a model in each runtime and precision.

    Args:
        settings: Of the model; runtime and precision are replaced.

    Returns:
        Models by runtime and precision, and why others are missing.

    Raises:
        WeightsError: The weights or the graphs are missing or do not fit.
    """
    models, missing = {}, []
    for runtime in ('torch', *STEPS):
        for precision in ('fp32',) if runtime == 'onnxruntime' else ('fp32', 'bf16'):
            values = {'runtime': runtime, 'precision': precision}
            try:
                models[runtime, precision] = load_model(settings.model_copy(update=values))
            except ConfigError as error:
                missing.append(str(error))
                break
    return models, missing


def measure(
    models: dict[tuple[str, str], Model],
    frames: Sequence[Frame],
    prompts: Sequence[Prompt],
    *,
    warm_up: int,
    on_frame: Callable[[], None] = lambda: None,
) -> list[RuntimeSpeed]:
    """Track with all models in turn, frame by frame, and time every stage.

    Args:
        models: By runtime and precision.
        frames: The first is prompted, the next `warm_up` fill the memories, the others are
            measured.
        prompts: Of the first frame.
        warm_up: Number of frames that are not measured.
        on_frame: Called after every frame, for a progress bar.
    """
    settings = TrackerSettings(max_objects=max(16, len(prompts)))
    trackers = {key: VideoTracker(model, settings) for key, model in models.items()}
    for tracker in trackers.values():
        tracker.step(frames[0])
        tracker.add(list(prompts))
    times: dict[tuple[str, str], list[dict[str, int]]] = {key: [] for key in models}
    for index, frame in enumerate(frames[1:]):
        for key, tracker in trackers.items():
            with measure_stages() as stages_ns:
                start_ns = time.perf_counter_ns()
                tracker.step(frame)
                passed_ns = time.perf_counter_ns() - start_ns
            if index >= warm_up:
                times[key].append({**stages_ns, '': passed_ns})
        on_frame()
    return [
        RuntimeSpeed(*key, len(prompts), _median_ms(of_frames, ''), {
            name: _median_ms(of_frames, name)
            for name in dict.fromkeys(name for row in of_frames for name in row if name)
        })
        for key, of_frames in times.items()
    ]  # fmt: skip


def _median_ms(rows: list[dict[str, Any]], name: str) -> float:
    return round(float(np.median([row.get(name, 0) for row in rows])) / 1e6, 2)
