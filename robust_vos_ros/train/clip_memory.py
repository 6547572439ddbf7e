"""What a model remembers of the objects of a batch while it is unrolled over clips."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Candidates, Features, MemoryView


class ClipMemory:
    """Memory of B objects, from the frame of their prompt on; it is updated after every frame.

    Args:
        model: The network.
        features: Of the prompted frame, one row per object.
        kept: The masks in it.

    Attributes:
        references: Of the prompted frame and of the last frame that shows each object; None for a
            model without object calibration.
    """

    def __init__(self, model: Model, features: Features, kept: Candidates) -> None:
        self._model = model
        self._spatial: list[torch.Tensor] = []  # of each frame, the prompted one first
        self._pointers: list[torch.Tensor] = []
        self.references = model.start_references(features, kept.mask_logits.detach())
        self.remember(features, kept, prompted=True)

    def see(self, features: Features, kept: Candidates) -> None:
        """Update the last frame that shows each object."""
        newest = self._model.proxies(features, kept.mask_logits.detach())
        if newest is not None and self.references is not None:
            recent = newest.or_else(self.references.recent)
            self.references = dataclasses.replace(self.references, recent=recent)

    def remember(self, features: Features, kept: Candidates, *, prompted: bool = False) -> None:
        """Add a frame to the memory."""
        self._pointers.append(kept.pointers[:, 0])
        self._spatial.append(
            self._model.remember(features, kept.mask_logits, kept.object_scores, prompted=prompted)
        )

    def view(self, t: int, admitted: Sequence[int]) -> MemoryView:
        """Return the memory as frame t attends to it.

        Args:
            t: Index of the frame, from 1.
            admitted: Indices of the frames between the prompted one and t that may be used; the
                newest ones are.
        """
        num_recent = self._model.num_recent
        frames = admitted[-num_recent:]
        pointed = [0, *admitted[-(self._model.num_pointers - 1) :]]
        rows = [num_recent] + [min(t - k, num_recent) - 1 for k in frames]
        device, count = self._spatial[0].device, len(self._spatial[0])
        return MemoryView(
            torch.stack([self._spatial[k] for k in [0, *frames]], dim=1),
            torch.tensor([rows], device=device).expand(count, -1),
            torch.stack([self._pointers[k] for k in pointed], dim=1),
            torch.tensor([[float(t - k) for k in pointed]], device=device).expand(count, -1),
            None,
        )
