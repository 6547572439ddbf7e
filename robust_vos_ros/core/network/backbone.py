"""MobileNetV2 as image trunk, with the interface of SAM 2's Hiera trunk.

Inverted residuals with linear bottlenecks (Sandler et al., 2018, table 2), without the classifier.
The batch norms of the original are folded into the convolutions, because batches in training are
small; nothing is left to fuse for inference.
"""

from __future__ import annotations

import torch
from torch import nn

# Expansion, channels, number of blocks and stride of the first block; table 2 of the paper.
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM_CHANNELS = 32
# Index of the last block at strides 4, 8, 16 and 32.
_OUTPUTS = (3, 6, 13, 17)


class InvertedResidual(nn.Module):
    """Point-wise expansion, depth-wise filter, point-wise projection; residual if shapes agree."""

    def __init__(self, narrow: int, wide: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = narrow * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(narrow, hidden, 1), nn.ReLU6(inplace=True)]
        layers += [
            nn.Conv2d(hidden, hidden, 3, stride=stride, padding=1, groups=hidden),
            nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, wide, 1),
        ]
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and narrow == wide

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, narrow, H, W) to (B, wide, H/stride, W/stride)."""
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetTrunk(nn.Module):
    """Image trunk: (B, 3, H, W) to 24, 32, 96 and 320 channels at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2, padding=1)
        blocks: list[nn.Module] = [nn.Sequential(stem, nn.ReLU6(inplace=True))]
        narrow = _STEM_CHANNELS
        for expansion, wide, depth, stride in _STAGES:
            for index in range(depth):
                first = stride if index == 0 else 1
                blocks.append(InvertedResidual(narrow, wide, expansion=expansion, stride=first))
                narrow = wide
        self.features = nn.ModuleList(blocks)
        # Coarsest first, as SAM 2's FpnNeck expects.
        self.channel_list = [320, 96, 32, 24]

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the four feature maps, finest first."""
        maps = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in _OUTPUTS:
                maps.append(x)
        return maps
