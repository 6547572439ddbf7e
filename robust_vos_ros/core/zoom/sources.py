"""What memory was made of, so that it can be made again as another window shows it.

Kept are the frames of the prompts, as far as `zoom.buffer_mb` reaches, and of each object the
last frame that entered its memory.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import torch

from robust_vos_ros.core.types import Frame
from robust_vos_ros.core.zoom.window import Window


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """A frame as large as windows can make use of.

    Attributes:
        rgb: (h, w, 3) uint8; h and w of the camera image, or less.
        frame_index: Of the frame.
    """

    rgb: np.ndarray
    frame_index: int


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """An object in a frame that was tracked.

    Attributes:
        logits: (P, h, w) of its hypotheses.
        window: Where they are.
    """

    picture: Picture
    logits: torch.Tensor
    window: Window


@dataclasses.dataclass(frozen=True, slots=True)
class Shown:
    """An object in a frame in which a user pointed at it.

    Attributes:
        mask: (h, w) bool of the picture's size.
    """

    picture: Picture
    mask: np.ndarray


def take_picture(frame: Frame, frame_index: int, most: int) -> Picture:
    """Return a copy of a frame; its shorter side is `most` pixels at most."""
    height, width = frame.size_hw
    scale = most / min(height, width)
    if scale >= 1.0:
        return Picture(frame.rgb.copy(), frame_index)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Picture(cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA), frame_index)


class Sources:
    """Frames and masks by the slot of the object.

    Args:
        max_bytes: Most memory for frames of prompts.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.shown: dict[int, dict[int, Shown]] = {}
        self.last: dict[int, View] = {}

    def forget(self, slot: int) -> None:
        """Drop what is kept of one object."""
        self.shown.pop(slot, None)
        self.last.pop(slot, None)

    def clear(self) -> None:
        """Drop everything."""
        self.shown.clear()
        self.last.clear()

    def keep(self, slot: int, shown: Shown, used: np.ndarray) -> None:
        """Keep a prompted frame, if there is room for it.

        Args:
            slot: Of the object.
            shown: The frame, and what was pointed at.
            used: Frames of its prompted entries; what was kept of others is dropped.
        """
        mine = self.shown.setdefault(slot, {})
        for index in set(mine) - set(used.tolist()):
            del mine[index]
        frames = {id(s.picture): s.picture.rgb.nbytes for kept in self.shown.values()
                  for s in kept.values()}  # fmt: skip
        frames[id(shown.picture)] = shown.picture.rgb.nbytes
        if sum(frames.values()) <= self._max_bytes:
            mine[shown.picture.frame_index] = shown

    def state(self) -> dict[str, Any]:
        """Return a copy of everything, which `resume` takes."""
        pictures: dict[int, Picture] = {}
        for picture in (s.picture for kept in self.shown.values() for s in kept.values()):
            pictures[picture.frame_index] = picture
        for view in self.last.values():
            pictures[view.picture.frame_index] = view.picture
        return {
            'pictures': [
                (index, torch.from_numpy(picture.rgb.copy()))
                for index, picture in pictures.items()
            ],
            'shown': [
                (slot, index, torch.from_numpy(shown.mask.copy()))
                for slot, kept in self.shown.items()
                for index, shown in kept.items()
            ],
            'last': [
                (
                    slot,
                    view.picture.frame_index,
                    view.logits.cpu().clone(),
                    numbers_of(view.window),
                )
                for slot, view in self.last.items()
            ],
        }

    def resume(self, state: dict[str, Any], device: torch.device) -> None:
        """Keep what another one did."""
        self.clear()
        pictures = {index: Picture(rgb.numpy(), index) for index, rgb in state['pictures']}
        for slot, index, mask in state['shown']:
            self.shown.setdefault(slot, {})[index] = Shown(pictures[index], mask.numpy())
        for slot, index, logits, numbers in state['last']:
            window = window_of(numbers)
            self.last[slot] = View(pictures[index], logits.to(device), window)


def numbers_of(window: Window) -> list[int]:
    """Return a window as plain numbers, for a state."""
    return [window.x0, window.y0, window.width, window.height, *window.image_hw]


def window_of(numbers: list[int]) -> Window:
    """Return the window of the numbers in a state."""
    x0, y0, width, height, rows, columns = numbers
    return Window(x0, y0, width, height, (rows, columns))
