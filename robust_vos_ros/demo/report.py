"""Scores of a demo run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from rich.table import Table

from robust_vos_ros.core.masks import mask_iou_numpy
from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.demo.clip import Clip, Truth
from robust_vos_ros.demo.records import FrameRecord, ObjectRecord, Recording

MIN_IOU = 0.5  # of a correct mask, as in the definition of `confidence`
MIN_COVERED = 0.9
MIN_VISIBLE = 0.5  # without ground truth, visibility is taken from the states of the node


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectScore:
    """Scores of one object; NaN without frames to average.

    Attributes:
        final_state: State in the last processed frame.
        mean_confidence: Over the frames with a mask.
        mask_share: Share of the frames in which it is visible that have a mask of it: with ground
            truth a mask with an IoU of `MIN_IOU` or more, without it any mask.
        mean_iou: IoU with the true mask while it is visible; NaN without ground truth.
        absent_share: Share of the frames in which it is not visible that have no mask of it.
    """

    object_id: str
    final_state: str
    mean_confidence: float
    mask_share: float
    mean_iou: float
    absent_share: float


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """Scores of a run.

    Attributes:
        clip: Name of the clip.
        sent: Number of images of the camera.
        processed: Number of frames with published objects, the first one included.
        dropped: Number of frames that the node skipped for newer ones.
        lost: Number of frames that did not reach the node.
        latency_ms_p50: Median time from the receipt of an image to the publication of its objects;
            `p95` likewise.
        overhead_ms_p50: Median latency without the time in the engine.
        hidden: Indices of the processed frames in which some object is not visible at all.
        covered_share: Share of the processed frames with visible objects in which all of these
            have a mask; without ground truth, in which any object has one.
        visible_share: Share of the processed frames in which an object is visible.
        objects: Scores of the objects.
    """

    clip: str
    sent: int
    processed: int
    dropped: int
    lost: int
    latency_ms_p50: float
    latency_ms_p95: float
    engine_ms_p50: float
    overhead_ms_p50: float
    covered_share: float
    visible_share: float
    hidden: tuple[int, ...]
    objects: tuple[ObjectScore, ...]

    @property
    def failure(self) -> str:
        """Reason why the run is not good enough, else empty."""
        if not self.objects:
            return 'no frame was processed after the prompt'
        if self.visible_share < MIN_VISIBLE:
            return (
                f'objects were visible in only {self.visible_share:.0%} of the processed frames, '
                f'expected at least {MIN_VISIBLE:.0%}'
            )
        if self.covered_share >= MIN_COVERED:
            return ''
        return (
            f'only {self.covered_share:.0%} of the processed frames carry a mask of what is '
            f'visible, expected at least {MIN_COVERED:.0%}'
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _ObjectInFrame:
    """One object in one processed frame.

    Attributes:
        found: The published object.
        known: Whether there is ground truth; without it, visibility is taken from the state.
        visible: Whether it is visible (`clip.VISIBLE_SHARE`).
        hidden: Whether it is not visible at all.
        iou: NaN without ground truth.
    """

    found: ObjectRecord
    known: bool = False
    visible: bool = True
    hidden: bool = False
    iou: float = math.nan

    @property
    def masked(self) -> bool:
        return self.found.area_px > 0 and not self.iou < MIN_IOU


def summarize(recording: Recording, clip: Clip) -> Summary:
    """Compute the scores of a run; the clip is rendered again for its ground truth."""
    after = recording.frames[1:]  # the first frame was published before the prompts
    rows = list(_compare(after, clip))
    covered = []
    for frame in rows:
        seen = [item.masked for item in frame if item.visible]
        if seen:
            covered.append(all(seen) if frame[0].known else any(seen))
    latency = np.array([frame.latency_ms for frame in after])
    engine = np.array([frame.engine_ms for frame in after])
    sent, processed = len(recording.sent_ns), len(recording.frames)
    ids = [item.object_id for item in after[-1].objects] if after else []
    return Summary(
        clip=clip.name,
        sent=sent,
        processed=processed,
        dropped=recording.num_dropped,
        lost=max(sent - processed - recording.num_dropped, 0),
        latency_ms_p50=_percentile(latency, 50),
        latency_ms_p95=_percentile(latency, 95),
        engine_ms_p50=_percentile(engine, 50),
        overhead_ms_p50=_percentile(latency - engine, 50),
        covered_share=_mean(covered),
        visible_share=len(covered) / len(after) if after else 0.0,
        hidden=tuple(
            frame.index
            for frame, items in zip(after, rows, strict=True)
            if any(item.hidden for item in items)
        ),
        objects=tuple(_score(object_id, rows) for object_id in ids),
    )


def _compare(frames: Sequence[FrameRecord], clip: Clip) -> Iterator[list[_ObjectInFrame]]:
    """Yield the objects of each processed frame, compared with the ground truth."""
    by_index = {frame.index: frame for frame in frames}
    for index, shown in enumerate(clip.frames()):
        frame = by_index.get(index)
        if frame is None:
            continue
        labels = None
        if frame.label_png is not None and shown.truth is not None:
            labels = cv2.imdecode(np.frombuffer(frame.label_png, np.uint8), cv2.IMREAD_UNCHANGED)
        yield [_compare_object(item, labels, shown.truth) for item in frame.objects]


def _compare_object(
    item: ObjectRecord, labels: np.ndarray | None, truth: Truth | None
) -> _ObjectInFrame:
    if truth is None or item.object_id not in truth.masks:
        visible = item.state not in {ObjectState.OCCLUDED, ObjectState.LOST}
        return _ObjectInFrame(item, visible=visible)
    true = truth.masks[item.object_id]
    mask = np.zeros_like(true) if labels is None else labels == item.label
    iou = mask_iou_numpy(mask, true)
    visible = item.object_id in truth.visible
    return _ObjectInFrame(item, known=True, visible=visible, hidden=not true.any(), iou=iou)


def _score(object_id: str, rows: list[list[_ObjectInFrame]]) -> ObjectScore:
    mine = [item for frame in rows for item in frame if item.found.object_id == object_id]
    visible = [item for item in mine if item.visible]
    hidden = [item for item in mine if item.hidden]
    ious = [item.iou for item in visible if item.known]
    return ObjectScore(
        object_id,
        mine[-1].found.state.name,
        _mean([item.found.confidence for item in mine if item.found.area_px]),
        _mean([item.masked for item in visible]),
        _mean(ious),
        _mean([item.found.area_px == 0 for item in hidden]),
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _percentile(values: np.ndarray, percent: float) -> float:
    return float(np.percentile(values, percent)) if len(values) else math.nan


def make_tables(summary: Summary) -> tuple[Table, Table]:
    """Return the tables of the run and of its objects."""
    run = Table(title=f'Run of clip {summary.clip}', title_justify='left', show_header=False)
    run.add_column(justify='left')
    run.add_column(justify='right')
    known = any(not math.isnan(item.mean_iou) for item in summary.objects)
    covered = (
        'frames with a mask of all that is visible'
        if known
        else 'frames with a mask of something visible'
    )
    for name, value in (
        ('frames sent', str(summary.sent)),
        ('frames processed', str(summary.processed)),
        ('frames dropped for newer ones', str(summary.dropped)),
        ('frames lost on the way', str(summary.lost)),
        ('latency p50', f'{summary.latency_ms_p50:.1f} ms'),
        ('latency p95', f'{summary.latency_ms_p95:.1f} ms'),
        ('engine p50', f'{summary.engine_ms_p50:.1f} ms'),
        ('node overhead p50', f'{summary.overhead_ms_p50:.1f} ms'),
        (covered, _share(summary.covered_share)),
    ):
        run.add_row(name, value)
    objects = Table(title='Objects', title_justify='left')
    objects.add_column('object')
    objects.add_column('final state')
    for name in ('mean confidence', 'masked when visible', 'mean IoU', 'unmasked when hidden'):
        objects.add_column(name, justify='right')
    for item in summary.objects:
        numbers = (_number(item.mean_confidence), _share(item.mask_share), _number(item.mean_iou))
        objects.add_row(item.object_id, item.final_state, *numbers, _share(item.absent_share))
    return run, objects


def _share(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.0%}'


def _number(value: float) -> str:
    return '-' if math.isnan(value) else f'{value:.2f}'
