"""The bounded memory of all objects: one preallocated row per object slot.

Each row holds the frames a user prompted (the first and the newest ones), a ring of recent spatial
memories and a ring of recent pointers. Nothing grows with time.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

_EMPTY = -1


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryView:
    """What B objects remember at one frame, padded to the longest memory among them.

    Attributes:
        spatial: (B, S, N, memory_dim) bfloat16 memory features.
        spatial_age: (B, S) int64 row of the temporal position encoding.
        pointers: (B, P, C) float32 object pointers.
        pointer_age: (B, P) float32 age in processed frames.
        valid: (B, S) and (B, P) bool, True where an entry exists; None when all do.
    """

    spatial: torch.Tensor
    spatial_age: torch.Tensor
    pointers: torch.Tensor
    pointer_age: torch.Tensor
    valid: tuple[torch.Tensor, torch.Tensor] | None


class ObjectMemory:
    """Memory of up to `capacity` objects.

    Args:
        capacity: Number of slots.
        num_prompted: Prompted entries per slot.
        num_recent: Recent spatial entries per slot (6 in SAM 2).
        num_pointers: Pointers per slot besides those of the 2nd and further prompts (16 in SAM 2).
        entry_shape: (N, memory_dim) of one spatial entry.
        pointer_dim: C, width of a pointer.
        device: Where the entries live.
    """

    def __init__(
        self,
        *,
        capacity: int,
        num_prompted: int,
        num_recent: int,
        num_pointers: int,
        entry_shape: tuple[int, int],
        pointer_dim: int,
        device: torch.device,
    ) -> None:
        self._num_prompted = num_prompted
        self._num_recent = num_recent
        self._num_recent_pointers = num_pointers - 1
        spatial, pointers = num_prompted + num_recent, num_prompted + self._num_recent_pointers
        self._spatial = torch.zeros(
            capacity, spatial, *entry_shape, dtype=torch.bfloat16, device=device
        )
        self._pointers = torch.zeros(capacity, pointers, pointer_dim, device=device)
        # Frame index of every entry; the prompted entries come first in both tables.
        self._spatial_frame = np.full((capacity, spatial), _EMPTY, np.int64)
        self._pointer_frame = np.full((capacity, pointers), _EMPTY, np.int64)

    def clear(self, slots: np.ndarray) -> None:
        """Forget everything about some objects."""
        self._spatial_frame[slots] = _EMPTY
        self._pointer_frame[slots] = _EMPTY

    def clear_recent(self, slots: np.ndarray) -> None:
        """Forget all but the prompted entries of some objects."""
        self._spatial_frame[slots, self._num_prompted :] = _EMPTY
        self._pointer_frame[slots, self._num_prompted :] = _EMPTY

    def write_recent(
        self, slots: np.ndarray, frame_index: int, spatial: torch.Tensor, pointers: torch.Tensor
    ) -> None:
        """Remember one tracked frame, over the oldest recent entry.

        Args:
            slots: (B,) int64 rows.
            frame_index: Index of the frame.
            spatial: (B, N, memory_dim) bfloat16.
            pointers: (B, C) float32.
        """
        first = self._num_prompted
        place = first + self._spatial_frame[slots, first:].argmin(axis=1)
        self._spatial[self._to(slots), self._to(place)] = spatial
        self._spatial_frame[slots, place] = frame_index
        place = first + self._pointer_frame[slots, first:].argmin(axis=1)
        self._pointers[self._to(slots), self._to(place)] = pointers
        self._pointer_frame[slots, place] = frame_index

    def write_prompted(
        self, slots: np.ndarray, frame_index: int, spatial: torch.Tensor, pointers: torch.Tensor
    ) -> None:
        """Remember one prompted frame, over the entry of the same frame or the oldest but one.

        Arguments as in `write_recent`.
        """
        frames = self._spatial_frame[slots, : self._num_prompted]
        place = np.array([_prompted_place(row, frame_index) for row in frames])
        self._spatial[self._to(slots), self._to(place)] = spatial
        self._pointers[self._to(slots), self._to(place)] = pointers
        self._spatial_frame[slots, place] = self._pointer_frame[slots, place] = frame_index

    def view(self, slots: np.ndarray, frame_index: int) -> MemoryView | None:
        """Return what some objects remember of the frames before `frame_index`.

        Args:
            slots: (B,) int64 rows.
            frame_index: Index of the current frame.

        Returns:
            None when one of the objects has no memory of an earlier frame.
        """
        columns, spatial_ok = _newest_first(self._spatial_frame[slots], frame_index)
        pointer_columns, pointer_ok = _newest_first(self._pointer_frame[slots], frame_index)
        if not spatial_ok.any(axis=1).all():
            return None
        rows = slots[:, None]
        age = frame_index - self._spatial_frame[rows, columns]
        # SAM 2 encodes a recent entry by its distance in frames, a prompted one by the last row.
        age_row = np.where(
            columns < self._num_prompted, self._num_recent, np.minimum(age, self._num_recent) - 1
        )
        pointer_age = frame_index - self._pointer_frame[rows, pointer_columns]
        age_row[~spatial_ok] = 0
        pointer_age[~pointer_ok] = 0
        valid = None
        if not (spatial_ok.all() and pointer_ok.all()):
            valid = (self._to(spatial_ok), self._to(pointer_ok))
        return MemoryView(
            self._spatial[self._to(rows), self._to(columns)],
            self._to(age_row),
            self._pointers[self._to(rows), self._to(pointer_columns)],
            self._to(pointer_age).float(),
            valid,
        )

    def state(self) -> dict[str, torch.Tensor]:
        """Return a copy of all that is remembered, which `restore` takes."""
        return {
            'spatial': self._spatial.cpu().clone(),
            'pointers': self._pointers.cpu().clone(),
            'spatial_frame': torch.from_numpy(self._spatial_frame.copy()),
            'pointer_frame': torch.from_numpy(self._pointer_frame.copy()),
        }

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Remember what another memory of the same size did."""
        self._spatial.copy_(state['spatial'])
        self._pointers.copy_(state['pointers'])
        self._spatial_frame[:] = state['spatial_frame'].numpy()
        self._pointer_frame[:] = state['pointer_frame'].numpy()

    def num_bytes(self) -> int:
        """Return the size of the preallocated entries in bytes."""
        return self._spatial.nbytes + self._pointers.nbytes

    def _to(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._spatial.device)


def _newest_first(frames: np.ndarray, frame_index: int) -> tuple[np.ndarray, np.ndarray]:
    """Pick the entries of each row that are older than `frame_index`, prompted ones first.

    Returns:
        (B, S) columns and (B, S) bool which of them exist, S being the longest row.
    """
    usable = (frames != _EMPTY) & (frames < frame_index)
    columns = np.argsort(~usable, axis=1, kind='stable')[:, : max(1, usable.sum(axis=1).max())]
    return columns, np.take_along_axis(usable, columns, axis=1)


def _prompted_place(frames: np.ndarray, frame_index: int) -> int:
    """Choose where a prompted frame goes among the (num_prompted,) prompted frames of a slot."""
    for wanted in (frame_index, _EMPTY):
        same = np.flatnonzero(frames == wanted)
        if len(same):
            return int(same[0])
    # The first prompt is the surest knowledge of the object and stays, unless it is the only one.
    return 0 if len(frames) == 1 else 1 + int(frames[1:].argmin())
