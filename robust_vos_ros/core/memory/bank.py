"""Preallocated memory tables with one row per object.

`Bank` stores the entries that the network attends to, `ReferenceTable` what object calibration
compares with: proxies of the newest prompted frame and of the newest visible one, and a
classifier.

All hypotheses of an object share its fixed entries: the prompted frames and the anchors. Each has
a list of recent entries; an entry that several hypotheses list is stored once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch

from robust_vos_ros.core.errors import SavedTracksError
from robust_vos_ros.core.network.object_calibration import NUM_REFERENCES, ObjectCalibration
from robust_vos_ros.core.network.object_proxies import Proxies, References
from robust_vos_ros.core.saving.named_tensors import Tensors, expect

EMPTY = -1


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryShape:
    """Sizes of the memory.

    Attributes:
        capacity: Number of slots.
        num_hypotheses: Hypotheses per slot.
        num_prompted: Prompted entries per slot.
        num_anchors: Anchor entries per slot.
        num_recent: Recent spatial entries per hypothesis (6 in SAM 2).
        num_pointers: Pointers per hypothesis besides those of anchors and of the 2nd and further
            prompts (16 in SAM 2).
        entry_shape: (N, memory_dim) of one spatial entry.
        pointer_dim: C, width of a pointer.
    """

    capacity: int
    num_hypotheses: int
    num_prompted: int
    num_anchors: int
    num_recent: int
    num_pointers: int
    entry_shape: tuple[int, int]
    pointer_dim: int


class Bank:
    """A table of frame indices and a tensor with the memory of those frames.

    Args:
        shape: Sizes of the memory.
        num_recent: Recent entries per hypothesis.
        entry_shape: Shape of one entry.
        dtype: Of the entries.
        device: Device of the entries.
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
        size = num_fixed + shape.num_hypotheses * num_recent
        self.num_fixed = num_fixed
        self.num_prompted = shape.num_prompted
        self.values = torch.zeros(shape.capacity, size, *entry_shape, dtype=dtype, device=device)
        self.frames = np.full((shape.capacity, size), EMPTY, np.int64)
        self.scores = np.zeros((shape.capacity, size), np.float32)
        # Recent entries of each hypothesis; an entry in no list is free.
        self.recent = np.full((shape.capacity, shape.num_hypotheses, num_recent), EMPTY, np.int64)

    def place(self, slot: int, rank: int) -> int:
        """Return a free column for a recent entry; a full hypothesis drops its oldest entry."""
        mine = self.recent[slot, rank]
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
        """Write entries of one frame into given columns of some slots."""
        device = self.values.device
        self.values[torch.from_numpy(slots).to(device), torch.from_numpy(places).to(device)] = (
            values
        )
        self.frames[slots, places] = frame_index
        self.scores[slots, places] = scores

    def save(self, slot: int) -> Tensors:
        """Return the entries in use of one object, and their columns."""
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
        """Load one object that another bank saved.

        Args:
            slot: Of the object.
            saved: Result of `save`.
            num_frames: Number of frames processed there; entries have smaller indices.

        Raises:
            SavedTracksError: The tensors are not of a bank of these sizes.
        """
        columns = expect(saved, 'columns', torch.int64, (-1,)).numpy()
        count = len(columns)
        values = expect(saved, 'values', self.values.dtype, (count, *self.values.shape[2:]))
        frames = expect(saved, 'frames', torch.int64, (count,)).numpy()
        scores = expect(saved, 'scores', torch.float32, (count,)).numpy()
        lists = expect(saved, 'recent', torch.int64, self.recent.shape[1:]).numpy()
        if not self._is_sound(columns, frames, lists, num_frames):
            raise SavedTracksError(
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
        """Whether the loaded entries of an object are consistent."""
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
        ranks: np.ndarray,
        frame_index: int,
        *,
        most: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Select the entries of each hypothesis before `frame_index`, prompted ones first.

        Args:
            slots: (B,) int64 rows.
            ranks: (B,) int64 rank of each among the hypotheses of its object, 0 = the best.
            frame_index: Index of the current frame.
            most: Maximum number of anchors and recent entries together; anchors replace the oldest
                recent entries, at most half of them.

        Returns:
            (B, S) columns and (B, S) bool, which of them exist; S is the longest row.
        """
        frames = self.frames[slots]
        anchors = slice(self.num_prompted, self.num_fixed)
        lists = self.recent[slots, ranks]
        recent = np.where(lists == EMPTY, -2, np.take_along_axis(frames, lists, axis=1))
        if most is not None:
            newness = recent.argsort(axis=1, kind='stable')[:, ::-1].argsort(axis=1)  # newest 0
            room = _num_recent_beside(frames[:, anchors], recent, newness, most)
            lists = np.where(newness < room, lists, EMPTY)
            recent = np.where(newness < room, recent, -2)
        seen = np.zeros(frames.shape, bool)
        seen[:, : self.num_fixed] = True
        row, turn = np.nonzero(lists != EMPTY)
        seen[row, lists[row, turn]] = True
        # An anchor that is also a recent entry must not count twice.
        seen[:, anchors] &= ~(frames[:, anchors, None] == recent[:, None]).any(axis=2)
        usable = seen & (frames != EMPTY) & (frames < frame_index)
        columns = np.argsort(~usable, axis=1, kind='stable')[:, : max(1, usable.sum(axis=1).max())]
        return columns, np.take_along_axis(usable, columns, axis=1)


def _num_recent_beside(
    anchors: np.ndarray, recent: np.ndarray, newness: np.ndarray, most: int
) -> np.ndarray:
    """Return (B, 1) the number of recent entries that fit beside the anchors.

    An anchor that is also a recent entry takes no extra room.

    Args:
        anchors: (B, A) frame indices, EMPTY where there is none.
        recent: (B, R) frame indices of the recent entries.
        newness: (B, R) rank of the recent entries by age, 0 = the newest.
        most: Maximum number of both kinds; at least half of it is for recent entries.
    """
    room = np.full((len(recent), 1), most // 2)
    for count in range(most // 2 + 1, most + 1):
        newest = np.where(newness < count, recent, EMPTY - 1)
        apart = (anchors != EMPTY) & ~(anchors[:, :, None] == newest[:, None]).any(axis=2)
        fits = count + apart.sum(axis=1, keepdims=True) <= most
        room = np.where(fits, count, room)
    return room


_PROMPTED, _RECENT = range(NUM_REFERENCES)
_CLASSIFIER = 'classifier'


class ReferenceTable:
    """References of each object for object calibration.

    Args:
        capacity: Number of slots.
        part: The object calibration of the model; None = no references.
        grid_size: h = w of the features at stride 16.
        device: Device of the proxies.
    """

    def __init__(
        self, capacity: int, part: ObjectCalibration | None, grid_size: int, device: torch.device
    ) -> None:
        self._kept: dict[str, torch.Tensor] = {}
        if part is None:
            return
        blank = part.start(
            torch.zeros(1, part.embedded_dim, 2 * grid_size, 2 * grid_size, device=device),
            torch.full((1, 1, 4 * grid_size, 4 * grid_size), -1.0, device=device),
        )
        for field in dataclasses.fields(blank.recent):
            value = getattr(blank.recent, field.name)
            shape = (capacity, NUM_REFERENCES, *value.shape[1:])
            self._kept[field.name] = torch.zeros(shape, dtype=value.dtype, device=device)
        self._kept[_CLASSIFIER] = blank.classifier.expand(capacity, -1).clone()

    def start(self, slots: np.ndarray, references: References | None) -> None:
        """Set the references of some objects to a prompted frame.

        Args:
            slots: (B,) int64 rows.
            references: Of these objects; None for a model without object calibration.
        """
        if references is None:
            return
        at = torch.from_numpy(slots)
        self._write(at, _PROMPTED, references.prompted)
        self._write(at, _RECENT, references.recent)
        self._kept[_CLASSIFIER][at] = references.classifier

    def see(self, slots: np.ndarray, proxies: Proxies | None) -> None:
        """Set the newest visible reference of some objects, where their proxies are valid."""
        if proxies is None or not len(slots):
            return
        old = self._read(slots, _RECENT)
        self._write(torch.from_numpy(slots), _RECENT, proxies.or_else(old))

    def of(self, slots: np.ndarray) -> References | None:
        """Return the references of some objects; None for a model without object calibration."""
        if not self._kept:
            return None
        prompted, recent = self._read(slots, _PROMPTED), self._read(slots, _RECENT)
        return References(prompted, recent, self._kept[_CLASSIFIER][slots])

    def forget_recent(self, slots: np.ndarray) -> None:
        """Replace the newest visible reference of some objects by the prompted one."""
        for values in self._proxies():
            values[slots, _RECENT] = values[slots, _PROMPTED]

    def save(self, slot: int) -> Tensors:
        """Return the references of one object, by name."""
        return {name: values[slot] for name, values in self._kept.items()}

    def load(self, slot: int, saved: Tensors) -> None:
        """Load the references of one object of the same model.

        Raises:
            SavedTracksError: A tensor is missing or wrong.
        """
        for name, values in self._kept.items():
            mine = values[slot]
            mine.copy_(expect(saved, name, mine.dtype, tuple(mine.shape)))

    def _read(self, slots: np.ndarray, index: int) -> Proxies:
        return Proxies(*(values[slots, index] for values in self._proxies()))

    def _write(self, slots: torch.Tensor, index: int, proxies: Proxies) -> None:
        for field in dataclasses.fields(proxies):
            self._kept[field.name][slots, index] = getattr(proxies, field.name)

    def _proxies(self) -> Iterator[torch.Tensor]:
        return (values for name, values in self._kept.items() if name != _CLASSIFIER)
