"""Time of each step of the network in the runtimes that are installed."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.runtimes import STEPS
from robust_vos_ros.core.settings import ModelSettings, parse_settings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.eval.speed import Scene

# Methods of `Model`, and the whole of `VideoTracker.step`.
_METHODS = ('encode', 'attend', 'calibrate', 'decode', 'encode_memory')
_FRAME = 'frame'
_WARM_UP_FRAMES = 10


@dataclasses.dataclass(frozen=True, slots=True)
class StepTime:
    """Median time per frame that a step takes in a runtime.

    Attributes:
        runtime: Its name.
        precision: fp32 or bf16.
        objects: Number of tracked objects.
        step: Method of the network, or `frame`, the whole work of the engine.
        ms: Elapsed time.
        cpu_ms: CPU time of all threads; other programs on the machine change it less.
    """

    runtime: str
    precision: str
    objects: int
    step: str
    ms: float
    cpu_ms: float


def load_runtimes(settings: dict[str, Any]) -> tuple[dict[tuple[str, str], Model], list[str]]:
    """Load a model in each runtime and precision.

    Args:
        settings: Of the model, without runtime and precision.

    Returns:
        Models by runtime and precision, and the reasons why others are missing.

    Raises:
        ConfigError: A setting is wrong.
    """
    models, missing = {}, []
    for runtime in ('torch', *STEPS):
        for precision in ('fp32', 'bf16'):
            values = {**settings, 'runtime': runtime, 'precision': precision}
            parsed = parse_settings(ModelSettings, values)
            if (runtime, precision) == ('onnxruntime', 'bf16'):
                continue  # it has fp32 alone
            try:
                models[runtime, precision] = load_model(parsed)
            except ConfigError as error:
                missing.append(str(error))
                break
    return models, missing


def measure(
    models: dict[tuple[str, str], Model],
    *,
    size_hw: tuple[int, int],
    num_objects: int,
    num_frames: int,
    on_frame: Callable[[], None] = lambda: None,
) -> list[StepTime]:
    """Track the same discs with all models in turn, frame by frame, and time every step.

    Args:
        models: By runtime and precision.
        size_hw: Height and width of the frames in pixels.
        num_objects: Objects tracked at the same time.
        num_frames: Measured frames.
        on_frame: Called after every frame, for a progress bar.
    """
    scene = Scene(size_hw, num_objects)
    clocks = {key: _Clock(model) for key, model in models.items()}
    settings = TrackerSettings(max_objects=max(16, num_objects))
    trackers = {key: VideoTracker(model, settings) for key, model in models.items()}
    try:
        for tracker in trackers.values():
            tracker.step(scene.frame(0))
            tracker.add(scene.prompts())
        for index in range(1, _WARM_UP_FRAMES + num_frames + 1):
            frame = scene.frame(index)
            for key, tracker in trackers.items():
                clocks[key].time(_FRAME, tracker.step, frame)
                clocks[key].end_frame(measured=index > _WARM_UP_FRAMES)
            on_frame()
    finally:
        for clock in clocks.values():
            clock.remove()
    return [
        StepTime(*key, num_objects, step, *clock.median_ms(step))
        for key, clock in clocks.items()
        for step in (*_METHODS, _FRAME)
    ]


class _Clock:
    """Times the steps of a model until it is removed."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._now: dict[str, np.ndarray] = {}
        self._frames: dict[str, list[np.ndarray]] = {}
        for name in _METHODS:
            method = getattr(model, name)
            setattr(model, name, functools.partial(self.time, name, method))

    def remove(self) -> None:
        for name in _METHODS:
            delattr(self._model, name)

    def time(self, name: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        start = _now()
        result = method(*args, **kwargs)
        self._now[name] = self._now.get(name, np.zeros(2)) + _now() - start
        return result

    def end_frame(self, *, measured: bool) -> None:
        """Keep the sums of a frame, or drop those of the warm-up."""
        if measured:
            for name in (*_METHODS, _FRAME):
                self._frames.setdefault(name, []).append(self._now.get(name, np.zeros(2)))
        self._now = {}

    def median_ms(self, name: str) -> Sequence[float]:
        return [round(float(ms), 2) for ms in np.median(self._frames[name], axis=0)]


def _now() -> np.ndarray:
    """Return elapsed and CPU time in milliseconds."""
    return np.array([time.perf_counter(), time.process_time()]) * 1e3
