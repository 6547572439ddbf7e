"""Gates of an adapter over the frames of a sequence: statistics and a plot."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

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


@dataclasses.dataclass(frozen=True, slots=True)
class GateRecord:
    """Gates over a sequence under one corruption.

    Attributes:
        corruption: Its name.
        objects: For each object its D gates, (T - 1, D) float32 in [0, 1].
        severity: (T - 1,) of each frame, 0 to 5.
    """

    corruption: str
    objects: dict[str, np.ndarray]
    severity: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class GateStatistics:
    """What gates of all objects and frames have in common, and what changes them.

    A gate counts as open above 0.5. Mutual information is between one gate and a label of the
    frame, in bits, at most 1; few frames alone give values above 0.

    Attributes:
        open_share: Mean share of open gates.
        moving_share: Share of the gates that are neither always open nor always closed.
        change: Share of the gates that change from one frame to the next.
        object_difference: Share of the gates that differ between two objects in a frame; NaN with
            one object.
        type_bits: Mutual information with the type of the corruption, mean over gates.
        type_bits_max: The same of the most informative gate.
        severity_bits: Mutual information with the severity, rounded to whole numbers, given the
            type; mean over gates.
        severity_bits_max: The same of the most informative gate.
    """

    open_share: float
    moving_share: float
    change: float
    object_difference: float
    type_bits: float
    type_bits_max: float
    severity_bits: float
    severity_bits_max: float


def record_gates(
    model: Model, sequence: VideoSequence, corruption: str, profile: Profile
) -> GateRecord:
    """Track the objects of the first frame and return their gates.

    Args:
        model: With an adapter that has gates, of memory attention or image encoder.
        sequence: Its first frame is labelled.
        corruption: A name of `data.corruption.CORRUPTIONS`.
        profile: Its severity over time.

    Raises:
        ConfigError: The model has no adapter, or its gates are always open.
    """
    adapter = model.adapter
    if adapter is None or (adapter.gate is None and not model.image_encoder.has_gates):
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
        known = (tracker.last_encoder_gates, tracker.last_gates if adapter.gate else None)
        parts = [gates.own.flatten(1).float().numpy(force=True) for gates in known if gates]
        rows.append(np.concatenate(parts, axis=1))
    table = np.stack(rows, axis=1)
    severity = np.array([profile.at(i, corrupted.seed) for i in range(1, sequence.num_frames)])
    return GateRecord(corruption, dict(zip(names, table, strict=True)), severity)


def gate_statistics(records: Sequence[GateRecord]) -> GateStatistics:
    """Summarize the gates of a sequence under one or more corruptions."""
    tables = [table > 0.5 for record in records for table in record.objects.values()]
    gates = np.concatenate(tables)
    types = np.concatenate(
        [
            np.full(len(table), index)
            for index, record in enumerate(records)
            for table in record.objects.values()
        ]
    )
    levels = np.concatenate(
        [np.rint(record.severity) for record in records for _ in record.objects]
    ).astype(int)
    share = gates.mean(axis=0)
    by_type = _information(gates, types)
    by_level = np.mean(
        [_information(gates[types == index], levels[types == index]) for index in set(types)],
        axis=0,
    )
    pairs = [
        (one > 0.5) != (two > 0.5)
        for record in records
        for one, two in itertools.combinations(record.objects.values(), 2)
    ]
    return GateStatistics(
        open_share=float(share.mean()),
        moving_share=float(((share > 0.0) & (share < 1.0)).mean()),
        change=float(np.concatenate([t[1:] != t[:-1] for t in tables]).mean()),
        object_difference=float(np.concatenate(pairs).mean()) if pairs else float('nan'),
        type_bits=float(by_type.mean()),
        type_bits_max=float(by_type.max()),
        severity_bits=float(by_level.mean()),
        severity_bits_max=float(by_level.max()),
    )


def _information(gates: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the mutual information of (N, D) gates with (N,) labels, (D,) in bits."""
    found = _entropy(gates.mean(axis=0))
    for label in np.unique(labels):
        rows = labels == label
        found = found - rows.mean() * _entropy(gates[rows].mean(axis=0))
    return np.maximum(found, 0.0)


def _entropy(share: np.ndarray) -> np.ndarray:
    p = np.clip(share, 1e-12, 1.0 - 1e-12)
    return -(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))
