"""Gates of an adapter over the frames of a sequence, as numbers and as a plot."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame
from robust_vos_ros.data.corruption import Corruption
from robust_vos_ros.data.severity import Profile, clip_seed
from robust_vos_ros.data.video_sequence import VideoSequence
from robust_vos_ros.eval.prompting import make_prompt

_STEP_NS = 41_666_667


def record_gates(
    model: Model, sequence: VideoSequence, corruption: str, profile: Profile
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Track the objects of the first frame and return their gates.

    Args:
        model: With an adapter.
        sequence: Its first frame is labelled.
        corruption: A name of `data.corruption.CORRUPTIONS`.
        profile: Its severity over time.

    Returns:
        For each object its gates, (T - 1, L * P * R) float32 in [0, 1], and the (T - 1,) mean
        severity of each frame.

    Raises:
        ConfigError: The model has no adapter, or its gates are always open.
    """
    if model.adapter is None or model.adapter.gate is None:
        raise ConfigError('expected an adapter with gates, got none; name one with --adapter')
    corrupted = Corruption(corruption, profile, clip_seed(sequence.name))
    tracker = VideoTracker(model, TrackerSettings())
    tracker.step(Frame(corrupted.apply(sequence.image(0), 0), 0))
    names = [str(object_id) for object_id in sequence.masks(0) or {}]
    if not names:
        raise ConfigError(f'{sequence.name}: expected an object in the first frame, got none')
    tracker.add([make_prompt('mask', m, str(k)) for k, m in (sequence.masks(0) or {}).items()])
    rows: list[np.ndarray] = []
    for index in range(1, sequence.num_frames):
        image = corrupted.apply(sequence.image(index), index)
        tracker.step(Frame(image, index * _STEP_NS))
        assert tracker.last_gates is not None
        rows.append(tracker.last_gates.own.flatten(1).float().numpy(force=True))
    table = np.stack(rows, axis=1)
    severity = np.array([profile.at(i, corrupted.seed) for i in range(1, sequence.num_frames)])
    return dict(zip(names, table, strict=True)), severity


def plot_gates(gates: dict[str, np.ndarray], severity: np.ndarray, path: Path, title: str) -> None:
    """Plot gates over time: an image per object, gates that change most on top; severity above.

    Args:
        gates: (T, D) in [0, 1] by the name of the object.
        severity: (T,), 0 to 5.
        path: PNG file.
        title: Of the plot.
    """
    with mpl.rc_context({'font.size': 9.0}):
        figure = Figure((8.0, 1.4 + 1.7 * len(gates)), layout='constrained')
        heights = [0.6, *[1.5] * len(gates)]
        axes = figure.subplots(len(gates) + 1, 1, sharex=True, height_ratios=heights)
        axes[0].plot(severity, color='C3')
        axes[0].set_ylabel('severity')
        axes[0].set_title(title)
        for axis, (name, table) in zip(axes[1:], gates.items(), strict=True):
            moving = np.argsort(-table.std(axis=0), kind='stable')
            axis.imshow(table[:, moving].T, aspect='auto', cmap='viridis', vmin=0, vmax=1)
            share = 100.0 * table.mean()
            axis.set_ylabel(f'object {name}\n{share:.0f}% open')
        axes[-1].set_xlabel('frame')
        figure.savefig(path, dpi=110, metadata={'Software': None})
