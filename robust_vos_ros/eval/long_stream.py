"""One long clip through the engine as a camera would send it, and scored frame by frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, TrackResult
from robust_vos_ros.data.contact_clips import ContactClip
from robust_vos_ros.data.long_clips import LongClip, LongFrame
from robust_vos_ros.data.long_plan import RATE_HZ
from robust_vos_ros.data.spells import WeatherCourse
from robust_vos_ros.eval.film import FilmMaker
from robust_vos_ros.eval.long_records import LongObject, LongRecord
from robust_vos_ros.eval.metrics import boundary_accuracy, region_similarity
from robust_vos_ros.eval.prompting import make_prompt

_DIGITS = 6  # of recorded numbers


def run_clip(
    model: Model,
    settings: TrackerSettings,
    clip: LongClip | ContactClip,
    weather: WeatherCourse,
    *,
    variant: str,
    name: str,
    prompt: str = 'mask',
) -> LongRecord:
    """Point at all objects of the first frame, and score every frame.

    Args:
        model: The network.
        settings: Of the tracker; room is made for all objects of the clip.
        clip: What happens.
        weather: How its images are corrupted.
        variant: Copied to the record.
        name: Of the clip; copied to the record.
        prompt: A form of `prompting.PROMPT_FORMS`, made of the true mask.
    """
    room = max(settings.max_objects, clip.num_objects)
    tracker = VideoTracker(model, settings.model_copy(update={'max_objects': room}))
    rows: list[list[dict[str, Any]]] = [[] for _ in range(clip.num_objects)]
    film, engine_ns = FilmMaker(), 0
    for t in range(clip.num_frames):
        frame = clip.frame(t)
        image = weather.apply(frame.image, t)
        result = tracker.step(Frame(image, round(t * 1e9 / RATE_HZ)))
        engine_ns += result.engine_ns
        if t == 0:
            ids = range(clip.num_objects)
            result = tracker.add([make_prompt(prompt, frame.mask(k), str(k)) for k in ids])
            engine_ns += result.engine_ns
        for index, own in enumerate(rows):
            own.append(_score(index, frame, result))
        film.add(image, result.label_mask, frame.labels)
    record = LongRecord(
        variant=variant,
        sequence=name,
        rate_hz=RATE_HZ,
        seconds=engine_ns / 1e9,
        weather=[weather.at(t)[0] for t in range(clip.num_frames)],
        objects=[LongObject(**{key: [row[key] for row in own] for key in own[0]}) for own in rows],
        film='',
    )
    return record.model_copy(update={'film': film.finish(record.tables(), RATE_HZ)})


def _score(index: int, frame: LongFrame, result: TrackResult) -> dict[str, Any]:
    """Return the entries of one frame in the lists of a `LongObject`."""
    known = {tracked.object_id: tracked for tracked in result.objects}[str(index)]
    pred, true = result.mask(str(index)), frame.mask(index)
    area = np.count_nonzero(pred)
    return {
        'j': round(region_similarity(pred, true), _DIGITS),
        'f': round(boundary_accuracy(pred, true), _DIGITS),
        'visible_px': int(np.count_nonzero(true)),
        'inside_px': int(frame.inside_px[index]),
        'full_px': int(frame.full_px[index]),
        'masked': bool(area),
        'precision': round(np.count_nonzero(pred & true) / area, _DIGITS) if area else 0.0,
        'confidence': round(known.confidence, _DIGITS),
        'state': int(known.state),
    }
