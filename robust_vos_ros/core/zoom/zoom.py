"""The zoom: the network gets a window around small objects, in which they are larger.

This applies while all objects are visible, small and near each other. The window moves when they
approach its border or change their size; memory is then encoded again (`zoom/rebuilding.py`).
While an object is not visible, the network gets the whole image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.errors import SavedTracksError
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.saving.named_tensors import Tensors
from robust_vos_ros.core.tracking_sections import ZoomSettings
from robust_vos_ros.core.types import Frame, ObjectFlag, Prompt
from robust_vos_ros.core.zoom.rebuilding import rebuild, sources_reach
from robust_vos_ros.core.zoom.sources import (
    Picture,
    PromptedMask,
    SavedZoom,
    Sources,
    TrackedMasks,
    take_picture,
)
from robust_vos_ros.core.zoom.window import Record, Window, box_of, extent, move, resize

# Maximum share of the image's side for a new window and for the present one.
_ENTER, _LEAVE = 0.7, 0.85
# Minimum distance of objects from the window's border, in sides of the window.
_MARGIN = 0.12
# The window is kept while the ratio of wanted to present size is in this range.
_SHRINK, _GROW = 0.6, 1.4


def choose_window(boxes: np.ndarray, current: Window, settings: ZoomSettings) -> Window:
    """Choose the window.

    Args:
        boxes: (N, 4) x0, y0, x1, y1 of all objects, in pixels of the camera image; N > 0.
        current: The present window, which is kept if possible.
        settings: Limits of the window's size.
    """
    height, width = current.image_hw
    box = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
    side = max((box[2] - box[0]) / width, (box[3] - box[1]) / height)
    least = max(1.0 / settings.max_factor, settings.min_side / min(height, width))
    share = float(max(side * settings.context, least))
    if share > (_ENTER if current.is_whole else _LEAVE):
        return Window.whole(current.image_hw)
    if not current.is_whole and _keeps_margin(current, box):
        grown = share / current.share
        if _SHRINK <= grown <= _GROW:
            return current
    size = (round(share * width), round(share * height))
    return Window(0, 0, *size, current.image_hw).around(box)


def _keeps_margin(window: Window, box: np.ndarray) -> bool:
    """Whether a box keeps the margin to the window's borders inside the image."""
    for low, first, side, end in (
        (0, window.x0, window.width, window.image_hw[1]),
        (1, window.y0, window.height, window.image_hw[0]),
    ):
        margin = _MARGIN * side
        if first > 0 and box[low] < first + margin:
            return False
        if first + side < end and box[low + 2] > first + side - margin:
            return False
    return True


