"""Make the published result of one frame from what is known of each object."""

from __future__ import annotations

import collections
import dataclasses
import functools
import time
import uuid
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from robust_vos_ros.core.confidence import states
from robust_vos_ros.core.confidence.calibration import Calibration
from robust_vos_ros.core.confidence.evidence import Observation, much_smaller
from robust_vos_ros.core.frames import Record
from robust_vos_ros.core.network.model import ABSENT_LOGIT
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import ObjectFlag, TrackedObject, TrackEvent, TrackResult

# A part of a mask counts as large from this share of the mask's area.
_LARGE_PART = 0.15


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """Measures of one mask in pixels.

    Attributes:
        box_xywh: Tight box, all zero for an empty mask.
        centroid_xy: Mean pixel, NaN for an empty mask.
        fragmented: Whether the mask, before others took pixels from it, had several large parts.
    """

    area_px: int
    box_xywh: tuple[int, int, int, int]
    centroid_xy: tuple[float, float]
    touches_border: bool
    fragmented: bool


EMPTY_SHAPE = Shape(0, (0, 0, 0, 0), (float('nan'), float('nan')), False, False)


def compose(
    logits: torch.Tensor, labels: list[int], size_hw: tuple[int, int]
) -> tuple[np.ndarray, list[Shape]]:
    """Let objects compete for pixels: each goes to the object of the highest logit above 0.

    But a much smaller object lies in front of a larger one, whatever the logits say.
    Logits are enlarged bilinearly, as SAM 2 does, but only where an object can be: a mask of a
    tenth of the image costs a tenth of the time.

    Args:
        logits: (N, h, w) float32.
        labels: N pixel values above 0.
        size_hw: Height and width of the result.

    Returns:
        (H, W) uint8 (uint16 when a label exceeds 255) label mask, 0 = background, and the shapes
        of the N masks in it.
    """
    dtype = np.uint8 if max(labels, default=0) <= 255 else np.uint16
    label_mask = np.zeros(size_hw, dtype)
    best = np.zeros(size_hw, np.float32)
    on = (logits > 0).cpu().numpy()
    enlarge_y = _enlargement(size_hw[0], logits.shape[1]).to(logits.device)
    enlarge_x = _enlargement(size_hw[1], logits.shape[2]).to(logits.device)
    windows = [_window(mask, size_hw) for mask in on]
    areas = torch.from_numpy(on.sum(axis=(1, 2), dtype=np.float32))
    smaller = much_smaller(areas, areas).numpy()
    for row in torch.argsort(-areas, stable=True).tolist():  # what lies in front comes later
        label, (ys, xs) = labels[row], windows[row]
        full = (enlarge_y[ys] @ logits[row] @ enlarge_x[xs].T).cpu().numpy()
        won = full > best[ys, xs]
        behind = [labels[other] for other in np.flatnonzero(smaller[row])]
        if behind:
            won |= (full > 0.0) & np.isin(label_mask[ys, xs], behind)
        np.copyto(best[ys, xs], full, where=won)
        np.copyto(label_mask[ys, xs], label, where=won, casting='unsafe')
    shapes = [
        _measure(label_mask, label, window, mask)
        for label, window, mask in zip(labels, windows, on, strict=True)
    ]
    return label_mask, shapes


@functools.lru_cache(maxsize=8)
def _enlargement(size: int, low_res: int) -> torch.Tensor:
    """Return the (size, low_res) float32 matrix of bilinear interpolation at pixel centres."""
    identity = torch.eye(low_res)[None, None]
    return F.interpolate(identity, (size, low_res), mode='bilinear', align_corners=False)[0, 0]


def _window(on: np.ndarray, size_hw: tuple[int, int]) -> tuple[slice, slice]:
    """Return where an (h, w) low-resolution mask can have pixels in the full image."""
    slices = []
    for axis, size in enumerate(size_hw):
        cells = np.flatnonzero(on.any(axis=1 - axis))
        scale = size / on.shape[axis]
        # Bilinear interpolation reaches less than one cell beyond.
        first, last = (cells[0] - 1, cells[-1] + 2) if len(cells) else (0, 0)
        slices.append(slice(max(0, int(first * scale)), min(size, int(np.ceil(last * scale)))))
    return slices[0], slices[1]


