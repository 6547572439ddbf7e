"""The bounded memory of all objects: preallocated entries, and which of them each hypothesis sees.

All hypotheses of an object share the frames a user prompted (the first and the newest ones) and
its anchors. Each has lists of recent spatial memories and pointers; hypotheses that have frames in
common hold the same entry twice in their lists and once in memory. Nothing grows with time. In
what the network sees, anchors take the place of the oldest recent memories, at most half of them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from robust_vos_ros.core.errors import SnapshotError
from robust_vos_ros.core.serialization import Tensors, below, expect, prefixed
from robust_vos_ros.core.types import MemoryView

EMPTY = -1


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryShape:
    """How much is remembered of how many objects.

    Attributes:
        capacity: Number of slots.
        num_paths: Hypotheses per slot.
        num_prompted: Prompted entries per slot.
        num_anchors: Anchor entries per slot.
        num_recent: Recent spatial entries per hypothesis (6 in SAM 2).
        num_pointers: Pointers per hypothesis besides those of anchors and of the 2nd and further
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
        num_recent: Recent entries per hypothesis.
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
        # Entries each hypothesis sees besides the fixed ones; an entry in no list is free.
        self.recent = np.full((shape.capacity, shape.num_paths, num_recent), EMPTY, np.int64)

    def place(self, slot: int, path: int) -> int:
        """Find room for a recent entry of a hypothesis, which drops its oldest when it is full."""
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

    def save(self, slot: int) -> Tensors:
        """Return what is remembered of one object: the entries in use, and where they are."""
        lists = self.recent[slot]
        fixed = np.flatnonzero(self.frames[slot, : self.num_fixed] != EMPTY)
        columns = np.concatenate([fixed, np.unique(lists[lists != EMPTY])])
        return {
            'values': self.values[slot, columns],
            'columns': torch.from_numpy(columns),
            'frames': torch.from_numpy(self.frames[slot, columns]),
            'scores': torch.from_numpy(self.scores[slot, columns]),
            'recent': torch.from_numpy(lists.copy()),
        }

    def load(self, slot: int, saved: Tensors, num_frames: int) -> None:
        """Remember of one object what another bank did.

        Args:
            slot: Of the object.
            saved: What `save` returned there.
            num_frames: Processed there: the frames of entries are below.

        Raises:
            SnapshotError: No bank like this one can have saved it.
        """
        columns = expect(saved, 'columns', torch.int64, (-1,)).numpy()
        count = len(columns)
        values = expect(saved, 'values', self.values.dtype, (count, *self.values.shape[2:]))
        frames = expect(saved, 'frames', torch.int64, (count,)).numpy()
        scores = expect(saved, 'scores', torch.float32, (count,)).numpy()
        lists = expect(saved, 'recent', torch.int64, self.recent.shape[1:]).numpy()
        if not self._is_sound(columns, frames, lists, num_frames):
            raise SnapshotError(
                f'expected entries of {num_frames} frames with a prompted one first, got frames '
                f'{frames.tolist()} in {columns.tolist()}, of which {lists.tolist()} are recent'
            )
        self.frames[slot, : self.num_fixed] = EMPTY
        self.values[slot, columns] = values.to(self.values.device)
        self.frames[slot, columns] = frames
        self.scores[slot, columns] = scores
        self.recent[slot] = lists

    def _is_sound(
        self, columns: np.ndarray, frames: np.ndarray, lists: np.ndarray, num_frames: int
    ) -> bool:
        """Whether what is remembered of an object could have been written by a tracker."""
        rows = [row[row != EMPTY] for row in lists]
        return (
            len(columns) > 0
            and bool((np.diff(columns) > 0).all())
            and 0 <= columns[0] < self.num_prompted
            and columns[-1] < self.frames.shape[1]
            and bool(((frames >= 0) & (frames < num_frames)).all())
            and all(len(np.unique(row)) == len(row) for row in rows)
            and np.array_equal(np.unique(np.concatenate(rows)), columns[columns >= self.num_fixed])
        )

    def pick(
        self,
        slots: np.ndarray,
        paths: np.ndarray,
        frame_index: int,
        *,
        most: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Pick what each hypothesis sees of the frames before `frame_index`, prompted ones first.

        Args:
            slots: (B,) int64 rows.
            paths: (B,) int64 hypothesis of each.
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


# Object score of frames a user prompted, as in SAM2Long.
_PROMPTED_SCORE = 10.0


@dataclasses.dataclass(frozen=True, slots=True)
class Entries:
    """What B hypotheses are to remember of one frame.

    Attributes:
        spatial: (B, N, memory_dim) bfloat16.
        pointers: (B, C) float32.
        scores: (B,) float object scores (logits).
    """

    spatial: torch.Tensor
    pointers: torch.Tensor
    scores: np.ndarray

    def rows(self, rows: list[int]) -> Entries:
        """Return some of them."""
        return Entries(self.spatial[rows], self.pointers[rows], self.scores[rows])


class ObjectMemory:
    """Memory of up to `shape.capacity` objects.

    Args:
        shape: How much is remembered.
        device: Where the entries live.
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
        """Forget everything about some objects."""
        for bank in self.banks:
            bank.frames[slots, : self._num_fixed] = EMPTY
            bank.recent[slots] = EMPTY

    def clear_recent_spatial(self, slots: np.ndarray) -> None:
        """Forget where some objects were, but for the prompted frames; their pointers stay."""
        self._spatial.frames[slots, self.shape.num_prompted : self._num_fixed] = EMPTY
        self._spatial.recent[slots] = EMPTY

    def prompted_frames(self, slot: int) -> np.ndarray:
        """Return the (K,) frames of the prompted entries of an object."""
        frames = self._spatial.frames[slot, : self.shape.num_prompted]
        return frames[frames != EMPTY]

    def clear_recent(self, slots: np.ndarray) -> None:
        """Forget all but the prompted entries of some objects."""
        for bank in self.banks:
            bank.frames[slots, self.shape.num_prompted : self._num_fixed] = EMPTY
            bank.recent[slots] = EMPTY

    def fork(self, slot: int, parents: list[int]) -> None:
        """Let hypothesis i of an object remember what `parents[i]` did; drop the others."""
        for bank in self.banks:
            lists = bank.recent[slot, parents]
            bank.recent[slot] = EMPTY
            bank.recent[slot, : len(parents)] = lists

    def write_recent(
        self,
        slots: np.ndarray,
        paths: np.ndarray,
        frame_index: int,
        entries: Entries,
    ) -> None:
        """Remember one tracked frame, in place of the oldest recent entry of each hypothesis.

        Args:
            slots: (B,) int64 rows.
            paths: (B,) int64 hypothesis of each.
            frame_index: Index of the frame.
            entries: What to remember.
        """
        for bank, values in zip(self.banks, (entries.spatial, entries.pointers), strict=True):
            places = np.array(
                [bank.place(slot, path) for slot, path in zip(slots, paths, strict=True)], np.int64
            )
            bank.write(slots, places, frame_index, values, entries.scores)

    def write_recent_spatial(
        self,
        slots: np.ndarray,
        paths: np.ndarray,
        frame_index: int,
        spatial: torch.Tensor,
        scores: np.ndarray,
    ) -> None:
        """Remember where objects were in a frame whose pointers are remembered already.

        Arguments as in `Entries` and `write_recent`.
        """
        bank = self._spatial
        places = np.array(
            [bank.place(slot, path) for slot, path in zip(slots, paths, strict=True)], np.int64
        )
        bank.write(slots, places, frame_index, spatial, scores)

    def write_prompted(
        self, slots: np.ndarray, frame_index: int, spatial: torch.Tensor, pointers: torch.Tensor
    ) -> None:
        """Remember one prompted frame, over the entry of the same frame or the oldest but one.

        Arguments as in `Entries` and `write_recent`.
        """
        frames = self._spatial.frames[slots, : self.shape.num_prompted]
        places = np.array([_prompted_place(row, frame_index) for row in frames], np.int64)
        scores = np.full(len(slots), _PROMPTED_SCORE)
        for bank, values in zip(self.banks, (spatial, pointers), strict=True):
            bank.write(slots, places, frame_index, values, scores)

    def write_anchors(
        self,
        slots: np.ndarray,
        frame_index: int,
        entries: Entries,
    ) -> None:
        """Remember one tracked frame for long, over the oldest anchor.

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
        self, slots: np.ndarray, paths: np.ndarray, frame_index: int, *, modulation: float = 0.0
    ) -> MemoryView | None:
        """Return what some hypotheses remember of the frames before `frame_index`.

        Args:
            slots: (B,) int64 rows.
            paths: (B,) int64 hypothesis of each.
            frame_index: Index of the current frame.
            modulation: Keys are multiplied by 1 - modulation to 1 + modulation, in the order of
                the object scores of their frames (SAM2Long, section 3.3).

        Returns:
            None when one of the hypotheses has no memory of an earlier frame.
        """
        columns, spatial_ok = self._spatial.pick(
            slots, paths, frame_index, most=self.shape.num_recent
        )
        pointer_columns, pointer_ok = self._pointers.pick(slots, paths, frame_index)
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
        """Return what is remembered of one object, by name."""
        spatial, pointers = (
            prefixed('spatial', self._spatial.save(slot)),
            self._pointers.save(slot),
        )
        return {**spatial, **prefixed('pointers', pointers)}

    def load(self, slot: int, saved: Tensors, num_frames: int) -> None:
        """Remember of one object what another memory did; as `Bank.load`."""
        self._spatial.load(slot, below('spatial', saved), num_frames)
        self._pointers.load(slot, below('pointers', saved), num_frames)

    def num_bytes(self) -> int:
        """Return the size of the preallocated entries in bytes."""
        return self._spatial.values.nbytes + self._pointers.values.nbytes

    def _to(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._spatial.values.device)


def _prompted_place(frames: np.ndarray, frame_index: int) -> int:
    """Choose where a prompted frame goes among the (num_prompted,) prompted frames of a slot."""
    for wanted in (frame_index, EMPTY):
        same = np.flatnonzero(frames == wanted)
        if len(same):
            return int(same[0])
    # The first prompt is the surest knowledge of the object and stays, unless it is the only one.
    return 0 if len(frames) == 1 else 1 + int(frames[1:].argmin())


def _weights(scores: np.ndarray, valid: np.ndarray, modulation: float) -> np.ndarray:
    """Return (B, S) float32 factors of keys, evenly spaced in the order of the scores."""
    order = np.where(valid, scores, np.inf).argsort(axis=1, kind='stable').argsort(axis=1)
    last = np.maximum(1, valid.sum(axis=1, keepdims=True) - 1)
    factors = 1.0 + modulation * (2.0 * order / last - 1.0)
    factors[valid.sum(axis=1) == 1] = 1.0
    return np.where(valid, factors, 1.0).astype(np.float32)
