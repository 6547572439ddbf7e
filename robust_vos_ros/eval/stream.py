"""One sequence, clean or corrupted, through the engine as a camera would send it, and scored."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, Prompt, TrackedObject, TrackResult
from robust_vos_ros.data.corruption import Corruption
from robust_vos_ros.data.severity import Profile, clip_seed
from robust_vos_ros.data.video_folder import VideoSequence
from robust_vos_ros.eval.metrics import boundary_accuracy, region_similarity
from robust_vos_ros.eval.prompting import make_prompt
from robust_vos_ros.eval.records import CLEAN, Condition, ObjectRecord, SequenceRecord
from robust_vos_ros.eval.stability import JitterMeter
from robust_vos_ros.eval.strips import StripMaker

_RATE_HZ = 24  # of the stamps; states of objects depend on seconds


@dataclasses.dataclass(slots=True)
class _Rows:
    """The growing lists of an `ObjectRecord`."""

    frames: list[int] = dataclasses.field(default_factory=list)
    j: list[float] = dataclasses.field(default_factory=list)
    f: list[float] = dataclasses.field(default_factory=list)
    present: list[bool] = dataclasses.field(default_factory=list)
    masked: list[bool] = dataclasses.field(default_factory=list)
    confidence: list[float] = dataclasses.field(default_factory=list)


def run_sequence(
    model: Model,
    settings: TrackerSettings,
    sequence: VideoSequence,
    condition: Condition,
    *,
    variant: str,
    prompt: str,
    prepare: Callable[[np.ndarray], np.ndarray] | None = None,
) -> SequenceRecord:
    """Point at each object in the frame where it first appears, and score all labelled frames.

    Args:
        model: The network.
        settings: Of the tracker; room is made for all objects of the sequence.
        sequence: With at least one labelled frame that shows an object.
        condition: How images are corrupted.
        variant: Copied to the record.
        prompt: A form of `prompting.PROMPT_FORMS`; made of the true mask.
        prepare: Changes every image, corrupted or not, before it is tracked; counts as engine.

    Raises:
        DatasetError: A file cannot be used, or no mask shows an object.
        ConfigError: The corruption, its severity or the prompt is unknown.
    """
    first = sequence.first_appearance
    if not first:
        raise DatasetError(f'{sequence.name}: expected a mask with an object to track, got none')
    room = max(settings.max_objects, len(first))
    tracker = VideoTracker(model, settings.model_copy(update={'max_objects': room}))
    corruption = _corruption(condition, sequence)
    rows = {object_id: _Rows() for object_id in first}
    jitter, strip, seconds = JitterMeter(), StripMaker(), 0.0
    for index in range(sequence.num_frames):
        clean = sequence.image(index)
        image = clean if corruption is None else corruption.apply(clean, index)
        truth = sequence.masks(index)
        start_s = time.perf_counter()
        if prepare is not None:
            image = prepare(image)
        seconds += time.perf_counter() - start_s
        prompts = [
            make_prompt(prompt, (truth or {})[object_id], str(object_id))
            for object_id in first
            if first[object_id] == index
        ]
        result, engine_s = _track(tracker, image, index, prompts)
        seconds += engine_s
        masks = {item.object_id: result.mask(item.object_id) for item in result.objects}
        if truth is not None:
            _score(rows, result, masks, truth=truth, void=sequence.void(index), index=index)
        true = {f'true {object_id}': mask for object_id, mask in (truth or {}).items()}
        jitter.add(clean, {**masks, **true})
        worst = min((rows[k].j[-1] for k in rows if rows[k].frames[-1:] == [index]), default=1.0)
        strip.add(image, result.label_mask, truth or {}, 1.0 if prompts else worst)
    return SequenceRecord(
        variant=variant,
        sequence=sequence.name,
        condition=condition,
        num_frames=sequence.num_frames,
        seconds=seconds,
        objects=[_to_record(object_id, row, jitter) for object_id, row in rows.items()],
        strip=strip.finish(),
    )


def _track(
    tracker: VideoTracker, image: np.ndarray, index: int, prompts: list[Prompt]
) -> tuple[TrackResult, float]:
    """Track into a frame and add what is pointed at; return the seconds in the engine as well."""
    result = tracker.step(Frame(image, round(index * 1e9 / _RATE_HZ)))
    seconds = result.engine_ns / 1e9
    if prompts:
        result = tracker.add(prompts)
        seconds += result.engine_ns / 1e9
    return result, seconds


def _to_record(object_id: int, row: _Rows, jitter: JitterMeter) -> ObjectRecord:
    return ObjectRecord(
        object_id=object_id,
        **{field.name: getattr(row, field.name) for field in dataclasses.fields(row)},
        jitter=jitter.mean(str(object_id)),
        true_jitter=jitter.mean(f'true {object_id}'),
    )


def _corruption(condition: Condition, sequence: VideoSequence) -> Corruption | None:
    if condition.corruption == CLEAN:
        return None
    profile = Profile(condition.profile, condition.severity, sequence.num_frames)
    return Corruption(condition.corruption, profile, clip_seed(sequence.name, condition.seed))


def _score(
    rows: dict[int, _Rows],
    result: TrackResult,
    masks: dict[str, np.ndarray],
    *,
    truth: dict[int, np.ndarray],
    void: np.ndarray | None,
    index: int,
) -> None:
    """Append one labelled frame to the rows of all objects that are tracked by now."""
    empty = np.zeros_like(result.label_mask, bool)
    objects: dict[str, TrackedObject] = {item.object_id: item for item in result.objects}
    for object_id, row in rows.items():
        item = objects.get(str(object_id))
        if item is None:
            continue
        pred, true = masks[item.object_id], truth.get(object_id, empty)
        row.frames.append(index)
        row.j.append(region_similarity(pred, true, void))
        row.f.append(boundary_accuracy(pred, true, void))
        row.present.append(bool(true.any()))
        row.masked.append(bool((pred if void is None else pred & ~void).any()))
        row.confidence.append(item.confidence)
