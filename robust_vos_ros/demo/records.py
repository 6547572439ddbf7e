"""What the demo keeps of a run: plain data, without ROS."""

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
        index: Which frame of the clip it is.
        label_png: The label mask as a PNG file, None when it did not arrive.
        overlay_jpeg: The overlay as a JPEG file, None when it did not arrive.
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
    """Everything one run produced.

    Attributes:
        sent_ns: Stamps of all images the camera sent; the first is the one prompts were made on.
        num_dropped: Images the node received but did not process.
        frames: The processed frames in order of time.
        messages: In order of time.
        positions: By object_id and stamp, (x, y, z) in metres; empty without depth.
    """

    sent_ns: tuple[int, ...]
    num_dropped: int
    frames: tuple[FrameRecord, ...]
    messages: tuple[RawMessage, ...]
    positions: dict[str, dict[int, tuple[float, float, float]]] = dataclasses.field(
        default_factory=dict
    )