def _measure(
    label_mask: np.ndarray, label: int, window: tuple[slice, slice], on: np.ndarray
) -> Shape:
    crop = (label_mask[window] == label).view(np.uint8)
    moments = cv2.moments(crop, binaryImage=True)
    area = int(moments['m00'])
    if not area:
        return EMPTY_SHAPE
    x, y, width, height = cv2.boundingRect(crop)
    left, top = window[1].start, window[0].start
    rows, columns = label_mask.shape
    _, _, stats, _ = cv2.connectedComponentsWithStats(on.view(np.uint8), connectivity=8)
    parts = stats[1:, cv2.CC_STAT_AREA]
    return Shape(
        area,
        (x + left, y + top, width, height),
        (moments['m10'] / area + left, moments['m01'] / area + top),
        x + left == 0 or y + top == 0 or x + left + width == columns or y + top + height == rows,
        int((parts >= _LARGE_PART * parts.sum()).sum()) > 1,
    )


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
    label_mask, shapes = compose(
        logits[shown], [items[row].label for row in shown], record.size_hw
    )
    shape_of = dict(zip(shown, shapes, strict=True))
    objects = tuple(
        _tracked_object(item, shape_of.get(row, EMPTY_SHAPE), record.stamp_ns)
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


def _tracked_object(item: LiveObject, shape: Shape, stamp_ns: int) -> TrackedObject:
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


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
    """What one object was in one frame, in each of its P hypotheses, the best one first.

    Attributes:
        before: The object before the frame; `after` likewise.
        parents: Hypothesis of the frame before that each one continues.
        seen: What the network said of each.
        logits: (P, h, w) their masks.
    """

    before: LiveObject
    after: LiveObject
    parents: tuple[int, ...]
    seen: tuple[Observation, ...]
    logits: torch.Tensor


@dataclasses.dataclass(slots=True)
class _Frame:
    """One frame of the window; `result` is what was known at the time."""

    record: Record
    traces: dict[uuid.UUID, Trace]
    result: TrackResult | None = None


class LagWindow:
    """The frames that are not final yet.

    Args:
        num_frames: How many frames later a frame is final.
    """

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames
        self._frames: collections.deque[_Frame] = collections.deque()
        self._paths: dict[uuid.UUID, int] = {}  # in the newest final frame

    def open(self, record: Record) -> None:
        """Begin a frame."""
        self._frames.append(_Frame(record, {}))

    def note(self, record: Record, trace: Trace) -> None:
        """Note what an object was in a frame; in one that is final already, nothing happens."""
        new = trace.after
        for frame in self._frames:
            same = frame.record.frame_index == record.frame_index
            if not same or frame.record.stamp_ns != record.stamp_ns:
                continue
            frame.traces = {
                identity: old
                for identity, old in frame.traces.items()
                # An object that was replaced, or whose slot was given away.
                if identity == new.uuid
                or (old.after.object_id != new.object_id and old.after.slot != new.slot)
            }
            frame.traces[new.uuid] = trace

    def close(self, result: TrackResult) -> None:
        """End the newest frame with the result that was returned for it."""
        frame, live = self._frames[-1], {item.uuid for item in result.objects}
        frame.traces = {k: trace for k, trace in frame.traces.items() if k in live}
        # Its images are made again: only the small parts are kept.
        frame.result = dataclasses.replace(
            result,
            label_mask=result.label_mask[:0].copy(),
            mask_logits=result.mask_logits[:0].clone(),
        )

    def clear(self) -> None:
        """Forget all frames."""
        self._frames.clear()
        self._paths.clear()

    def take(
        self, settings: TrackerSettings, calibration: Calibration | None, *, flush: bool
    ) -> list[TrackResult]:
        """Return the results that are final now, oldest first, each once.

        Args:
            settings: How masks are judged.
            calibration: Of the model.
            flush: Whether no more frames come: all are final.
        """
        results = []
        while len(self._frames) > (0 if flush else self._num_frames):
            result = self._finish(settings, calibration)
            results += [] if result is None else [result]
        return results

    def _finish(
        self, settings: TrackerSettings, calibration: Calibration | None
    ) -> TrackResult | None:
        """Take the oldest frame out of the window; None if its processing failed."""
        start_ns = time.perf_counter_ns()
        paths = {identity: self._path(identity) for identity in self._frames[0].traces}
        frame = self._frames.popleft()
        items, logits = [], []
        for identity, trace in frame.traces.items():
            item = _along(trace, paths[identity], frame.record.stamp_ns, settings, calibration)
            parent = trace.parents[paths[identity]]
            item.path_switched = self._paths.get(identity, parent) != parent
            items.append(item)
            logits.append(trace.logits[paths[identity]])
        self._paths = paths
        if frame.result is None:
            return None
        masks = torch.stack(logits) if logits else frame.result.mask_logits
        events = list(frame.result.events)
        result = make_result(items, masks, frame.record, events, start_ns=start_ns)
        return dataclasses.replace(result, engine_ns=frame.result.engine_ns + result.engine_ns)

    def _path(self, identity: uuid.UUID) -> int:
        """Follow the best hypothesis of an object back to the oldest frame."""
        path = 0
        for index in range(len(self._frames) - 1, 0, -1):
            trace = self._frames[index].traces.get(identity)
            if trace is not None:
                path = trace.parents[path] if path < len(trace.parents) else 0
        # A frame whose processing failed may have cut the line.
        return path if path < len(self._frames[0].traces[identity].parents) else 0


def _along(
    trace: Trace,
    path: int,
    stamp_ns: int,
    settings: TrackerSettings,
    calibration: Calibration | None,
) -> LiveObject:
    """Return the object as it was if a hypothesis was the best one in that frame."""
    if path == 0:
        return dataclasses.replace(trace.after)
    item = dataclasses.replace(trace.before, memory_updated=trace.after.memory_updated)
    states.update(item, trace.seen[path], stamp_ns, settings, calibration)
    return item
