"""The frames and masks from which memory was encoded, to encode it again for another window.

Keeps prompted frames, up to `zoom.buffer_mb`, and for each object the last frame that entered its
memory.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pydantic
import torch

from robust_vos_ros.core.saving.named_tensors import Tensors, expect
from robust_vos_ros.core.settings import Settings
from robust_vos_ros.core.types import Frame
from robust_vos_ros.core.zoom.window import Window


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A frame at the highest resolution that a window can use.

    Attributes:
        rgb: (h, w, 3) uint8; h and w of the camera image or smaller.
        frame_index: Index of the frame.
    """

    rgb: np.ndarray
    frame_index: int


@dataclasses.dataclass(frozen=True, slots=True)
class TrackedMasks:
    """Masks of an object in a tracked frame.

    Attributes:
        logits: (P, h, w) of its hypotheses.
        window: Of the masks.
    """

    picture: Picture
    logits: torch.Tensor
    window: Window


@dataclasses.dataclass(frozen=True, slots=True)
class PromptedMask:
    """Mask of an object in a prompted frame.

    Attributes:
        mask: (h, w) bool of the picture's size.
    """

    picture: Picture
    mask: np.ndarray


def take_picture(frame: Frame, frame_index: int, most: int) -> Picture:
    """Return a copy of a frame, reduced so that its shorter side is at most `most` pixels."""
    height, width = frame.size_hw
    scale = most / min(height, width)
    if scale >= 1.0:
        return Picture(frame.rgb.copy(), frame_index)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Picture(cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA), frame_index)


class SavedZoom(Settings):
    """State that belongs to the tensors of a saved zoom: frames by index, objects by slot.

    Attributes:
        window: The network's window; None before the first frame.
        newest: The newest frame.
        pictures: All frames.
        shown: Object and frame of each `PromptedMask`.
        last: Object, frame and window of each `TrackedMasks`.
    """

    window: Window | None
    newest: int | None
    pictures: list[int]
    shown: list[tuple[int, int]]
    last: list[tuple[int, int, Window]]

    @pydantic.model_validator(mode='after')
    def _check(self) -> SavedZoom:
        used = {index for _, index in self.shown} | {index for _, index, _ in self.last}
        if self.newest is not None:
            used.add(self.newest)
        if used != set(self.pictures):
            raise ValueError(f'expected the frames {sorted(used)}, got {self.pictures}')
        return self


class Sources:
    """Frames and masks by slot.

    Args:
        max_bytes: Maximum memory for prompted frames.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.shown: dict[int, dict[int, PromptedMask]] = {}
        self.last: dict[int, TrackedMasks] = {}

    def forget(self, slot: int) -> None:
        """Drop frames and masks of one object."""
        self.shown.pop(slot, None)
        self.last.pop(slot, None)

    def clear(self) -> None:
        """Drop everything."""
        self.shown.clear()
        self.last.clear()

    def keep(self, slot: int, shown: PromptedMask, used: np.ndarray) -> None:
        """Keep a prompted frame, if `max_bytes` allows.

        Args:
            slot: Of the object.
            shown: The frame and the prompted mask.
            used: Frames of its prompted memory entries; other kept frames are dropped.
        """
        mine = self.shown.setdefault(slot, {})
        for index in set(mine) - set(used.tolist()):
            del mine[index]
        frames = {id(s.picture): s.picture.rgb.nbytes for kept in self.shown.values()
                  for s in kept.values()}  # fmt: skip
        frames[id(shown.picture)] = shown.picture.rgb.nbytes
        if sum(frames.values()) <= self._max_bytes:
            mine[shown.picture.frame_index] = shown

    def save(self, newest: Picture | None, window: Window | None) -> tuple[SavedZoom, Tensors]:
        """Return header and tensors of a zoom.

        Args:
            newest: The newest frame.
            window: The present window.
        """
        shown = [
            (slot, index, s) for slot, kept in self.shown.items() for index, s in kept.items()
        ]
        pictures = [s.picture for *_, s in shown] + [v.picture for v in self.last.values()]
        known = {p.frame_index: p for p in (*pictures, *([] if newest is None else [newest]))}
        tensors = {
            **{f'picture.{i}': torch.from_numpy(p.rgb) for i, p in known.items()},
            **{f'shown.{slot}.{i}': torch.from_numpy(s.mask) for slot, i, s in shown},
            **{f'last.{slot}': view.logits for slot, view in self.last.items()},
        }
        saved = SavedZoom(
            window=window,
            newest=None if newest is None else newest.frame_index,
            pictures=list(known),
            shown=[(slot, index) for slot, index, _ in shown],
            last=[(slot, v.picture.frame_index, v.window) for slot, v in self.last.items()],
        )
        return saved, tensors

    def load(self, saved: SavedZoom, tensors: Tensors, logits: torch.Tensor) -> dict[int, Picture]:
        """Load saved sources; returns all pictures by frame index.

        Args:
            saved: Header from `save`.
            tensors: Tensors from `save`.
            logits: (capacity, P, h, w) of the tracker; gives size and device of the masks.

        Raises:
            SavedTracksError: A tensor is missing or wrong.
        """
        pictures = {}
        for index in saved.pictures:
            rgb = expect(tensors, f'picture.{index}', torch.uint8, (-1, -1, 3))
            pictures[index] = Picture(rgb.numpy(), index)
        shown: dict[int, dict[int, PromptedMask]] = {}
        for slot, index in saved.shown:
            size = pictures[index].rgb.shape[:2]
            mask = expect(tensors, f'shown.{slot}.{index}', torch.bool, size)
            shown.setdefault(slot, {})[index] = PromptedMask(pictures[index], mask.numpy())
        last = {}
        for slot, index, window in saved.last:
            masks = expect(tensors, f'last.{slot}', torch.float32, (-1, *logits.shape[2:]))
            last[slot] = TrackedMasks(pictures[index], masks.to(logits.device), window)
        self.shown, self.last = shown, last
        return pictures
