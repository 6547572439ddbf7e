"""What goes into a tracker and comes out of it: frozen, slotted dataclasses and enums."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from typing import TYPE_CHECKING

import numpy as np

from robust_vos_ros.core.errors import ImageError

if TYPE_CHECKING:  # programs that only display results do not load torch
    import torch


class ObjectState(enum.IntEnum):
    """State of an object; values as in msg/TrackedObject."""

    INITIALIZING = 0
    TRACKED = 1
    UNCERTAIN = 2
    OCCLUDED = 3
    LOST = 4


UNSEEN_STATES = (ObjectState.OCCLUDED, ObjectState.LOST)


class ObjectFlag(enum.IntFlag):
    """Warnings about a mask; values as in msg/TrackedObject."""

    NONE = 0
    TOUCHES_BORDER = 1
    AREA_JUMP = 2
    COVERS_IMAGE = 4
    FRAGMENTED = 8
    PROMPT_MISFIT = 16
    CHANGED = 32
    AGED = 64


class EventType(enum.IntEnum):
    """Kinds of events; values as in msg/TrackEvent."""

    ADDED = 0
    CONFIRMED = 1
    UNCERTAIN = 2
    OCCLUDED = 3
    LOST = 4
    REACQUIRED = 5
    REMOVED = 6
    RESET = 7


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """One camera image.

    Attributes:
        rgb: (H, W, 3) uint8, RGB.
        stamp_ns: Acquisition time in nanoseconds.
        frame_id: Coordinate frame of the camera, copied to every output.
    """

    rgb: np.ndarray
    stamp_ns: int
    frame_id: str = ''

    def __post_init__(self) -> None:
        shape, dtype = self.rgb.shape, self.rgb.dtype
        if len(shape) != 3 or shape[2] != 3 or dtype != np.uint8 or 0 in shape:
            raise ImageError(
                f'a frame must be a non-empty (H, W, 3) uint8 RGB array, got {shape} {dtype}'
            )

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.rgb.shape[0], self.rgb.shape[1]


@dataclasses.dataclass(frozen=True, slots=True)
class Prompt:
    """A user's prompt for one object, in pixels (x right, y down) of the frame.

    Attributes:
        object_id: Name of the object, unique among live objects.
        points: (N, 2) float32, (x, y) of clicks.
        point_labels: (N,) int32, 1 on the object, 0 not on it.
        box: (4,) float32, (x0, y0, x1, y1), or None.
        mask: (H, W) bool of the frame's size, or None; excludes points and box.
        class_id: Free text copied to every output.
        text: What the object is, in words: alone, it is searched for; with points, box or mask, it
            is what to find again when the object is lost.
    """

    object_id: str
    points: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 2), np.float32))
    point_labels: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
    box: np.ndarray | None = None
    mask: np.ndarray | None = None
    class_id: str = ''
    text: str = ''

    @property
    def has_place(self) -> bool:
        """Whether points, box or mask say where the object is."""
        return bool(len(self.points)) or self.box is not None or self.mask is not None

    @property
    def is_text_alone(self) -> bool:
        """Whether only words say where the object is."""
        return bool(self.text) and not self.has_place


@dataclasses.dataclass(frozen=True, slots=True)
class TrackedObject:
    """One object in one processed frame; fields and units as in msg/TrackedObject.

    Attributes:
        box_xywh: Tight box of the mask in pixels, all zero without a mask.
        centroid_xy: Mean pixel of the mask, NaN without a mask.
        mask_quality: Predicted IoU in [0, 1], NaN without a mask.
    """

    object_id: str
    uuid: uuid.UUID
    label: int
    class_id: str
    state: ObjectState
    confidence: float
    existence_probability: float
    mask_quality: float
    gate_activity: float
    memory_updated: bool
    path_switched: bool
    last_seen_ns: int
    age_ns: int
    frames_since_seen: int
    flags: ObjectFlag
    box_xywh: tuple[int, int, int, int]
    centroid_xy: tuple[float, float]
    area_px: int


@dataclasses.dataclass(frozen=True, slots=True)
class TrackEvent:
    """A change of the state of an object, or of the tracker (RESET, empty object_id)."""

    type: EventType
    object_id: str
    uuid: uuid.UUID
    detail: str


@dataclasses.dataclass(frozen=True, slots=True)
class TrackResult:
    """Result of one processed frame.

    Attributes:
        label_mask: (H, W) uint8, or uint16 when a label exceeds 255; 0 = background,
            otherwise `TrackedObject.label`. Objects do not overlap.
        mask_logits: (N, h, w) float32 at the model's mask resolution, one row per object in the
            order of `objects`, before the objects compete for pixels; above 0 is object. An object
            that is not visible has none above 0.
        engine_ns: Time spent inside the tracker in nanoseconds.
        warnings: About the prompts just applied, a sentence each.
    """

    stamp_ns: int
    frame_id: str
    frame_index: int
    label_mask: np.ndarray
    mask_logits: torch.Tensor
    objects: tuple[TrackedObject, ...]
    events: tuple[TrackEvent, ...]
    engine_ns: int
    warnings: tuple[str, ...] = ()

    def mask(self, object_id: str) -> np.ndarray:
        """Return the (H, W) bool mask of one object, without the pixels other objects won.

        Raises:
            KeyError: No object of this frame has that id.
        """
        for item in self.objects:
            if item.object_id == object_id:
                return self.label_mask == item.label
        raise KeyError(object_id)