class Zoom:
    """The window of a tracker, and the sources of its memory.

    Args:
        propagator: Holds masks and memory of the objects.
        settings: Limits of the window's size.

    Attributes:
        window: The network's window; None before the first frame.
    """

    def __init__(self, propagator: Propagator, settings: ZoomSettings) -> None:
        self.window: Window | None = None
        self._propagator = propagator
        self._image_size = propagator.model.image_size
        self._max_side = round(settings.max_factor * self._image_size)
        self._sources = Sources(settings.buffer_mb * 1_000_000)
        self._newest: Picture | None = None

    def view_next(
        self, frame: Frame, record: Record, items: Sequence[LiveObject], settings: ZoomSettings
    ) -> Record:
        """Choose the window of the next frame; returns the network's input.

        Args:
            frame: The frame.
            record: The whole frame.
            items: All live objects, with their state in the previous frame.
            settings: Current settings.
        """
        if self.window is None or self.window.image_hw != record.size_hw:
            self.reset_window(items)
            self.window = Window.whole(record.size_hw)
        if not all(item.track.visible for item in items):
            self.reset_window(items)
        elif not any(item.track.changed for item in items):
            self._choose([self.box(item) for item in items], items, settings)
        self._newest = take_picture(frame, record.frame_index, self._max_side)
        return self._to_input(record, frame.rgb)

    def view_prompted(
        self,
        prompts: Sequence[Prompt],
        record: Record,
        items: Sequence[LiveObject],
        settings: ZoomSettings,
    ) -> Record:
        """Choose a window for prompts on the newest frame; returns the network's input.

        Args:
            prompts: Checked prompts in pixels of the camera image.
            record: The whole newest frame.
            items: The objects that are kept or corrected.
            settings: Current settings.
        """
        known = {item.object_id for item in items}
        sized = all(
            prompt.mask is not None or prompt.box is not None or prompt.object_id in known
            for prompt in prompts
        )
        boxes = [extent(prompt) for prompt in prompts]
        if sized and all(map(_is_seen, items)):
            self._choose([*boxes, *(self.box(item) for item in items)], items, settings)
        else:
            self.reset_window(items)
        assert self._newest is not None, 'a prompt on the newest frame comes after it'
        return self._to_input(record, self._newest.rgb)

    def reset_window(self, items: Sequence[LiveObject]) -> None:
        """Return to the whole image."""
        if self.window is not None:
            self._switch(Window.whole(self.window.image_hw), items)

    def note_prompted(
        self, items: Sequence[LiveObject], logits: torch.Tensor, prompts: Sequence[Prompt],
        record: Record, frame: Frame | None,
    ) -> None:  # fmt: skip
        """Keep prompted frames and masks.

        Args:
            items: N objects, just initialized.
            logits: (N, h, w) of their masks.
            prompts: Their prompts.
            record: The network's input of the prompted frame.
            frame: The prompted frame; None = the newest one.
        """
        picture = self._newest
        if frame is not None:
            picture = take_picture(frame, record.frame_index, self._max_side)
        assert picture is not None, 'a prompt on the newest frame comes after it'
        height, width = picture.rgb.shape[:2]
        for item, seen, prompt in zip(items, logits, prompts, strict=True):
            mask = np.zeros((height, width), bool)
            part = record.window.cut(mask)
            part[:] = _enlarge(seen, part.shape) > 0.0
            if prompt.mask is not None:
                mask = _enlarge(torch.from_numpy(prompt.mask).float(), (height, width)) > 0.5
            used = self._propagator.memory.prompted_frames(item.slot)
            self._sources.last.pop(item.slot, None)
            self._sources.keep(item.slot, PromptedMask(picture, mask), used)

    def note_tracked(self, items: Sequence[LiveObject]) -> None:
        """Keep the newest frame for the objects whose memory it entered."""
        for item in items:
            if item.memory.updated and item.track.visible:
                self._sources.last[item.slot] = self._view(item)

    def forget(self, items: Sequence[LiveObject]) -> None:
        """Drop the sources of some objects."""
        for item in items:
            self._sources.forget(item.slot)

    def clear(self) -> None:
        """Return to the initial state."""
        self.window = self._newest = None
        self._sources.clear()

    def to_whole(self, logits: torch.Tensor) -> torch.Tensor:
        """Map (..., h, w) logits from the window to the whole image."""
        if self.window is None:
            return logits
        return move(logits, self.window, Window.whole(self.window.image_hw))

    def save(self) -> tuple[SavedZoom, Tensors]:
        """Return header and tensors, for `load`."""
        return self._sources.save(self._newest, self.window)

    def load(self, saved: SavedZoom, tensors: Tensors, slots: set[int], num_frames: int) -> None:
        """Load the state of another zoom with the same model and settings.

        Args:
            saved: Header from `save`.
            tensors: Tensors from `save`.
            slots: Of the saved objects.
            num_frames: Number of frames the other tracker had processed.

        Raises:
            SavedTracksError: A tensor is missing or wrong.
        """
        known = {slot for slot, _ in saved.shown} | {slot for slot, _, _ in saved.last}
        if not known <= slots or not all(0 <= index < num_frames for index in saved.pictures):
            raise SavedTracksError(
                f'expected pictures of {num_frames} frames and of the objects {sorted(slots)}, '
                f'got {saved.pictures} and {sorted(known)}'
            )
        pictures = self._sources.load(saved, tensors, self._propagator.logits)
        self._newest = None if saved.newest is None else pictures[saved.newest]
        self.window = saved.window

    def box(self, item: LiveObject) -> np.ndarray:
        """Return (4,) x0, y0, x1, y1 of a visible object, in pixels of the camera image."""
        assert self.window is not None, 'objects are seen in frames'
        on = (self._propagator.logits[item.slot, 0] > 0).numpy(force=True)
        window = self.window
        scale = np.array([window.width / on.shape[1], window.height / on.shape[0]] * 2)
        return box_of(on) * scale + [window.x0, window.y0, window.x0, window.y0]

    def _choose(
        self, boxes: list[np.ndarray], items: Sequence[LiveObject], settings: ZoomSettings
    ) -> None:
        assert self.window is not None, 'objects are seen in frames'
        wanted = Window.whole(self.window.image_hw)
        if boxes and sources_reach(items, self._propagator, self._sources):
            wanted = choose_window(np.array(boxes), self.window, settings)
        self._switch(wanted, items)

    def _switch(self, window: Window, items: Sequence[LiveObject]) -> None:
        """Change the window, and convert all objects to it."""
        old = self.window
        assert old is not None, 'objects are seen in frames'
        if old != window and items:
            views = dict(self._sources.last)
            for item in items:
                aged = ObjectFlag.AGED in item.track.flags  # its mask is of an older frame
                if _is_seen(item) and not aged and self._newest is not None:
                    views[item.slot] = self._view(item)
            rebuild(items, self._propagator, self._sources, views, old=old, new=window)
        self.window = window

    def _view(self, item: LiveObject) -> TrackedMasks:
        """Return the masks of an object in the newest frame."""
        assert self._newest is not None, 'objects are seen in frames'
        assert self.window is not None, 'objects are seen in frames'
        active = len(self._propagator.tree.scores(item.slot))
        logits = self._propagator.logits[item.slot, :active].clone()
        return TrackedMasks(self._newest, logits, self.window)

    def _to_input(self, record: Record, rgb: np.ndarray) -> Record:
        window = self.window
        assert window is not None, 'a frame was taken'
        if window.is_whole:
            return record
        image = resize(window.cut(rgb), self._image_size)
        return dataclasses.replace(record, image=image, window=window)


def _is_seen(item: LiveObject) -> bool:
    """Whether its mask shows the object."""
    return item.track.visible and not item.track.changed


def _enlarge(values: torch.Tensor, size_hw: tuple[int, ...]) -> np.ndarray:
    """Return (H, W) values, interpolated bilinearly."""
    resized = torch.nn.functional.interpolate(
        values[None, None], tuple(size_hw), mode='bilinear', align_corners=False
    )
    return resized[0, 0].numpy(force=True)
