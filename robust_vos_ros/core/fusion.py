"""Make a network faster without changing its results beyond rounding."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_FEW_CHANNELS = 16


def optimize(net: Any, device: torch.device, precision: str) -> None:
    """Prepare a network in evaluation mode for inference.

    Args:
        net: A `SAM2Base`.
        device: Where it will run.
        precision: fp32 or bf16.
    """
    speed_up_norms(net)
    _fuse_batch_norms(net)
    if precision == 'bf16':
        # Autocast would convert these weights again for every frame.
        for module in net.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                module.to(torch.bfloat16)
    net.to(device, memory_format=torch.channels_last)
    if device.type == 'cpu' and torch.backends.mkldnn.is_available():
        _fuse_clamps(net)
    neck = net.image_encoder.neck
    neck.position_encoding = _KeptPosition(neck.position_encoding)


def speed_up_norms(net: nn.Module) -> None:
    """Replace sam2's LayerNorm2d by a faster one with the same parameters."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if type(child).__name__ == 'LayerNorm2d':  # only model.py imports sam2
                setattr(module, name, _ChannelNorm(child))


def _fuse_batch_norms(net: nn.Module) -> None:
    for module, index in _pairs(net, nn.Conv2d, nn.BatchNorm2d):
        module[index] = fuse_conv_bn_eval(module[index], module[index + 1])
        module[index + 1] = nn.Identity()


def _fuse_clamps(net: nn.Module) -> None:
    for module, index in _pairs(net, nn.Conv2d, nn.ReLU6):
        module[index], module[index + 1] = _ClampedConv(module[index]), nn.Identity()


def _pairs(net: nn.Module, first: type, second: type) -> list[tuple[Any, int]]:
    """Return where a module of one kind is followed by one of another."""
    return [
        (module, index)
        for module in net.modules()
        if isinstance(module, nn.Sequential)
        for index in range(len(module) - 1)
        if isinstance(module[index], first) and isinstance(module[index + 1], second)
    ]


class _ClampedConv(nn.Module):
    """A convolution whose result is clamped to [0, 6] as it is written: ReLU6 for nothing."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        conv = self.conv
        return torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001  torch.compile's own
            x.to(conv.weight.dtype),
            conv.weight,
            conv.bias,
            list(conv.padding),
            list(conv.stride),
            list(conv.dilation),
            conv.groups,
            'hardtanh',
            [0.0, 6.0],
            '',
        )


class _KeptPosition(nn.Module):
    """A position encoding, which depends on the shape alone, computed once per shape."""

    def __init__(self, encoding: nn.Module) -> None:
        super().__init__()
        self.encoding = encoding
        self._kept: dict[tuple[int, ...], torch.Tensor] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = (len(x), *x.shape[2:])
        if shape not in self._kept:
            self._kept[shape] = self.encoding(x)
        return self._kept[shape]


class _ChannelNorm(nn.Module):
    """sam2's LayerNorm2d (over the channels of (B, C, H, W)), faster."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] < _FEW_CHANNELS:  # layer_norm is slow for many short rows
            x = x.contiguous().float()
            x = x - x.mean(dim=1, keepdim=True)
            x = x * (x.square().mean(dim=1, keepdim=True) + self.eps).rsqrt()
            return torch.addcmul(self.bias[:, None, None], x, self.weight[:, None, None])
        x = F.layer_norm(
            x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps
        )
        return x.permute(0, 3, 1, 2)
