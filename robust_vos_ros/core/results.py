"""Make the published result of one frame from what is known of each object."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from robust_vos_ros.core import masks
from robust_vos_ros.core.history import Record
from robust_vos_ros.core.model import ABSENT_LOGIT
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.types import ObjectFlag, TrackedObject, TrackEvent, TrackResult


def make_result(
    items: list[LiveObject],
    logits: torch.Tensor,
    record: Record,
    events: list[TrackEvent],
    *,
    start_ns: int,
    warnings: Sequence[str] = (),
) -> TrackResult:
    """Let the visible objects compete for pixels and measure what each one got.

    Args:
        items: N live objects.
        logits: (N, h, w) float32 mask logits, in the order of `items`.
        record: The frame.
        events: What happened in it.
        start_ns: time.perf_counter_ns() when work on the frame began.
        warnings: Of the prompts just applied.
    """
    shown = [row for row, item in enumerate(items) if item.visible]
    in_view = torch.tensor([item.visible for item in items], dtype=torch.bool).to(logits.device)
    logits = torch.where(in_view[:, None, None], logits, ABSENT_LOGIT)
    label_mask, shapes = masks.compose(
        logits[shown], [items[row].label for row in shown], record.size_hw
    )
    shape_of = dict(zip(shown, shapes, strict=True))
    objects = tuple(
        _tracked_object(item, shape_of.get(row, masks.EMPTY_SHAPE), record.stamp_ns)
        for row, item in enumerate(items)
    )
    return TrackResult(
        stamp_ns=record.stamp_ns,
        frame_id=record.frame_id,
        frame_index=record.frame_index,
        label_mask=label_mask,
        mask_logits=logits,
        objects=objects,
        events=tuple(events),
        engine_ns=time.perf_counter_ns() - start_ns,
        warnings=tuple(warnings),
    )


def _tracked_object(item: LiveObject, shape: masks.Shape, stamp_ns: int) -> TrackedObject:
    flags = item.flags
    if shape.touches_border:
        flags |= ObjectFlag.TOUCHES_BORDER
    if shape.fragmented:
        flags |= ObjectFlag.FRAGMENTED
    return TrackedObject(
        object_id=item.object_id,
        uuid=item.uuid,
        label=item.label,
        class_id=item.class_id,
        state=item.state,
        confidence=item.confidence,
        existence_probability=item.existence,
        mask_quality=item.quality,
        gate_activity=item.gate_activity,
        memory_updated=item.memory_updated,
        path_switched=item.path_switched,
        last_seen_ns=item.last_seen_ns,
        age_ns=max(0, stamp_ns - item.added_ns),
        frames_since_seen=item.frames_since_seen,
        flags=flags,
        box_xywh=shape.box_xywh,
        centroid_xy=shape.centroid_xy,
        area_px=shape.area_px,
    )
