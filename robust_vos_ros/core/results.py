"""Make the published result of one frame from the states and masks of the objects."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from robust_vos_ros.core.masks import much_smaller
from robust_vos_ros.core.network.mask_decoder import ABSENT_LOGIT
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.stages import stage
from robust_vos_ros.core.types import (
    ObjectFlag,
    ObjectState,
    TrackedObject,
    TrackEvent,
    TrackResult,
)
from robust_vos_ros.core.zoom.window import Record, Window, move

# A connected component counts as large from this share of the mask's area.
_LARGE_PART = 0.15


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """Measures of one mask in pixels.

    Attributes:
        box_xywh: Tight box, all zero for an empty mask.
        centroid_xy: Mean pixel, NaN for an empty mask.
        fragmented: Whether the mask, before objects competed for pixels, had several large
            components.
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
    """Assign each pixel to the object with the highest logit above 0.

    A much smaller object lies in front of a larger one whatever the logits (`much_smaller`).
    Logits are upsampled bilinearly, as in SAM 2, but only around each mask: a mask of a tenth of
    the image costs a tenth of the time.

    Args:
        logits: (N, h, w) float32.
        labels: N pixel values, above 0.
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
    for row in torch.argsort(-areas, stable=True).tolist():  # small masks last: they lie in front
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
    """Return the rows and columns of the full image that an (h, w) mask can reach."""
    slices = []
    for axis, size in enumerate(size_hw):
        cells = np.flatnonzero(on.any(axis=1 - axis))
        scale = size / on.shape[axis]
        # Bilinear interpolation extends a mask by less than one cell.
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


def place(shape: Shape, x0: int, y0: int, size_hw: tuple[int, int]) -> Shape:
    """Map a shape from a crop to the whole image.

    Args:
        shape: In the crop.
        x0: Left border of the crop in pixels of the whole image; `y0` its top border.
        size_hw: Height and width of the whole image.
    """
    if not shape.area_px:
        return shape
    x, y, width, height = shape.box_xywh
    x, y = x + x0, y + y0
    return dataclasses.replace(
        shape,
        box_xywh=(x, y, width, height),
        centroid_xy=(shape.centroid_xy[0] + x0, shape.centroid_xy[1] + y0),
        touches_border=x == 0 or y == 0 or x + width == size_hw[1] or y + height == size_hw[0],
    )


@stage('compose')
def make_result(
    items: list[LiveObject],
    logits: torch.Tensor,
    record: Record,
    events: list[TrackEvent],
    *,
    start_ns: int,
    warnings: Sequence[str] = (),
) -> TrackResult:
    """Resolve overlaps of the visible objects and measure the resulting masks.

    Args:
        items: N live objects.
        logits: (N, h, w) float32 mask logits within the record's window, in the order of `items`.
        record: The frame.
        events: Of this frame.
        start_ns: time.perf_counter_ns() at the start of the frame's processing.
        warnings: Of the prompts just applied.
    """
    shown = [row for row, item in enumerate(items) if item.track.visible]
    in_view = torch.tensor([item.track.visible for item in items], dtype=torch.bool).to(
        logits.device
    )
    logits = torch.where(in_view[:, None, None], logits, ABSENT_LOGIT)
    window = record.window
    label_mask, shapes = compose(
        logits[shown], [items[row].label for row in shown], window.size_hw
    )
    if not window.is_whole:
        part, label_mask = label_mask, np.zeros(record.size_hw, label_mask.dtype)
        window.cut(label_mask)[:] = part
        shapes = [place(shape, window.x0, window.y0, record.size_hw) for shape in shapes]
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
        mask_logits=move(logits, window, Window.whole(record.size_hw)),
        objects=objects,
        events=tuple(events),
        engine_ns=time.perf_counter_ns() - start_ns,
        warnings=tuple(warnings),
    )


def _tracked_object(item: LiveObject, shape: Shape, stamp_ns: int) -> TrackedObject:
    track = item.track
    flags = track.flags
    state, confidence, mask_quality = track.state, track.confidence, track.mask_quality
    if not shape.area_px:  # not visible, or all its pixels belong to objects in front of it
        confidence, mask_quality = 0.0, math.nan
        if state == ObjectState.TRACKED:
            state = ObjectState.UNCERTAIN
    if shape.touches_border:
        flags |= ObjectFlag.TOUCHES_BORDER
    if shape.fragmented:
        flags |= ObjectFlag.FRAGMENTED
    return TrackedObject(
        object_id=item.object_id,
        uuid=item.uuid,
        label=item.label,
        class_id=item.class_id,
        state=state,
        confidence=confidence,
        existence_probability=track.existence,
        mask_quality=mask_quality,
        gate_activity=track.gate_activity,
        memory_updated=item.memory.updated,
        path_switched=track.path_switched,
        last_seen_ns=track.last_seen_ns,
        age_ns=max(0, stamp_ns - item.added_ns),
        frames_since_seen=track.frames_since_seen,
        flags=flags,
        box_xywh=shape.box_xywh,
        centroid_xy=shape.centroid_xy,
        area_px=shape.area_px,
    )
