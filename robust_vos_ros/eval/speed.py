"""Speed and memory of the engine on this machine, and the time of corruptions."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import torch

from robust_vos_ros.core.network import checkpoints, model_files
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.optimize import (
    cpu_flags,
    cpu_name,
    device_name,
    explain_precision,
)
from robust_vos_ros.core.stages import measure_stages
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.data.corruption import Corruption
from robust_vos_ros.data.severity import Profile

_STEP_NS = 33_333_333


@dataclasses.dataclass(frozen=True, slots=True)
class Speed:
    """Speed of one run.

    Attributes:
        objects: Number of tracked objects.
        median_ms: Median time of `VideoTracker.step`, the whole work of the engine on a frame.
        p95_ms: 95th percentile of this time.
        fps: 1000 / median_ms.
        rss_mib: Resident memory of the process after the last frame.
        rss_growth_mib: Its growth over the measured frames.
        stages_ms: Mean time of each stage; what is missing to the whole is the rest.
    """

    objects: int
    median_ms: float
    p95_ms: float
    fps: float
    rss_mib: float
    rss_growth_mib: float
    stages_ms: dict[str, float]


def measure(
    model: Model,
    *,
    size_hw: tuple[int, int],
    num_objects: int,
    num_frames: int = 100,
    warm_up: int = 20,
    on_frame: Callable[[], None] = lambda: None,
) -> Speed:
    """Track discs over a panning texture and time every step after the warm-up.

    Args:
        model: The network.
        size_hw: Height and width of the frames in pixels.
        num_objects: Objects tracked at the same time.
        num_frames: Measured frames.
        warm_up: Frames before them, which fill the memories.
        on_frame: Called after every frame, for a progress bar.
    """
    process = psutil.Process()
    tracker = VideoTracker(model, TrackerSettings(max_objects=max(16, num_objects)))
    scene = Scene(size_hw, num_objects)
    tracker.step(scene.frame(0))
    tracker.add(scene.prompts())
    for index in range(1, warm_up + 1):
        tracker.step(scene.frame(index))
        on_frame()
    times_ms, rss_before = [], process.memory_info().rss
    with measure_stages() as stages_ns:
        for index in range(warm_up + 1, warm_up + num_frames + 1):
            frame = scene.frame(index)
            start_ns = time.perf_counter_ns()
            tracker.step(frame)
            times_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
            on_frame()
    measured = np.array(times_ms)
    rss = process.memory_info().rss
    median = float(np.median(measured))
    return Speed(
        objects=num_objects,
        median_ms=round(median, 2),
        p95_ms=round(float(np.percentile(measured, 95)), 2),
        fps=round(1000.0 / median, 1),
        rss_mib=round(rss / 2**20, 1),
        rss_growth_mib=round((rss - rss_before) / 2**20, 2),
        stages_ms={name: round(ns / 1e6 / num_frames, 2) for name, ns in stages_ns.items()},
    )


def save_random_weights(name: str, folder: Path) -> Path:
    """Write seeded random weights of a model; returns the file. Speed needs no training."""
    torch.manual_seed(0)
    path = folder / f'{name}_random.pt'
    torch.save(
        {'model': checkpoints.build_network(model_files.load_spec(name)).state_dict()}, path
    )
    return path


def measure_corruption(name: str, *, size_hw: tuple[int, int], num_frames: int = 30) -> float:
    """Return the median CPU time of a corruption at severity 3, in milliseconds on one core."""
    cv2.setNumThreads(1)
    scene = Scene(size_hw, 4)
    corruption = Corruption(name, Profile('constant', 3.0, num_frames), 0)
    times_ms = []
    for index in range(num_frames):
        rgb = scene.frame(index).rgb
        start_ns = time.thread_time_ns()
        corruption.apply(rgb, index)
        times_ms.append((time.thread_time_ns() - start_ns) / 1e6)
    return round(float(np.median(times_ms)), 2)


def machine(model: Model, precision: str = 'auto') -> dict[str, Any]:
    """Return model, device and versions, for the output.

    Args:
        model: The network.
        precision: As requested, see `ModelSettings`.
    """
    return {
        'model': model.name,
        'device': device_name(model.device),
        'cpu': cpu_name(),
        'cpu_flags': ' '.join(cpu_flags()),
        'cores': psutil.cpu_count(logical=False) or os.cpu_count(),
        'precision': model.precision,
        'precision_reason': explain_precision(precision, model.device),
        'torch_threads': torch.get_num_threads(),
        'torch': torch.__version__,
    }


class Scene:
    """Seeded textured discs on a textured background that pans by one pixel per frame.

    Args:
        size_hw: Height and width of the frames in pixels.
        num_objects: Number of discs.
    """

    def __init__(self, size_hw: tuple[int, int], num_objects: int) -> None:
        rng = np.random.default_rng(0)
        self._height, self._width = size_hw
        coarse = rng.normal(size=(self._height // 8, self._width // 4, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (2 * self._width, self._height))
        self._background = np.clip(90 + 45 * smooth, 0, 255).astype(np.uint8)
        columns = int(np.ceil(np.sqrt(num_objects)))
        cell = (self._width / columns, self._height / int(np.ceil(num_objects / columns)))
        self._radius = int(0.35 * min(cell))
        self._discs = [
            (
                int(cell[0] * (index % columns + 0.5)),
                int(cell[1] * (index // columns + 0.5)),
                tuple(int(value) for value in rng.integers(0, 255, 3)),
            )
            for index in range(num_objects)
        ]

    def frame(self, index: int) -> Frame:
        """Return a frame of the stream."""
        offset = index % self._width
        rgb = self._background[:, offset : offset + self._width].copy()
        for x, y, color in self._discs:
            cv2.circle(rgb, (x, y), self._radius, color, -1, cv2.LINE_AA)
            cv2.circle(rgb, (x, y), self._radius // 2, color[::-1], -1, cv2.LINE_AA)
        return Frame(rgb, index * _STEP_NS)

    def prompts(self) -> Sequence[Prompt]:
        """Return the mask of each disc in the first frame."""
        prompts = []
        for index, (x, y, _) in enumerate(self._discs):
            mask = np.zeros((self._height, self._width), np.uint8)
            cv2.circle(mask, (x, y), self._radius, 1, -1)
            prompts.append(Prompt(f'disc_{index}', mask=mask.astype(bool)))
        return prompts
