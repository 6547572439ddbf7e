"""Gates of rank-1 parts, computed from object pointers in memory.

Shape legend: B objects, T tokens (pointers, or pieces of them), D their width, ... the shape of
the gated parts.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import nn

from robust_vos_ros.core.adapters.settings import AdapterSettings

_WIDTHS = (64, 32)
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
        values: (G, ...) in [0, 1]: means over pointers (and objects) of gates 0 or 1.
        own: (B, ...) of each object, before averaging over objects.
        soft: (B, ...) the same means of sigmoids of logits, without noise; None where gates are
            always open.
    """

    values: torch.Tensor
    own: torch.Tensor
    soft: torch.Tensor | None = None

    @property
    def activity(self) -> torch.Tensor:
        """Share of open gates of each object, (B,)."""
        return self.own.detach().flatten(1).mean(dim=1)


@dataclasses.dataclass(frozen=True, slots=True)
class GateInputs:
    """What the gates of a frame are computed from.

    Attributes:
        tokens: (B, T, D).
        weight: (B, T) float32, 1 for tokens that exist, else 0.
        shares: (B,) float32 weight of each row, 1 / number of hypotheses of its object.
        groups: (B,) int64 video of each object, 0 to number of videos - 1; None = all objects are
            of one video.
    """

    tokens: torch.Tensor
    weight: torch.Tensor
    shares: torch.Tensor
    groups: torch.Tensor | None = None


def make_inputs(
    pointers_BKD: torch.Tensor,
    valid_BK: torch.Tensor | None,
    *,
    width: int,
    groups: torch.Tensor | None,
    shares: torch.Tensor | None,
) -> GateInputs:
    """Cut pointers into tokens of a width; arguments as for `Moga.gates`."""
    batch, count, whole = pointers_BKD.shape
    parts = whole // width
    tokens = pointers_BKD.reshape(batch, count * parts, width)
    weight = tokens.new_ones(tokens.shape[:2])
    if valid_BK is not None:
        weight = valid_BK.repeat_interleave(parts, dim=1).to(tokens.dtype)
    return GateInputs(
        tokens, weight, pointers_BKD.new_ones(batch) if shares is None else shares, groups
    )


def open_gates(
    network: nn.Module,
    inputs: GateInputs,
    settings: AdapterSettings,
    sampling: Sampling | None,
    *,
    shared: bool,
) -> Gates:
    """Compute gates from pointers.

    The condition `pointers` averages the gates of an object's pointers, `objects` an object's
    pointers before its gate, `aggregated` all pointers of all objects before the one gate.

    Args:
        network: Maps (..., D) to logits.
        inputs: Pointers of the objects.
        settings: Condition and noise.
        sampling: In training; None = deterministic.
        shared: Whether gates are averaged over the objects of a video.
    """
    tokens, weight = inputs.tokens, inputs.weight
    batch = len(tokens)
    if settings.condition == 'aggregated':
        weight = weight * inputs.shares[:, None]
        sums = (tokens * weight[..., None]).sum(1)
        z, soft = decide(
            network(_group_mean(sums, weight.sum(1), inputs.groups)), settings, sampling
        )
        return Gates(z, z.expand(batch, *z.shape[1:]), soft)
    if settings.condition == 'objects':
        own, soft = decide(network(_token_mean(tokens, weight)), settings, sampling)
    else:
        z, each = decide(network(tokens), settings, sampling)
        own, soft = _token_mean(z, weight), _token_mean(each, weight)
    if not shared:
        return Gates(own, own, soft)
    weighted = own * _like(inputs.shares, own)
    return Gates(_group_mean(weighted, inputs.shares, inputs.groups), own, soft)


def decide(
    logits: torch.Tensor, settings: AdapterSettings, sampling: Sampling | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return gates of 0 and 1, and the sigmoids of the logits, with the shape of the logits."""
    logits = logits.float()
    probability = torch.sigmoid(logits)
    if sampling is None:
        return (logits > 0).float(), probability
    noise = _gumbel(logits, sampling.generator)
    if settings.noise == 'logistic':
        noise = noise - _gumbel(logits, sampling.generator)
    soft = torch.sigmoid((logits + noise) / sampling.temperature)
    hard = (soft > 0.5).float()
    return hard + (soft - soft.detach()), probability  # straight-through


class GateNetwork(nn.Module):
    """The paper's g: three layers, one network for all projections.

    Args:
        width: D.
        shape: Of the gated parts.
        settings: Initial logits, and whether tokens are standardized.
    """

    def __init__(self, width: int, shape: tuple[int, ...], settings: AdapterSettings) -> None:
        super().__init__()
        first, second = _WIDTHS
        last = nn.Linear(second, math.prod(shape))
        self.layers = nn.Sequential(
            nn.Linear(width, first), nn.ReLU(), nn.Linear(first, second), nn.ReLU(), last
        )
        _start_logits(last, settings)
        self.standard = _Standardization(width) if settings.standardize else nn.Identity()
        self._shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., D) tokens to logits (..., *shape)."""
        return self.layers(self.standard(x)).unflatten(-1, self._shape)


class ReleasedGateNetwork(nn.Module):
    """The published code's gates: one network for each adapter, its first layer linear.

    Arguments as for `GateNetwork`.
    """

    def __init__(self, width: int, shape: tuple[int, ...], settings: AdapterSettings) -> None:
        super().__init__()
        first, second = _RELEASED_WIDTHS
        *self._shape, rank = shape
        lasts = [nn.Linear(second, rank) for _ in range(math.prod(self._shape))]
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, first), nn.Linear(first, second), nn.ReLU(), last)
            for last in lasts
        )
        for last in lasts:
            _start_logits(last, settings)
        self.standard = _Standardization(width) if settings.standardize else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., D) tokens to logits (..., *shape)."""
        x = self.standard(x)
        logits = torch.stack([network(x) for network in self.networks], dim=-2)
        return logits.unflatten(-2, self._shape)


class _Standardization(nn.BatchNorm1d):
    """Subtract the mean of tokens seen in training and divide by their standard deviation.

    Pointers have much in common; without this, logits change little between them.
    """

    def __init__(self, width: int) -> None:
        super().__init__(width, affine=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)


def _start_logits(last: nn.Linear, settings: AdapterSettings) -> None:
    """Set the bias of untrained logits, which differs between parts by the spread."""
    nn.init.constant_(last.bias, settings.gate_bias)
    if settings.gate_spread:
        with torch.no_grad():
            last.bias.add_(settings.gate_spread * torch.randn_like(last.bias))


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


def _token_mean(values: torch.Tensor, weight_BT: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean of (B, T, ...) values over T."""
    sums = (values * _like(weight_BT, values)).sum(1)
    return sums / _like(weight_BT.sum(1), sums)


def _like(weight: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return a weight with as many dimensions as values."""
    return weight.reshape(*weight.shape, *[1] * (values.ndim - weight.ndim))
