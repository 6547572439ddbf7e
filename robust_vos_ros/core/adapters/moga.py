"""MoGA: low-rank adapters in the memory attention whose rank-1 parts are gated per object.

"Robust Promptable Video Object Segmentation" (arXiv 2605.12006): a projection W0 of the memory
attention becomes W0 x + sum_i z_i b_i (a_i . x), where the gates z in {0, 1}^R are computed from
the object pointers in memory. Baselines are the same module with other inputs of the gates: see
`Condition`.

Shape legend: B objects, K pointers, D their width, L layers, P adapted places of a layer,
R rank, G gate rows (B, or 1 for gates that all objects share), N tokens, C width of a token.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn

from robust_vos_ros.core.adapters.encoder import EncoderAdapter
from robust_vos_ros.core.adapters.settings import AdapterSettings

# Projections of one layer of the memory attention, and the adapter of each, by mode.
_PLACES: dict[str, dict[str, int]] = {
    'paper': {'self_q': 0, 'self_k': 1, 'self_v': 2, 'cross_q': 3},
    'released': {'self_q': 0, 'self_k': 0, 'cross_q': 1},
}
_GATE_WIDTHS = (64, 32)
_RELEASED_WIDTHS = (256, 128)


@dataclasses.dataclass(frozen=True, slots=True)
class Sampling:
    """Sampling of gates in training; without it they are deterministic.

    Attributes:
        temperature: tau of the Gumbel-Sigmoid, above 0.
        generator: Source of the noise, on the device of the pointers.
    """

    temperature: float
    generator: torch.Generator


@dataclasses.dataclass(frozen=True, slots=True)
class Gates:
    """Gates of one frame.

    Attributes:
        values: (G, L, P, R) in [0, 1]: means over pointers (and objects) of gates 0 or 1.
        own: (B, L, P, R) of each object, before averaging over objects.
    """

    values: torch.Tensor
    own: torch.Tensor

    @property
    def activity(self) -> torch.Tensor:
        """Share of open gates of each object, (B,)."""
        return self.own.detach().flatten(1).mean(dim=1)


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
        self.gate: _Gate | _ReleasedGate | None = None
        if settings.condition != 'none' and rank:
            width = dim if settings.condition == 'features' else self._chunk
            kind = _ReleasedGate if self._released else _Gate
            self.gate = kind(width, *self._shape, bias=settings.gate_bias)

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
        condition = self.settings.condition
        if self.gate is None:
            ones = torch.ones(1, *self._shape, device=pointers_BKD.device)
            return Gates(ones, ones.expand(batch, -1, -1, -1))
        if condition == 'features':
            z = self._open(pix.float().mean(dim=(2, 3)), sampling)
            return Gates(z, z.expand(batch, -1, -1, -1))
        if shares is None:
            shares = pointers_BKD.new_ones(batch)
        tokens, weight = self._tokens(pointers_BKD, valid_BK)
        if condition == 'aggregated':
            weight = weight * shares[:, None]
            mean = _group_mean((tokens * weight[..., None]).sum(1), weight.sum(1), groups)
            z = self._open(mean, sampling)
            return Gates(z, z.expand(batch, -1, -1, -1))
        z = self._open(tokens, sampling)
        own = (z * weight[:, :, None, None, None]).sum(1) / weight.sum(1)[:, None, None, None]
        if self.settings.mode != 'paper':
            return Gates(own, own)
        weighted = own * shares[:, None, None, None]
        return Gates(_group_mean(weighted, shares, groups), own)

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

    def _tokens(
        self, pointers_BKD: torch.Tensor, valid_BK: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (B, T, D') inputs of the gates and (B, T) float32, 1 for valid ones."""
        batch, count, width = pointers_BKD.shape
        parts = width // self._chunk
        tokens = pointers_BKD.reshape(batch, count * parts, self._chunk)
        if valid_BK is None:
            return tokens, tokens.new_ones(tokens.shape[:2])
        return tokens, valid_BK.repeat_interleave(parts, dim=1).to(tokens.dtype)

    def _open(self, condition: torch.Tensor, sampling: Sampling | None) -> torch.Tensor:
        """Return gates of 0 and 1, (..., L, P, R)."""
        assert self.gate is not None
        logits = self.gate(condition).float()
        if sampling is None:
            return (logits > 0).float()
        noise = _gumbel(logits, sampling.generator)
        if self.settings.noise == 'logistic':
            noise = noise - _gumbel(logits, sampling.generator)
        soft = torch.sigmoid((logits + noise) / sampling.temperature)
        hard = (soft > 0.5).float()
        return hard + (soft - soft.detach())  # straight-through


class _Gate(nn.Module):
    """The paper's g: three layers, one network for all projections."""

    def __init__(
        self, width: int, num_layers: int, places: int, rank: int, *, bias: float
    ) -> None:
        super().__init__()
        first, second = _GATE_WIDTHS
        last = nn.Linear(second, num_layers * places * rank)
        self.layers = nn.Sequential(
            nn.Linear(width, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), last
        )
        nn.init.constant_(last.bias, bias)
        self._shape = (num_layers, places, rank)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).unflatten(-1, self._shape)


class _ReleasedGate(nn.Module):
    """The published code's gates: one network for each adapter, its first layer linear."""

    def __init__(
        self, width: int, num_layers: int, places: int, rank: int, *, bias: float
    ) -> None:
        super().__init__()
        first, second = _RELEASED_WIDTHS
        lasts = [nn.Linear(second, rank) for _ in range(num_layers * places)]
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, first), nn.Linear(first, second), nn.ReLU(), last)
            for last in lasts
        )
        for last in lasts:
            nn.init.constant_(last.bias, bias)
        self._shape = (num_layers, places)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = torch.stack([network(x) for network in self.networks], dim=-2)
        return logits.unflatten(-2, self._shape)


def _gumbel(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    uniform = torch.rand(like.shape, generator=generator, device=like.device)
    return -torch.log(-torch.log(uniform.clamp(1e-7, 1.0 - 1e-7)))


def _group_mean(
    values: torch.Tensor, weight_B: torch.Tensor, groups: torch.Tensor | None
) -> torch.Tensor:
    """Return the mean over the objects of each video.

    Args:
        values: (B, ...) sums over what `weight_B` counts.
        weight_B: (B,) counts.
        groups: (B,) int64 video of each object; None = one video.

    Returns:
        (1, ...) for one video, else (B, ...) with equal rows for objects of the same video.
    """
    if groups is None:
        return values.sum(0, keepdim=True) / weight_B.sum()
    num = int(groups.max()) + 1
    sums = values.new_zeros(num, *values.shape[1:]).index_add(0, groups, values)
    counts = weight_B.new_zeros(num).index_add(0, groups, weight_B)
    mean = sums / counts.clamp(min=1).reshape(-1, *[1] * (values.ndim - 1))
    return mean[groups]
