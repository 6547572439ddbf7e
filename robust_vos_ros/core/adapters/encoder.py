"""Adapters of the image encoder: changes of its weights, folded in before an image is encoded.

A weight W of a convolution or LayerNorm becomes (1 + s) (W + sum_i z_i b_i a_i + D), its bias c
becomes (1 + s) c + t. Scale s and shift t are per output channel; for a convolution whose batch
norm was folded into it they are the norm's own gain and offset. The rank-1 parts a_i, b_i belong
to 1x1 convolutions, and D is a whole change of the weight. Encoding costs what it costs without
adapter.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import nn

from robust_vos_ros.core.adapters.settings import AdapterSettings
from robust_vos_ros.core.network.optimize import ClampedConv

# A convolution or LayerNorm, by its name in the image encoder before modules are fused.
Modules = dict[str, nn.Module]
_PLACES = ('neck', 'trunk')


def find_modules(encoder: nn.Module, places: list[str]) -> Modules:
    """Return the modules of an image encoder that an adapter changes.

    Args:
        encoder: With the children `neck` and `trunk`, in training form or optimized.
        places: Of `AdapterSettings`.
    """
    found: Modules = {}
    for place in (name for name in _PLACES if name in places):
        part = encoder.get_submodule(place)
        for name, module in part.named_modules(prefix=place):
            if isinstance(module, ClampedConv):
                found[name] = module.conv
            elif isinstance(module, nn.Conv2d | nn.LayerNorm) and module not in found.values():
                found[name] = module
    return found


class EncoderAdapter(nn.Module):
    """Changes of the weights of an image encoder; untrained ones change nothing.

    Args:
        settings: Places, parts and rank.
        modules: From `find_modules`.
    """

    def __init__(self, settings: AdapterSettings, modules: Modules) -> None:
        super().__init__()
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

    def fold(self, name: str, module: nn.Module) -> dict[str, torch.Tensor]:
        """Return the changed weight and bias of a module, float32, by `weight` and `bias`.

        Args:
            name: Of the module, from `find_modules`.
            module: With its original parameters.
        """
        key = _key(name)
        weight = module.get_parameter('weight').float()
        bias = module.get_parameter('bias').float()
        column = (-1, *[1] * (weight.ndim - 1))
        if key in self.down:
            weight = weight + (self.up[key] @ self.down[key]).reshape(weight.shape)
        if key in self.whole:
            weight = weight + self.whole[key]
        if key in self.scale:
            gain = 1.0 + self.scale[key]
            weight, bias = weight * gain.reshape(column), bias * gain
        if key in self.shift:
            bias = bias + self.shift[key]
        return {'weight': weight, 'bias': bias}

    @contextlib.contextmanager
    def folded(self, modules: Modules) -> Iterator[None]:
        """Use the changed weights inside of the context; gradients reach the adapter.

        Args:
            modules: From `find_modules` for this model.
        """
        kept = {name: dict(module.named_parameters()) for name, module in modules.items()}
        changed = {name: self.fold(name, module) for name, module in modules.items()}
        try:
            for name, module in modules.items():
                for which, tensor in changed[name].items():
                    delattr(module, which)
                    setattr(module, which, tensor)
            yield
        finally:
            for name, module in modules.items():
                for which, parameter in kept[name].items():
                    if which in module.__dict__:
                        delattr(module, which)
                    module.register_parameter(which, parameter)


def _key(name: str) -> str:
    """Return the name of a module as a key of a ParameterDict, which allows no dots."""
    return name.replace('.', '/')
