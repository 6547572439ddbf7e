"""Run one sequence through the engine frame by frame, and score every labelled frame."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, TrackResult
from robust_vos_ros.eval.conditions import SequenceCorruption
from robust_vos_ros.eval.datasets import Sequence
from robust_vos_ros.eval.film_strip import FilmStrip
from robust_vos_ros.eval.labelled import LabelledFrame
from robust_vos_ros.eval.metrics import boundary_accuracy, region_similarity
from robust_vos_ros.eval.prompting import make_prompt
from robust_vos_ros.eval.records import Condition, ObjectRecord, SequenceRecord
from robust_vos_ros.eval.stability import JitterMeter

_DIGITS = 6  # of recorded numbers

Prepare = Callable[[np.ndarray], np.ndarray]


def run_sequence(
    model: Model,
    settings: TrackerSettings,
    sequence: Sequence,
    condition: Condition,
    *,
    variant: str,
    prompt: str,
    prepare: Prepare | None = None,
) -> SequenceRecord:
    """Prompt each object in the frame where it first appears, and score all labelled frames.

    Args:
        model: The network.
        settings: Of the tracker; `max_objects` is raised if the sequence has more objects.
        sequence: At least one labelled frame shows an object.
        condition: Corruption of the images.
        variant: Copied to the record.
        prompt: Form of the prompts, one of `prompting.PROMPT_FORMS`.
        prepare: Changes every image before it is tracked; its time counts as the engine's.

    Raises:
        DatasetError: A file cannot be used, or no mask shows an object.
        ConfigError: The corruption, its severity or the prompt is unknown.
    """
    if not sequence.object_ids:
        raise DatasetError(f'{sequence.name}: expected a mask with an object to track, got none')
    corruption = SequenceCorruption(condition, sequence)
    room = max(settings.max_objects, len(sequence.object_ids))
    tracker = VideoTracker(model, settings.model_copy(update={'max_objects': room}))
    stream = _Stream(tracker, prompt, sequence.rate_hz, prepare)
    jitter, strip = JitterMeter(), FilmStrip(sequence.object_ids)
    for index, frame in enumerate(sequence.frames()):
        image = corruption.apply(frame.image, index)
        result = stream.step(image, frame, index)
        true = {f'true {key}': mask for key, mask in (frame.masks or {}).items()}
        published = {item.object_id: result.mask(item.object_id) for item in result.objects}
        jitter.add(frame.image, {**published, **true})
        strip.add(image, result.label_mask, frame.masks)
    record = SequenceRecord(
        variant=variant,
        sequence=sequence.name,
        condition=condition,
        rate_hz=sequence.rate_hz,
        seconds=stream.seconds,
        weather=[corruption.at(index) for index in range(sequence.num_frames)],
        objects=[_to_record(key, rows, jitter) for key, rows in sorted(stream.rows.items())],
        strip='',
    )
    return record.model_copy(update={'strip': strip.finish(record)})


@dataclasses.dataclass(slots=True)
class _Stream:
    """A tracker, its prompts and the scores of its results.

    Attributes:
        prompt: Form of the prompts.
        seconds: Time in the engine so far.
        rows: For each prompted object an entry per labelled frame, with the numbers of the lists
            of an `ObjectRecord`.
    """

    tracker: VideoTracker
    prompt: str
    rate_hz: int
    prepare: Prepare | None
    seconds: float = 0.0
    rows: dict[int, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)

    def step(self, image: np.ndarray, frame: LabelledFrame, index: int) -> TrackResult:
        """Track a frame, prompt the objects that appear in it, and score it if it is labelled."""
        start_s = time.perf_counter()
        if self.prepare is not None:
            image = self.prepare(image)
        self.seconds += time.perf_counter() - start_s
        result = self.tracker.step(Frame(image, round(index * 1e9 / self.rate_hz)))
        self.seconds += result.engine_ns / 1e9
        masks = frame.masks or {}
        new = [key for key in masks if key not in self.rows]
        if new:
            prompts = [make_prompt(self.prompt, masks[key], str(key)) for key in new]
            result = self.tracker.add(prompts)
            self.seconds += result.engine_ns / 1e9
            self.rows |= {key: [] for key in new}
        if frame.masks is not None:
            known = {item.object_id for item in result.objects}
            for key, rows in self.rows.items():
                if str(key) in known:
                    rows.append({'frames': index, **_score(key, frame, result)})
        return result


def _score(key: int, frame: LabelledFrame, result: TrackResult) -> dict[str, Any]:
    """Return the numbers of one object in one labelled frame."""
    assert frame.masks is not None
    item = next(item for item in result.objects if item.object_id == str(key))
    pred = result.mask(str(key))
    true = frame.masks.get(key, np.zeros_like(pred))
    counted = pred if frame.void is None else pred & ~frame.void
    area = np.count_nonzero(counted)
    return {
        'j': round(region_similarity(pred, true, frame.void), _DIGITS),
        'f': round(boundary_accuracy(pred, true, frame.void), _DIGITS),
        'visible': frame.visible.get(key, float(true.any())),
        'in_view': frame.in_view.get(key),
        'masked': bool(area),
        'precision': round(np.count_nonzero(counted & true) / area, _DIGITS) if area else 0.0,
        'confidence': round(item.confidence, _DIGITS),
        'state': int(item.state),
    }


def _to_record(key: int, rows: list[dict[str, Any]], jitter: JitterMeter) -> ObjectRecord:
    lists = {name: [row[name] for row in rows] for name in rows[0]}
    lists['in_view'] = [value for value in lists['in_view'] if value is not None]
    return ObjectRecord(
        object_id=key,
        **lists,
        jitter=jitter.mean(str(key)),
        true_jitter=jitter.mean(f'true {key}'),
    )
