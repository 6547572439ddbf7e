"""The memory of all objects: spatial entries and object pointers.

Prompted frames (the first and the newest ones) and anchors stay; new recent frames replace old
ones. Sizes are fixed. In the network's input, anchors replace the oldest recent entries, at most
half of them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from robust_vos_ros.core.memory.bank import EMPTY, Bank, MemoryShape
from robust_vos_ros.core.network.tensors import MemoryView
from robust_vos_ros.core.saving.named_tensors import Tensors, below, prefixed

# Object score of prompted frames, as in SAM2Long.
_PROMPTED_SCORE = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Entries:
    """Memory entries of B hypotheses for one frame.

    Attributes:
        spatial: (B, N, memory_dim) bfloat16.
        pointers: (B, C) float32.
        scores: (B,) float object scores (logits).
    """

    spatial: torch.Tensor
    pointers: torch.Tensor
    scores: np.ndarray

    def rows(self, rows: list[int]) -> Entries:
        """Return the entries of some hypotheses."""
        return Entries(self.spatial[rows], self.pointers[rows], self.scores[rows])


class ObjectMemory:
    """Memory of up to `shape.capacity` objects.

    Args:
        shape: Sizes of the memory.
        device: Device of the entries.
    """

    def __init__(self, shape: MemoryShape, device: torch.device) -> None:
        self.shape = shape
        self._num_fixed = shape.num_prompted + shape.num_anchors
        self._spatial = Bank(
            shape,
            num_recent=shape.num_recent,
            entry_shape=shape.entry_shape,
            dtype=torch.bfloat16,
            device=device,
        )
        self._pointers = Bank(
            shape,
            num_recent=shape.num_pointers - 1,
            entry_shape=(shape.pointer_dim,),
            dtype=torch.float32,
            device=device,
        )

    @property
    def banks(self) -> tuple[Bank, Bank]:
        """The spatial entries and the pointers."""
        return self._spatial, self._pointers

    def clear(self, slots: np.ndarray) -> None:
        """Clear the memory of some objects."""
        for bank in self.banks:
            bank.frames[slots, : self._num_fixed] = EMPTY
            bank.recent[slots] = EMPTY

    def clear_recent_spatial(self, slots: np.ndarray) -> None:
        """Clear the spatial entries of some objects except for prompted frames; pointers stay."""
        self._spatial.frames[slots, self.shape.num_prompted : self._num_fixed] = EMPTY
        self._spatial.recent[slots] = EMPTY

    def prompted_frames(self, slot: int) -> np.ndarray:
        """Return the (K,) frame indices of the prompted entries of an object."""
        frames = self._spatial.frames[slot, : self.shape.num_prompted]
        return frames[frames != EMPTY]

    def clear_recent(self, slots: np.ndarray) -> None:
        """Clear all but the prompted entries of some objects."""
        for bank in self.banks:
            bank.frames[slots, self.shape.num_prompted : self._num_fixed] = EMPTY
            bank.recent[slots] = EMPTY

    def fork(self, slot: int, parents: list[int]) -> None:
        """Give hypothesis i of an object the recent entries of `parents[i]`; drop the others."""
        for bank in self.banks:
            lists = bank.recent[slot, parents]
            bank.recent[slot] = EMPTY
            bank.recent[slot, : len(parents)] = lists

    def write_recent(
        self,
        slots: np.ndarray,
        ranks: np.ndarray,
        frame_index: int,
        entries: Entries,
    ) -> None:
        """Write one tracked frame over the oldest recent entry of each hypothesis.

        Args:
            slots: (B,) int64 rows.
            ranks: (B,) int64 which hypothesis of its object each is, 0 = the best.
            frame_index: Index of the frame.
            entries: Of the frame.
        """
        for bank, values in zip(self.banks, (entries.spatial, entries.pointers), strict=True):
            places = np.array(
                [bank.place(slot, rank) for slot, rank in zip(slots, ranks, strict=True)], np.int64
            )
            bank.write(slots, places, frame_index, values, entries.scores)

    def write_recent_spatial(
        self,
        slots: np.ndarray,
        ranks: np.ndarray,
        frame_index: int,
        spatial: torch.Tensor,
        scores: np.ndarray,
    ) -> None:
        """Write only the spatial entries of a frame whose pointers are already in memory.

        Arguments as in `Entries` and `write_recent`.
        """
        bank = self._spatial
        places = np.array(
            [bank.place(slot, rank) for slot, rank in zip(slots, ranks, strict=True)], np.int64
        )
        bank.write(slots, places, frame_index, spatial, scores)

    def write_prompted(
        self, slots: np.ndarray, frame_index: int, spatial: torch.Tensor, pointers: torch.Tensor
    ) -> None:
        """Write one prompted frame over the entry of the same frame, or the oldest but the first.

        Arguments as in `Entries` and `write_recent`.
        """
        frames = self._spatial.frames[slots, : self.shape.num_prompted]
        places = np.array([_prompted_column(row, frame_index) for row in frames], np.int64)
        scores = np.full(len(slots), _PROMPTED_SCORE)
        for bank, values in zip(self.banks, (spatial, pointers), strict=True):
            bank.write(slots, places, frame_index, values, scores)

    def write_anchors(
        self,
        slots: np.ndarray,
        frame_index: int,
        entries: Entries,
    ) -> None:
        """Write one tracked frame over the oldest anchor.

        Arguments as in `write_recent`.
        """
        if not self.shape.num_anchors:
            return
        first = self.shape.num_prompted
        frames = self._spatial.frames[slots, first : self._num_fixed]
        places = first + frames.argmin(axis=1)
        for bank, values in zip(self.banks, (entries.spatial, entries.pointers), strict=True):
            bank.write(slots, places, frame_index, values, entries.scores)

    def view(
        self, slots: np.ndarray, ranks: np.ndarray, frame_index: int, *, modulation: float = 0.0
    ) -> MemoryView | None:
        """Return the memory of some hypotheses before `frame_index`.

        Args:
            slots: (B,) int64 rows.
            ranks: (B,) int64 which hypothesis of its object each is, 0 = the best.
            frame_index: Index of the current frame.
            modulation: Keys are multiplied by 1 - modulation to 1 + modulation, in the order of
                the object scores of their frames (SAM2Long, section 3.3).

        Returns:
            None if one of the hypotheses has no memory of an earlier frame.
        """
        columns, spatial_ok = self._spatial.pick(
            slots, ranks, frame_index, most=self.shape.num_recent
        )
        pointer_columns, pointer_ok = self._pointers.pick(slots, ranks, frame_index)
        if not spatial_ok.any(axis=1).all():
            return None
        rows, recent = slots[:, None], self.shape.num_recent
        age = frame_index - self._spatial.frames[rows, columns]
        # SAM 2 encodes a recent entry by its distance in frames, a prompted one by the last row.
        age_row = np.where(columns < self._num_fixed, recent, np.minimum(age, recent) - 1)
        pointer_age = frame_index - self._pointers.frames[rows, pointer_columns]
        age_row[~spatial_ok] = 0
        pointer_age[~pointer_ok] = 0
        valid = weights = None
        if not (spatial_ok.all() and pointer_ok.all()):
            valid = (self._to(spatial_ok), self._to(pointer_ok))
        if modulation:
            weights = (
                self._to(_weights(self._spatial.scores[rows, columns], spatial_ok, modulation)),
                self._to(
                    _weights(self._pointers.scores[rows, pointer_columns], pointer_ok, modulation)
                ),
            )
        return MemoryView(
            self._spatial.values[self._to(rows), self._to(columns)],
            self._to(age_row),
            self._pointers.values[self._to(rows), self._to(pointer_columns)],
            self._to(pointer_age).float(),
            valid,
            weights,
        )

    def save(self, slot: int) -> Tensors:
        """Return the memory of one object, by name."""
        spatial, pointers = (
            prefixed('spatial', self._spatial.save(slot)),
            self._pointers.save(slot),
        )
        return {**spatial, **prefixed('pointers', pointers)}

    def load(self, slot: int, saved: Tensors, num_frames: int) -> None:
        """Load the memory of one object; as `Bank.load`."""
        self._spatial.load(slot, below('spatial', saved), num_frames)
        self._pointers.load(slot, below('pointers', saved), num_frames)

    def num_bytes(self) -> int:
        """Return the size of the preallocated entries in bytes."""
        return self._spatial.values.nbytes + self._pointers.values.nbytes

    def _to(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._spatial.values.device)


def _prompted_column(frames: np.ndarray, frame_index: int) -> int:
    """Choose the column for a prompted frame, given the (num_prompted,) frames of a slot."""
    for wanted in (frame_index, EMPTY):
        same = np.flatnonzero(frames == wanted)
        if len(same):
            return int(same[0])
    # The first prompt is the most reliable entry and stays, unless there is only one column.
    return 0 if len(frames) == 1 else 1 + int(frames[1:].argmin())


def _weights(scores: np.ndarray, valid: np.ndarray, modulation: float) -> np.ndarray:
    """Return (B, S) float32 key factors, evenly spaced in the order of the scores."""
    order = np.where(valid, scores, np.inf).argsort(axis=1, kind='stable').argsort(axis=1)
    last = np.maximum(1, valid.sum(axis=1, keepdims=True) - 1)
    factors = 1.0 + modulation * (2.0 * order / last - 1.0)
    factors[valid.sum(axis=1) == 1] = 1.0
    return np.where(valid, factors, 1.0).astype(np.float32)
