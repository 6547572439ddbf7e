"""What object calibration compares an object with: its newest prompted and its last frame."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from robust_vos_ros.core.network.object_calibration import NUM_REFERENCES, ObjectCalibration
from robust_vos_ros.core.network.object_proxies import Proxies
from robust_vos_ros.core.serialization import Tensors, expect

_PROMPTED, _RECENT = range(NUM_REFERENCES)


class References:
    """What object calibration compares each object with.

    Args:
        capacity: Number of slots.
        part: The object calibration of the model; None = nothing is kept.
        grid_size: h = w of the features at stride 16.
        device: Where proxies live.
    """

    def __init__(
        self, capacity: int, part: ObjectCalibration | None, grid_size: int, device: torch.device
    ) -> None:
        self._kept: dict[str, torch.Tensor] = {}
        if part is None:
            return
        blank = part.proxies(
            torch.zeros(1, part.settings.width, 2 * grid_size, 2 * grid_size, device=device),
            torch.full((1, 1, 4 * grid_size, 4 * grid_size), -1.0, device=device),
        )
        for field in dataclasses.fields(blank):
            value = getattr(blank, field.name)
            shape = (capacity, NUM_REFERENCES, *value.shape[1:])
            self._kept[field.name] = torch.zeros(shape, dtype=value.dtype, device=device)

    def start(self, slots: np.ndarray, proxies: Proxies | None) -> None:
        """Begin, or begin again, with a prompted frame, which is the last view as well.

        Args:
            slots: (B,) int64 rows.
            proxies: Of these objects in the frame; None for a model without object calibration.
        """
        for index in (_PROMPTED, _RECENT):
            self._write(torch.from_numpy(slots), index, proxies)

    def see(self, slots: np.ndarray, proxies: Proxies | None) -> None:
        """Take a tracked frame for the last view of the objects that are in view there."""
        if proxies is None or not len(slots):
            return
        old = self._read(slots, _RECENT)
        self._write(torch.from_numpy(slots), _RECENT, proxies.or_else(old))

    def of(self, slots: np.ndarray) -> tuple[Proxies, ...]:
        """Return the references of some objects; empty for a model without object calibration."""
        if not self._kept:
            return ()
        return self._read(slots, _PROMPTED), self._read(slots, _RECENT)

    def forget_recent(self, slots: np.ndarray) -> None:
        """Let the prompted frame be the last view of some objects."""
        for values in self._kept.values():
            values[slots, _RECENT] = values[slots, _PROMPTED]

    def save(self, slot: int) -> Tensors:
        """Return what is kept of one object, by name."""
        return {name: values[slot] for name, values in self._kept.items()}

    def load(self, slot: int, saved: Tensors) -> None:
        """Keep of one object what another one of the same model did.

        Raises:
            SnapshotError: The tensors are others.
        """
        for name, values in self._kept.items():
            mine = values[slot]
            mine.copy_(expect(saved, name, mine.dtype, tuple(mine.shape)))

    def _read(self, slots: np.ndarray, index: int) -> Proxies:
        return Proxies(*(values[slots, index] for values in self._kept.values()))

    def _write(self, slots: torch.Tensor, index: int, proxies: Proxies | None) -> None:
        if proxies is not None:
            for name, values in self._kept.items():
                values[slots, index] = getattr(proxies, name)
