"""Entries of one kind, preallocated: those all pathways of an object see, then recent ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

EMPTY = -1


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryShape:
    """How much is remembered of how many objects.

    Attributes:
        capacity: Number of slots.
        num_paths: Pathways per slot.
        num_prompted: Prompted entries per slot.
        num_anchors: Anchor entries per slot.
        num_recent: Recent spatial entries per pathway (6 in SAM 2).
        num_pointers: Pointers per pathway besides those of anchors and of the 2nd and further
            prompts (16 in SAM 2).
        entry_shape: (N, memory_dim) of one spatial entry.
        pointer_dim: C, width of a pointer.
    """

    capacity: int
    num_paths: int
    num_prompted: int
    num_anchors: int
    num_recent: int
    num_pointers: int
    entry_shape: tuple[int, int]
    pointer_dim: int


class Bank:
    """A table of frame numbers, and a tensor of what is remembered of those frames.

    Args:
        shape: How much is remembered.
        num_recent: Recent entries per pathway.
        entry_shape: Shape of one entry.
        dtype: Of the entries.
        device: Where they live.
    """

    def __init__(
        self,
        shape: MemoryShape,
        *,
        num_recent: int,
        entry_shape: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        num_fixed = shape.num_prompted + shape.num_anchors
        size = num_fixed + shape.num_paths * num_recent
        self.num_fixed = num_fixed
        self.num_prompted = shape.num_prompted
        self.values = torch.zeros(shape.capacity, size, *entry_shape, dtype=dtype, device=device)
        self.frames = np.full((shape.capacity, size), EMPTY, np.int64)
        self.scores = np.zeros((shape.capacity, size), np.float32)
        # Entries each pathway sees besides the fixed ones; an entry in no list is free.
        self.recent = np.full((shape.capacity, shape.num_paths, num_recent), EMPTY, np.int64)

    def place(self, slot: int, path: int) -> int:
        """Find room for a recent entry of a pathway, which drops its oldest when it is full."""
        mine = self.recent[slot, path]
        frames = np.where(mine == EMPTY, EMPTY, self.frames[slot, mine])
        turn = int(frames.argmin())
        mine[turn] = EMPTY
        taken = np.zeros(self.frames.shape[1], bool)
        taken[: self.num_fixed] = True
        lists = self.recent[slot]
        taken[lists[lists != EMPTY]] = True
        mine[turn] = int(taken.argmin())
        return int(mine[turn])

    def write(
        self,
        slots: np.ndarray,
        places: np.ndarray,
        frame_index: int,
        values: torch.Tensor,
        scores: np.ndarray,
    ) -> None:
        """Fill some places of some slots with what is to be remembered of a frame."""
        device = self.values.device
        self.values[torch.from_numpy(slots).to(device), torch.from_numpy(places).to(device)] = (
            values
        )
        self.frames[slots, places] = frame_index
        self.scores[slots, places] = scores

    def state(self) -> dict[str, torch.Tensor]:
        """Return a copy of everything, which `resume` takes."""
        return {
            'values': self.values.cpu().clone(),
            'frames': torch.from_numpy(self.frames.copy()),
            'scores': torch.from_numpy(self.scores.copy()),
            'recent': torch.from_numpy(self.recent.copy()),
        }

    def resume(self, state: dict[str, torch.Tensor]) -> None:
        """Become the bank whose `state` this was."""
        self.values.copy_(state['values'])
        self.frames[:] = state['frames'].numpy()
        self.scores[:] = state['scores'].numpy()
        self.recent[:] = state['recent'].numpy()

    def pick(
        self,
        slots: np.ndarray,
        paths: np.ndarray,
        frame_index: int,
        *,
        most: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pick what each pathway sees of the frames before `frame_index`, prompted ones first.

        Args:
            slots: (B,) int64 rows.
            paths: (B,) int64 pathway of each.
            frame_index: Index of the current frame.
            most: Anchors and recent entries together: the oldest recent ones make room, at most
                half of them.

        Returns:
            (B, S) columns and (B, S) bool which of them exist, S being the longest row.
        """
        frames = self.frames[slots]
        anchors = slice(self.num_prompted, self.num_fixed)
        lists = self.recent[slots, paths]
        recent = np.where(lists == EMPTY, -2, np.take_along_axis(frames, lists, axis=1))
        if most is not None:
            rank = recent.argsort(axis=1, kind='stable')[:, ::-1].argsort(axis=1)  # newest 0
            room = _room(frames[:, anchors], recent, rank, most)
            lists = np.where(rank < room, lists, EMPTY)
            recent = np.where(rank < room, recent, -2)
        seen = np.zeros(frames.shape, bool)
        seen[:, : self.num_fixed] = True
        row, turn = np.nonzero(lists != EMPTY)
        seen[row, lists[row, turn]] = True
        # An anchor that is also among the recent entries would count twice.
        seen[:, anchors] &= ~(frames[:, anchors, None] == recent[:, None]).any(axis=2)
        usable = seen & (frames != EMPTY) & (frames < frame_index)
        columns = np.argsort(~usable, axis=1, kind='stable')[:, : max(1, usable.sum(axis=1).max())]
        return columns, np.take_along_axis(usable, columns, axis=1)


def _room(anchors: np.ndarray, recent: np.ndarray, rank: np.ndarray, most: int) -> np.ndarray:
    """Return (B, 1) how many recent entries there is room for beside the anchors.

    An anchor that is among them takes no place of its own.

    Args:
        anchors: (B, A) their frames, EMPTY where there is none.
        recent: (B, R) frames of the recent entries.
        rank: (B, R) of the recent entries, the newest one 0.
        most: Entries of both kinds; at least half of it are recent ones.
    """
    room = np.full((len(recent), 1), most // 2)
    for count in range(most // 2 + 1, most + 1):
        newest = np.where(rank < count, recent, EMPTY - 1)
        apart = (anchors != EMPTY) & ~(anchors[:, :, None] == newest[:, None]).any(axis=2)
        fits = count + apart.sum(axis=1, keepdims=True) <= most
        room = np.where(fits, count, room)
    return room
