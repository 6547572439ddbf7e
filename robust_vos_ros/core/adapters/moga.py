"""MoGA: low-rank adapters in the memory attention whose rank-1 parts are gated per object.

"Robust Promptable Video Object Segmentation" (arXiv 2605.12006): a projection W0 of the memory
attention becomes W0 x + sum_i z_i b_i (a_i . x), where the gates z in {0, 1}^R are computed from
the object pointers in memory. Baselines are the same module with other inputs of the gates: see
`Condition`.

Shape legend: B objects, K pointers, D their width, L layers, P adapted places of a layer,
R rank, G gate rows (B, or 1 for gates that all objects share), N tokens, C width of a token.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from robust_vos_ros.core.adapters.encoder import EncoderAdapter
from robust_vos_ros.core.adapters.gates import (
    GateNetwork,
    Gates,
    ReleasedGateNetwork,
    Sampling,
    decide,
    make_inputs,
    open_gates,
)
from robust_vos_ros.core.adapters.settings import AdapterSettings

# Projections of one layer of the memory attention, and the adapter of each, by mode.
_PLACES: dict[str, dict[str, int]] = {
    'paper': {'self_q': 0, 'self_k': 1, 'self_v': 2, 'cross_q': 3},
    'released': {'self_q': 0, 'self_k': 0, 'cross_q': 1},
}


class Moga(nn.Module):
    """Adapters of all layers, and the network that computes their gates.

    Args:
        settings: Mode, condition, rank.
        dim: C, width of the memory attention.
        pointer_dim: Width of an object pointer.
        memory_dim: Width of a pointer token, into which the published code splits pointers.
        num_layers: L.
        encoder: Of the image encoder; None = not adapted.
    """

    def __init__(
        self,
        settings: AdapterSettings,
        *,
        dim: int,
        pointer_dim: int,
        memory_dim: int,
        num_layers: int,
        encoder: EncoderAdapter | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.encoder = encoder
        self._released = settings.mode == 'released'
        self._places = _PLACES['released' if self._released else 'paper']
        self._chunk = memory_dim if self._released else pointer_dim
        places, rank = len(set(self._places.values())), settings.attention_rank
        self._shape = (num_layers, places, rank)
        self.down = nn.Parameter(torch.empty(num_layers, places, rank, dim))
        self.up = nn.Parameter(torch.zeros(num_layers, places, dim, rank))
        bound = 1.0 / math.sqrt(dim)  # kaiming_uniform with a = sqrt(5)
        nn.init.uniform_(self.down, -bound, bound)
        # The published code divides by the rank, the paper does not.
        self._scale = 1.0 / max(1, rank) if self._released else 1.0
        self._known = (-1, False)  # version of `up`, and whether it was zero
        self.gate: GateNetwork | ReleasedGateNetwork | None = None
        if settings.condition != 'none' and rank:
            width = dim if settings.condition == 'features' else self._chunk
            kind = ReleasedGateNetwork if self._released else GateNetwork
            self.gate = kind(width, self._shape, settings)

    def gates(
        self,
        pointers_BKD: torch.Tensor,
        valid_BK: torch.Tensor | None,
        pix: torch.Tensor,
        *,
        sampling: Sampling | None = None,
        groups: torch.Tensor | None = None,
        shares: torch.Tensor | None = None,
    ) -> Gates:
        """Compute the gates of a frame.

        Args:
            pointers_BKD: Object pointers in memory, (B, K, pointer_dim).
            valid_BK: True where one exists; None = all do.
            pix: (1 or B, C, h, w) features of the frame, for the condition `features`.
            sampling: Noise and temperature in training; None = deterministic.
            groups: (B,) int64 video of each object, 0 to number of videos - 1; None = all objects
                are of one video. Objects of a video are averaged where the mode says so.
            shares: (B,) float32 weight of each row, 1 / number of hypotheses of its object; None =
                each row is an object.
        """
        batch = len(pointers_BKD)
        if self.gate is None:
            ones = torch.ones(1, *self._shape, device=pointers_BKD.device)
            return Gates(ones, ones.expand(batch, -1, -1, -1))
        if self.settings.condition == 'features':
            z, soft = decide(self.gate(pix.float().mean(dim=(2, 3))), self.settings, sampling)
            return Gates(z, z.expand(batch, -1, -1, -1), soft)
        inputs = make_inputs(
            pointers_BKD, valid_BK, width=self._chunk, groups=groups, shares=shares
        )
        shared = self.settings.mode == 'paper'
        return open_gates(self.gate, inputs, self.settings, sampling, shared=shared)

    def project(
        self, gates: Gates, layer: int, name: str, linear: nn.Linear, x: torch.Tensor
    ) -> torch.Tensor:
        """Apply a projection with its adapter.

        Args:
            gates: Of this frame.
            layer: Index of the layer.
            name: self_q, self_k, self_v or cross_q.
            linear: The frozen projection W0.
            x: (1 or B, N, C).

        Returns:
            (B or 1, N, C).
        """
        place = self._places.get(name)
        if place is None or not self.settings.attention_rank:
            return linear(x)
        if not torch.is_grad_enabled() and self._is_untrained():
            return linear(x)  # identical result, computed once for all objects
        gate = gates.values[:, layer, place]
        down, up = self.down[layer, place], self.up[layer, place] * self._scale
        if len(gate) == 1 and not torch.is_grad_enabled():
            # With gates common to all rows, the adapter is merged into W0: no extra cost per
            # token.
            update = (up * gate) @ down
            base = linear.weight
            if self._released:
                update = base.to(update.dtype) @ update
            return F.linear(x, base + update.to(base.dtype), linear.bias)
        delta = F.linear(F.linear(x, down) * gate[:, None].to(x.dtype), up)
        return linear(x + delta) if self._released else linear(x) + delta

    def _is_untrained(self) -> bool:
        version = self.up._version  # noqa: SLF001  counts changes; looking at the values is slow
        if self._known[0] != version:
            self._known = (version, not bool(self.up.any()))
        return self._known[1]
