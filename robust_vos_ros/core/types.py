"""Data types shared by all layers: frozen, slotted dataclasses and enums."""

from __future__ import annotations

import dataclasses
import enum
import uuid
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from robust_vos_ros.core.errors import ImageError, SavedTracksError

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


@dataclasses.dataclass(frozen=True, slots=True)
class Features:
    """Encoded images: one shared by all objects, or (in training) one per object.

    Attributes:
        pix: (B, C, h, w) features at stride 16; B = 1 for a shared image.
        pos: (1, h*w, C) their position encoding.
        high_res: (B, C/8, 4h, 4w) and (B, C/4, 2h, 2w) features for the mask decoder.
        embedded: (B, width, 2h, 2w) float32 of unit length, the features that object calibration
            compares; None for a model without it.
        stages: Outputs of the image trunk, finest first, which words condition; None where the
            image encoder is one piece.
    """

    pix: torch.Tensor
    pos: torch.Tensor
    high_res: tuple[torch.Tensor, torch.Tensor]
    embedded: torch.Tensor | None = None
    stages: tuple[torch.Tensor, ...] | None = None

    def take(self, index: torch.Tensor) -> Features:
        """Return the features of images `index` (K,) int64."""
        fine, middle = self.high_res
        embedded = None if self.embedded is None else self.embedded[index]
        return Features(self.pix[index], self.pos, (fine[index], middle[index]), embedded)


@dataclasses.dataclass(frozen=True, slots=True)
class Clicks:
    """Point prompts of a batch of objects, in pixels of the model's image.

    Attributes:
        coords: (B, P, 2) float32, (x, y).
        labels: (B, P) int32: 1 on the object, 0 not on it, 2 and 3 corners of a box.
    """

    coords: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> Clicks:
        """Return the same clicks on a device."""
        return Clicks(self.coords.to(device), self.labels.to(device))


@dataclasses.dataclass(frozen=True, slots=True)
class Candidates:
    """M candidate masks for each of B objects.

    Attributes:
        mask_logits: (B, M, 4h, 4w) float32, above 0 is object.
        ious: (B, M) float32, predicted IoU in [0, 1].
        object_scores: (B,) float32 logits, above 0 the object is visible.
        pointers: (B, M, C) float32 object pointers.
    """

    mask_logits: torch.Tensor
    ious: torch.Tensor
    object_scores: torch.Tensor
    pointers: torch.Tensor

    def best(self) -> Candidates:
        """Keep the candidate of the highest predicted IoU of each object (M = 1)."""
        if self.ious.shape[1] == 1:
            return self
        index = self.ious.argmax(dim=1)
        rows = index.new_ones(index.shape).cumsum(0) - 1  # 0, 1, ..., B - 1
        return self.take(rows, index)

    def take(self, rows: torch.Tensor, index: torch.Tensor) -> Candidates:
        """Keep candidate `index` (K,) of objects `rows` (K,), both int64; M = 1."""
        return Candidates(
            self.mask_logits[rows, index].unsqueeze(1),
            self.ious[rows, index].unsqueeze(1),
            self.object_scores[rows],
            self.pointers[rows, index].unsqueeze(1),
        )

    def rows(self, rows: torch.Tensor) -> Candidates:
        """Keep all candidates of objects `rows` (K,) int64."""
        return Candidates(
            self.mask_logits[rows], self.ious[rows], self.object_scores[rows], self.pointers[rows]
        )


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryView:
    """Memory of B hypotheses at one frame, padded to the longest among them.

    Attributes:
        spatial: (B, S, N, memory_dim) bfloat16 memory features.
        spatial_age: (B, S) int64 row of the temporal position encoding.
        pointers: (B, P, C) float32 object pointers.
        pointer_age: (B, P) float32 age in processed frames.
        valid: (B, S) and (B, P) bool, True where an entry exists; None when all do.
        weights: (B, S) and (B, P) float32 factors of the keys; None = 1.
    """

    spatial: torch.Tensor
    spatial_age: torch.Tensor
    pointers: torch.Tensor
    pointer_age: torch.Tensor
    valid: tuple[torch.Tensor, torch.Tensor] | None
    weights: tuple[torch.Tensor, torch.Tensor] | None = None


Tensors: TypeAlias = 'dict[str, torch.Tensor]'


def expect(
    tensors: Tensors, name: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> torch.Tensor:
    """Return the tensor of a name after a check of dtype and shape.

    Args:
        tensors: By name.
        name: Of the tensor.
        dtype: Expected dtype.
        shape: Expected shape; -1 = any size above 0.

    Raises:
        SavedTracksError: The tensor is missing, or has another dtype or shape.
    """
    value = tensors.get(name)
    if value is not None and value.dtype == dtype and value.ndim == len(shape):
        pairs = zip(value.shape, shape, strict=True)
        if all(got == size or (size == -1 and got > 0) for got, size in pairs):
            return value
    got = 'none' if value is None else f'{value.dtype} {tuple(value.shape)}'
    raise SavedTracksError(f'expected {name} to be {dtype} {shape}, got {got}')


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    """Return tensors with `<prefix>.` before each name."""
    return {f'{prefix}.{name}': value for name, value in tensors.items()}


def below(prefix: str, tensors: Tensors) -> Tensors:
    """Return the tensors below `<prefix>.`, without it: the inverse of `prefixed`."""
    start = f'{prefix}.'
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
