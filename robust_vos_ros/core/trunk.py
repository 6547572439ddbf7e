"""A small convolutional image trunk with the interface of SAM 2's Hiera trunk.

It takes the place of Hiera where there is no GPU: four stages at strides 4, 8, 16 and 32, each of
residual blocks made of a depth-wise 5x5 and a point-wise bottleneck, batch norm throughout.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn


class ConvBlock(nn.Module):
    """Residual depth-wise 5x5 followed by a residual point-wise expansion; keeps the shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dw = nn.Sequential(
            nn.Conv2d(channels, channels, 5, padding=2, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.pw = nn.Sequential(
            _conv_bn(channels, 2 * channels, kernel=1),
            nn.GELU(),
            _conv_bn(2 * channels, channels, kernel=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        x = x + self.dw(x)
        return x + self.pw(x)


class ConvTrunk(nn.Module):
    """Image trunk: (B, 3, H, W) to feature maps at strides 4, 8, 16 and 32.

    Args:
        channels: Channels of the four stages, finest first.
        depths: Blocks of the four stages.
        stem_channels: Channels after the first stride-2 convolution.
    """

    def __init__(
        self,
        channels: Sequence[int] = (32, 64, 128, 192),
        depths: Sequence[int] = (1, 2, 4, 1),
        stem_channels: int = 16,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _conv_bn(3, stem_channels, kernel=3, stride=2),
            nn.GELU(),
            _conv_bn(stem_channels, channels[0], kernel=3, stride=2),
            nn.GELU(),
        )
        self.st = nn.ModuleList(
            nn.Sequential(*(ConvBlock(width) for _ in range(depth)))
            for width, depth in zip(channels, depths, strict=True)
        )
        # dn[0] only keeps the numbers of dn and st equal: the stem leads into the first stage.
        self.dn = nn.ModuleList([nn.Identity()])
        self.dn.extend(
            nn.Sequential(_conv_bn(narrow, wide, kernel=3, stride=2), nn.GELU())
            for narrow, wide in itertools.pairwise(channels)
        )
        # Coarsest first, as SAM 2's FpnNeck expects.
        self.channel_list = list(reversed(channels))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the four feature maps, finest first."""
        x = self.stem(x)
        maps = []
        for down, stage in zip(self.dn, self.st, strict=True):
            x = stage(down(x))
            maps.append(x)
        return maps


def _conv_bn(narrow: int, wide: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(narrow, wide, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(wide),
    )
