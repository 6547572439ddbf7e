"""Tensors that pass between the steps of the network, for a batch of objects or images."""

from __future__ import annotations

import dataclasses

import torch


@dataclasses.dataclass(frozen=True, slots=True)
class Features:
    """Encoded images: one shared by all objects, or (in training) one per object.

    Attributes:
        pix: (B, C, h, w) features at stride 16; B = 1 for a shared image.
        pos: (1, h*w, C) their position encoding.
        high_res: (B, C/8, 4h, 4w) and (B, C/4, 2h, 2w) features for the mask decoder.
        embedded: (B, E, 2h, 2w) float32, what object calibration compares and classifies; None
            for a model without it.
        stages: Outputs of the image trunk, finest first, which words condition; None where the
            image encoder is one piece.
    """

    pix: torch.Tensor
    pos: torch.Tensor
    high_res: tuple[torch.Tensor, torch.Tensor]
    embedded: torch.Tensor | None = None
    stages: tuple[torch.Tensor, ...] | None = None

    def take(self, index: torch.Tensor) -> Features:
        """Return the features of images `index` (K,) int64."""
        fine, middle = self.high_res
        embedded = None if self.embedded is None else self.embedded[index]
        return Features(self.pix[index], self.pos, (fine[index], middle[index]), embedded)


@dataclasses.dataclass(frozen=True, slots=True)
class Clicks:
    """Point prompts of a batch of objects, in pixels of the model's image.

    Attributes:
        coords: (B, P, 2) float32, (x, y).
        labels: (B, P) int32: 1 on the object, 0 not on it, 2 and 3 corners of a box.
    """

    coords: torch.Tensor
    labels: torch.Tensor

    def to(self, device: torch.device) -> Clicks:
        """Return the same clicks on a device."""
        return Clicks(self.coords.to(device), self.labels.to(device))


@dataclasses.dataclass(frozen=True, slots=True)
class Candidates:
    """M candidate masks for each of B objects.

    Attributes:
        mask_logits: (B, M, 4h, 4w) float32, above 0 is object.
        ious: (B, M) float32, predicted IoU in [0, 1].
        object_scores: (B,) float32 logits, above 0 the object is visible.
        pointers: (B, M, C) float32 object pointers.
    """

    mask_logits: torch.Tensor
    ious: torch.Tensor
    object_scores: torch.Tensor
    pointers: torch.Tensor

    def best(self) -> Candidates:
        """Keep the candidate of the highest predicted IoU of each object (M = 1)."""
        if self.ious.shape[1] == 1:
            return self
        index = self.ious.argmax(dim=1)
        rows = index.new_ones(index.shape).cumsum(0) - 1  # 0, 1, ..., B - 1
        return self.take(rows, index)

    def take(self, rows: torch.Tensor, index: torch.Tensor) -> Candidates:
        """Keep candidate `index` (K,) of objects `rows` (K,), both int64; M = 1."""
        return Candidates(
            self.mask_logits[rows, index].unsqueeze(1),
            self.ious[rows, index].unsqueeze(1),
            self.object_scores[rows],
            self.pointers[rows, index].unsqueeze(1),
        )

    def rows(self, rows: torch.Tensor) -> Candidates:
        """Keep all candidates of objects `rows` (K,) int64."""
        return Candidates(
            self.mask_logits[rows], self.ious[rows], self.object_scores[rows], self.pointers[rows]
        )


@dataclasses.dataclass(frozen=True, slots=True)
class MemoryView:
    """Memory of B hypotheses at one frame, padded to the longest among them.

    Attributes:
        spatial: (B, S, N, memory_dim) bfloat16 memory features.
        spatial_age: (B, S) int64 row of the temporal position encoding.
        pointers: (B, P, C) float32 object pointers.
        pointer_age: (B, P) float32 age in processed frames.
        valid: (B, S) and (B, P) bool, True where an entry exists; None when all do.
        weights: (B, S) and (B, P) float32 factors of the keys; None = 1.
    """

    spatial: torch.Tensor
    spatial_age: torch.Tensor
    pointers: torch.Tensor
    pointer_age: torch.Tensor
    valid: tuple[torch.Tensor, torch.Tensor] | None
    weights: tuple[torch.Tensor, torch.Tensor] | None = None
