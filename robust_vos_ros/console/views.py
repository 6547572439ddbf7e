"""Convert ROS messages to JSON, and frames to bytes; imports no ROS.

A frame is a 4-byte big-endian length, JSON of that many bytes, and an image (may be empty).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from robust_vos_ros.core.types import EventType, ObjectFlag, ObjectState
from robust_vos_ros.ros_types.annotations import find_outlines
from robust_vos_ros.visualization import label_colors

LEVELS = ('OK', 'WARN', 'ERROR', 'STALE')
_MAX_OUTLINES = 32  # maximum number per object, longest first
_MAX_VALUES, _MAX_TEXT = 64, 512


def to_stamp(time: Any) -> list[int]:
    """Return a builtin_interfaces/Time as [seconds, nanoseconds]."""
    return [time.sec, time.nanosec]


def to_ms(duration: Any) -> float:
    """Return a builtin_interfaces/Duration in milliseconds."""
    return round(duration.sec * 1e3 + duration.nanosec / 1e6, 1)


def color_of(label: int) -> str:
    """Return the overlay colour of a label as #rrggbb."""
    return '#{:02x}{:02x}{:02x}'.format(*label_colors()[label % 256])


def outlines_of(label_mask: np.ndarray, label: int) -> list[list[int]]:
    """Return the outlines of an object, each as x0, y0, x1, y1, ... in pixels.

    Args:
        label_mask: (H, W) labels.
        label: Of the object.
    """
    parts = sorted(find_outlines(label_mask, label), key=len, reverse=True)
    return [part.astype(int).ravel().tolist() for part in parts[:_MAX_OUTLINES]]


def to_object(item: Any, label_mask: np.ndarray | None) -> dict[str, Any]:
    """Convert a robust_vos/TrackedObject, with outlines if a label mask is given."""
    roi = item.roi
    masked = label_mask is not None and item.area_px > 0
    return {
        'id': item.object_id,
        'class': item.class_id,
        'label': item.label,
        'color': color_of(item.label),
        'state': ObjectState(item.state).name,
        'confidence': _number(item.confidence),
        'quality': _number(item.mask_quality),
        'flags': [flag.name for flag in ObjectFlag if flag and item.flags & flag],
        'box': [roi.x_offset, roi.y_offset, roi.width, roi.height],
        'area': item.area_px,
        'age_ms': to_ms(item.age),
        'outlines': outlines_of(label_mask, item.label) if masked else [],
    }


def to_frame(
    array: Any | None,
    label_mask: np.ndarray | None,
    *,
    stamp: list[int],
    size: tuple[int, int],
) -> dict[str, Any]:
    """Return the JSON part of a frame.

    Args:
        array: robust_vos/TrackedObjectArray; None for an image without a result.
        label_mask: (H, W) labels of the same frame.
        stamp: Of the image.
        size: Width and height of the image in pixels.
    """
    frame: dict[str, Any] = {'stamp': stamp, 'size': list(size), 'objects': None}
    if array is not None:
        frame |= {
            'objects': [to_object(item, label_mask) for item in array.objects],
            'index': array.frame_index,
            'latency_ms': to_ms(array.latency),
            'engine_ms': to_ms(array.engine_time),
            'dropped': array.frames_dropped,
        }
    return frame


def to_event(event: Any) -> dict[str, Any]:
    """Convert a robust_vos/TrackEvent."""
    return {
        'type': 'event',
        'event': EventType(event.type).name,
        'object_id': event.object_id,
        'detail': event.detail,
    }


def to_health(statuses: Iterable[Any], node: str) -> dict[str, Any] | None:
    """Return the diagnostic_msgs/DiagnosticStatus of a node's tracker, or None.

    Args:
        statuses: Of one DiagnosticArray.
        node: Full name of the node.
    """
    for status in statuses:
        if status.name == f'{node.lstrip("/")}: tracker':
            level = status.level[0] if isinstance(status.level, bytes) else status.level
            values = status.values[:_MAX_VALUES]
            return {
                'level': LEVELS[level],
                'message': status.message[:_MAX_TEXT],
                'values': {item.key: item.value[:_MAX_TEXT] for item in values},
            }
    return None


def pack(head: dict[str, Any], picture: bytes) -> bytes:
    """Return a frame as bytes."""
    text = to_json(head).encode()
    return b''.join((struct.pack('>I', len(text)), text, picture))


def to_json(note: dict[str, Any]) -> str:
    """Return standard JSON, without NaN."""
    return json.dumps(note, allow_nan=False, separators=(',', ':'))


def _number(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
