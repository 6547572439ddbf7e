"""Data of a demo run, without ROS."""

from __future__ import annotations

import dataclasses

from robust_vos_ros.bags.reader import RawMessage
from robust_vos_ros.core.types import ObjectState


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One object of one processed frame, as published."""

    object_id: str
    label: int
    state: ObjectState
    confidence: float
    area_px: int


@dataclasses.dataclass(frozen=True, slots=True)
class FrameRecord:
    """One processed frame, as published.

    Attributes:
        index: Index of the frame in the clip.
        label_png: The label mask as a PNG file, None if it was not received.
        overlay_jpeg: The overlay as a JPEG file, None if it was not received.
    """

    index: int
    stamp_ns: int
    latency_ms: float
    engine_ms: float
    objects: tuple[ObjectRecord, ...]
    label_png: bytes | None = None
    overlay_jpeg: bytes | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Recording:
    """All data of one run.

    Attributes:
        sent_ns: Stamps of all images of the camera; the first one was prompted.
        num_dropped: Number of images that the node received and did not process.
        frames: The processed frames in order of time.
        messages: The messages of the node in order of time.
        positions: (x, y, z) in metres by object_id and stamp; empty without depth.
    """

    sent_ns: tuple[int, ...]
    num_dropped: int
    frames: tuple[FrameRecord, ...]
    messages: tuple[RawMessage, ...]
    positions: dict[str, dict[int, tuple[float, float, float]]] = dataclasses.field(
        default_factory=dict
    )
