"""How things move, comparable with what is said of a motion.

The temporal part of SAMWISE's adapter (Cuttano et al., "SAMWISE: Infusing Wisdom in SAM2 for
Text-Driven Video Segmentation", CVPR 2025): hierarchical selective attention of the newest frame
to those before it, within blocks of two levels. Three things differ. A block lies around each
cell, so that none is at the border of its block. Queries and keys are the whitened stages of the
frozen trunk, as a learned projection found no motion in the time of a training. And the values are
the places of the keys: where alike cells lay says how a cell moves. Expressions that say nothing
of a motion do not use it.

Shape legend: B frames, T of them one after another, c channels of a stage, h, w cells, N = h*w, C
channels of motion, E expressions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

REACH = 4  # cells of a stage from a cell to the border of its block
_SHARPNESS = 30.0  # of attention: factor of the cosine of two cells
_VALUES = 3  # per level: mean shift x, y as a share of the reach, and the largest weight


class BlockMatching(nn.Module):
    """Attention of a frame to an earlier one within blocks around its cells, which returns shifts.

    Args:
        channels: Of the trunk's stage.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(channels), requires_grad=False)
        self.whiten = nn.Parameter(torch.eye(channels), requires_grad=False)

    @torch.no_grad()
    def fit(self, stage: torch.Tensor) -> None:
        """Fit the whitening to (B, c, h, w) stages."""
        flat = stage.float().permute(0, 2, 3, 1).flatten(0, 2)
        self.mean.copy_(flat.mean(dim=0))
        flat = flat - self.mean
        spread = flat.T @ flat / len(flat)
        spread += 1e-3 * spread.diagonal().mean() * torch.eye(len(spread))
        values, vectors = torch.linalg.eigh(spread)
        self.whiten.copy_((vectors / values.sqrt()).T)

    def keys(self, stage: torch.Tensor) -> torch.Tensor:
        """Return (B, N, c) whitened cells of unit length of a (B, c, h, w) stage."""
        with torch.autocast(stage.device.type, enabled=False):
            return F.normalize((stage.float().flatten(2).mT - self.mean) @ self.whiten.T, dim=2)

    def forward(self, now: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """Return (B, _VALUES, h, w): where the cells of a frame lay before.

        Args:
            now: (B, N, c) from `keys`.
            before: Those of the earlier frame.
        """
        side = math.isqrt(now.shape[1])
        row = torch.arange(side, device=now.device).repeat_interleave(side)
        column = torch.arange(side, device=now.device).repeat(side)
        down, right = row - row[:, None], column - column[:, None]  # N N, of key and query
        outside = torch.maximum(down.abs(), right.abs()) > REACH
        weight = (_SHARPNESS * now @ before.mT).masked_fill(outside, -math.inf).softmax(dim=2)
        x, y = ((weight * way).sum(dim=2) / REACH for way in (right, down))
        return torch.stack([x, y, weight.amax(dim=2)], 1).unflatten(2, (side, side))


class Motion(nn.Module):
    """Motion of the cells of a frame, and of expressions.

    Args:
        channels: Of the trunk's stages at strides 16 and 8.
        text_width: Channels of the text network.
        width: Channels C.
        frames: Newest frames that are looked at.
    """

    def __init__(
        self, channels: tuple[int, int], text_width: int, *, width: int, frames: int
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList(BlockMatching(wide) for wide in channels)
        self._ages = frames - 1
        inputs = self._ages * (len(channels) * _VALUES + 2)
        self.look = nn.Sequential(
            nn.Conv2d(inputs, 2 * width, 1), nn.GELU(),
            nn.Conv2d(2 * width, width, 3, padding=1), nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1), nn.GELU(),
            nn.Conv2d(width, width, 1),
        )  # fmt: skip
        self.mean = nn.Parameter(torch.zeros(text_width), requires_grad=False)
        self.say = nn.Linear(text_width, width)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.bias = nn.Parameter(torch.tensor(-2.0))

    @property
    def matching(self) -> list[BlockMatching]:
        """The attention of each level."""
        return [one for one in self.levels if isinstance(one, BlockMatching)]

    def keys(self, stages: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Return what is kept of a frame, of its stages at strides 16 and 8."""
        return tuple(level.keys(x) for level, x in zip(self.matching, stages, strict=True))

    def shifts(self, frames: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
        """Return (B, T - 1, 2 * _VALUES, h, w): where the newest frame's cells of stride 16 lay.

        Args:
            frames: From `keys`, the newest first.
        """
        now = frames[0]
        side = math.isqrt(now[0].shape[1])
        ages = [
            torch.cat([F.adaptive_avg_pool2d(x, side) for x in self._match(now, before)], 1)
            for before in frames[1 : self._ages + 1]
        ]
        if not ages:
            return now[0].new_zeros(len(now[0]), 0, len(self.levels) * _VALUES, side, side)
        return torch.stack(ages, 1)

    def _match(
        self, now: Sequence[torch.Tensor], before: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        levels = zip(self.matching, now, before, strict=True)
        return [level(mine, earlier) for level, mine, earlier in levels]

    def forward(self, shifts: torch.Tensor) -> torch.Tensor:
        """Return (B, C, h, w) how cells move, from (B, T - 1, 2 * _VALUES, h, w) of `shifts`.

        Each cell also gets the mean shift of all cells, as the camera moves as well.
        """
        scene = (
            shifts[:, :, :2].mean(dim=(3, 4), keepdim=True).expand(-1, -1, -1, *shifts.shape[3:])
        )
        both = torch.cat([shifts, scene], 2)
        missing = self._ages - both.shape[1]
        moving: torch.Tensor = self.look(F.pad(both, (0, 0, 0, 0, 0, 0, 0, missing)).flatten(1, 2))
        return moving

    def said(self, phrases: torch.Tensor) -> torch.Tensor:
        """Map (E, D) embedded phrases to (E, C) vectors of unit length."""
        return F.normalize(self.say(phrases - self.mean), dim=-1)

    def compare(self, moving: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
        """Return the (..., E) logits that (..., C) cells or things move as (E, C) phrases say."""
        return self.scale.exp() * (F.normalize(moving, dim=-1) @ said.mT) + self.bias
