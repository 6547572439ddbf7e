"""Adapters of the image encoder: changes of its weights, folded in before an image is encoded.

A weight W of a convolution or LayerNorm becomes (1 + s) (W + sum_i z_i b_i a_i + D), its bias c
becomes (1 + s) c + t. Scale s and shift t are per output channel; for a convolution whose batch
norm was folded into it they are the norm's own gain and offset. The rank-1 parts a_i, b_i belong
to 1x1 convolutions, and D is a whole change of the weight. Encoding costs what it costs without
adapter.

With a switch (`weather.py`), all this is left out on images that look clean.

The gates z of the rank-1 parts come from object pointers in memory, averaged over objects. While
there is no memory, all are open.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from robust_vos_ros.core.adapters.gates import (
    GateNetwork,
    Gates,
    Sampling,
    make_inputs,
    open_gates,
)
from robust_vos_ros.core.adapters.settings import AdapterSettings
from robust_vos_ros.core.adapters.weather import WeatherSwitch
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.optimize import PackedConv

# A convolution or LayerNorm, by its name in the image encoder before modules are fused.
Modules = dict[str, nn.Module]
# Weight and bias, by these names, of such modules.
Tensors = dict[str, dict[str, torch.Tensor]]
_PLACES = ('neck', 'trunk')


def find_modules(encoder: nn.Module, places: Sequence[str]) -> Modules:
    """Return the modules of an image encoder that an adapter changes.

    Args:
        encoder: With the children `neck` and `trunk`, in training form or optimized.
        places: Of `AdapterSettings`.
    """
    found: Modules = {}
    for place in (name for name in _PLACES if name in places):
        part = encoder.get_submodule(place)
        for name, module in part.named_modules(prefix=place):
            if isinstance(module, PackedConv):
                found[name] = module.conv
            elif isinstance(module, nn.Conv2d | nn.LayerNorm) and module not in found.values():
                found[name] = module
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class GatedWeight:
    """The weight of a 1x1 convolution as a function of its gates.

    Attributes:
        row: Index of its gates.
        closed: (C', C) weight with all gates closed.
        up: (C', R) what is added if they are open, with `down`.
        down: (R, C).
    """

    row: int
    closed: torch.Tensor
    up: torch.Tensor
    down: torch.Tensor

    def detach(self) -> GatedWeight:
        """Return the same without gradients."""
        parts = (self.closed.detach(), self.up.detach(), self.down.detach())
        return GatedWeight(self.row, *parts)

    def open(self, gates_MR: torch.Tensor) -> torch.Tensor:
        """Return the (C', C) weight."""
        gates = gates_MR[self.row, : self.up.shape[1]]
        return torch.addmm(self.closed, self.up * gates, self.down)


class EncoderAdapter(nn.Module):
    """Changes of the weights of an image encoder; untrained ones change nothing.

    Args:
        settings: Places, parts, rank and gates.
        modules: From `find_modules`.
        pointer_dim: Width of an object pointer.

    Raises:
        ConfigError: Gates cannot depend on what the settings say, or there is nothing to gate.
    """

    def __init__(self, settings: AdapterSettings, modules: Modules, pointer_dim: int) -> None:
        super().__init__()
        self.settings = settings
        self._pointer_dim = pointer_dim
        parts = settings.encoder
        self.scale, self.shift = nn.ParameterDict(), nn.ParameterDict()
        self.down, self.up = nn.ParameterDict(), nn.ParameterDict()
        self.whole = nn.ParameterDict()
        normed = {name.split('.')[0] for name, m in modules.items() if isinstance(m, nn.LayerNorm)}
        for name, module in modules.items():
            key = _key(name)
            shape = torch.Size(module.get_parameter('weight').shape)
            is_norm = isinstance(module, nn.LayerNorm)
            if 'affine' in parts and (is_norm or name.split('.')[0] not in normed):
                self.scale[key] = nn.Parameter(torch.zeros(shape[0]))
                self.shift[key] = nn.Parameter(torch.zeros(shape[0]))
            if is_norm:
                continue
            if 'rank' in parts and math.prod(shape[2:]) == 1:
                rank = min(settings.encoder_rank, *shape[:2])
                bound = 1.0 / math.sqrt(shape[1])  # kaiming_uniform with a = sqrt(5)
                self.down[key] = nn.Parameter(torch.empty(rank, shape[1]).uniform_(-bound, bound))
                self.up[key] = nn.Parameter(torch.zeros(shape[0], rank))
            if 'whole' in parts:
                self.whole[key] = nn.Parameter(torch.zeros(shape))
                if key not in self.shift:
                    self.shift[key] = nn.Parameter(torch.zeros(shape[0]))
        self.switch = WeatherSwitch() if settings.encoder_switch else None
        self._gated = list(self.down)  # M modules
        self.gate: GateNetwork | None = None
        if settings.encoder_gates:
            self.gate = _make_gate(settings, pointer_dim, len(self._gated))

    def gates(
        self,
        pointers_BKD: torch.Tensor,
        valid_BK: torch.Tensor | None,
        *,
        sampling: Sampling | None = None,
        groups: torch.Tensor | None = None,
        shares: torch.Tensor | None = None,
    ) -> Gates:
        """Compute the gates of a frame, (G, M, R) for M modules; arguments as for `Moga.gates`."""
        assert self.gate is not None, 'only an adapter with gates'
        inputs = make_inputs(
            pointers_BKD, valid_BK, width=self._pointer_dim, groups=groups, shares=shares
        )
        return open_gates(self.gate, inputs, self.settings, sampling, shared=True)

    def gated(self, modules: Modules) -> dict[str, GatedWeight]:
        """Return the weights that gates change, by the names of their modules.

        Args:
            modules: With the original parameters, by all names.
        """
        if self.gate is None:
            return {}
        closed = torch.zeros(len(self._gated), self.settings.encoder_rank)
        found = {}
        for name, module in modules.items():
            key = _key(name)
            if key not in self.down:
                continue
            up, down = self.up[key], self.down[key]
            if key in self.scale:
                up = up * (1.0 + self.scale[key])[:, None]
            weight = self.fold(name, module, closed.to(up.device))['weight']
            found[name] = GatedWeight(self._gated.index(key), weight.flatten(1), up, down)
        return found

    def fold(
        self, name: str, module: nn.Module, gates_MR: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the changed weight and bias of a module, float32, by `weight` and `bias`.

        Args:
            name: Of the module, from `find_modules`.
            module: With its original parameters.
            gates_MR: Of all modules; None = all open.
        """
        key = _key(name)
        weight = module.get_parameter('weight').float()
        bias = module.get_parameter('bias').float()
        column = (-1, *[1] * (weight.ndim - 1))
        if key in self.down:
            up, down = self.up[key], self.down[key]
            if gates_MR is not None:
                up = up * gates_MR[self._gated.index(key), : up.shape[1]]
            weight = weight + (up @ down).reshape(weight.shape)
        if key in self.whole:
            weight = weight + self.whole[key]
        if key in self.scale:
            gain = 1.0 + self.scale[key]
            weight, bias = weight * gain.reshape(column), bias * gain
        if key in self.shift:
            bias = bias + self.shift[key]
        return {'weight': weight, 'bias': bias}


class EncoderFold:
    """An adapter folded into the weights of an image encoder, and the weights before.

    Args:
        encoder: The image encoder.
        adapter: Of this image encoder; its gates are open at first.
    """

    def __init__(self, encoder: nn.Module, adapter: EncoderAdapter) -> None:
        self.adapter = adapter
        self._modules = find_modules(encoder, adapter.settings.places)
        self._originals: Modules = {
            name: _Original(module) for name, module in self._modules.items()
        }
        packed = {m.conv: m for m in encoder.modules() if isinstance(m, PackedConv)}
        self._packed = {n: packed[m] for n, m in self._modules.items() if m in packed}
        # What is written while the adapter is on; `open` changes it.
        self._changed = {
            name: {which: t.detach() for which, t in adapter.fold(name, original).items()}
            for name, original in self._originals.items()
        }
        self._gated = {name: w.detach() for name, w in adapter.gated(self._originals).items()}
        # Nothing is known to be open yet: `open` computes all, with the same rounding as later.
        self._opened = torch.full((len(self._gated), adapter.settings.encoder_rank), torch.nan)
        self._is_on = True
        self.open(None)
        self._write(self._changed)

    @torch.no_grad()
    def see(self, images: torch.Tensor) -> None:
        """Take the changes out, or fold them in again, as the images look; not in training.

        Args:
            images: (B, S, S, 3) uint8, RGB, that are encoded next.
        """
        if self.adapter.switch is None or self.adapter.switch.training:
            return
        is_on = bool((self.adapter.switch(images) > 0).any())
        if is_on != self._is_on:
            self._is_on = is_on
            self._write(self._changed if is_on else self._before())

    @property
    def is_on(self) -> bool:
        """Whether the changes are in the weights."""
        return self._is_on

    @torch.no_grad()
    def open(self, gates_MR: torch.Tensor | None) -> None:
        """Fold other gates in where they differ from the present ones; None = all open."""
        if not self._gated:
            return
        new = torch.ones_like(self._opened) if gates_MR is None else gates_MR.cpu()
        changed = (new != self._opened).any(dim=1).tolist()
        self._opened = new
        names = [name for name, weight in self._gated.items() if changed[weight.row]]
        for name in names:
            weight = self._gated[name]
            shape = self._changed[name]['weight'].shape
            self._changed[name]['weight'] = weight.open(new.to(weight.up.device)).reshape(shape)
        if self._is_on:
            self._write({name: {'weight': self._changed[name]['weight']} for name in names})

    def undo(self) -> None:
        """Restore the weights."""
        self._write(self._before())

    def _before(self) -> Tensors:
        return {name: dict(item.named_parameters()) for name, item in self._originals.items()}

    @torch.no_grad()
    def _write(self, tensors: Tensors) -> None:
        for name, values in tensors.items():
            for which, tensor in values.items():
                self._modules[name].get_parameter(which).copy_(tensor)
            if name in self._packed:
                self._packed[name].repack()

    @contextlib.contextmanager
    def for_training(self, gates_MR: torch.Tensor | None = None) -> Iterator[None]:
        """Use weights inside of the context through which gradients reach the adapter.

        Args:
            gates_MR: Of the frame; None = all open.
        """
        kept = {name: dict(m.named_parameters()) for name, m in self._modules.items()}
        changed = {name: self.adapter.fold(name, self._originals[name], gates_MR) for name in kept}
        try:
            for name, module in self._modules.items():
                for which, tensor in changed[name].items():
                    delattr(module, which)
                    setattr(module, which, tensor)
            yield
        finally:
            for name, module in self._modules.items():
                for which, parameter in kept[name].items():
                    if which in module.__dict__:
                        delattr(module, which)
                    module.register_parameter(which, parameter)


class _Original(nn.Module):
    """Copies of weight and bias of a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        for name in ('weight', 'bias'):
            copy = module.get_parameter(name).detach().clone()
            self.register_parameter(name, nn.Parameter(copy, requires_grad=False))


def _make_gate(settings: AdapterSettings, pointer_dim: int, num_modules: int) -> GateNetwork:
    if settings.condition in {'features', 'none'}:
        raise ConfigError(
            'encoder_gates: expected the condition pointers, objects or aggregated, as the frame '
            f'is not encoded yet, got {settings.condition}'
        )
    if not num_modules:
        raise ConfigError('encoder_gates: expected "rank" in encoder, got nothing to gate')
    return GateNetwork(pointer_dim, (num_modules, settings.encoder_rank), settings)


def _key(name: str) -> str:
    """Return the name of a module as a key of a ParameterDict, which allows no dots."""
    return name.replace('.', '/')
