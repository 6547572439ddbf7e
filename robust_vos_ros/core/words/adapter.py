"""Image features conditioned on an expression: the cross-modal temporal adapter of SAMWISE.

Cuttano et al., "SAMWISE: Infusing Wisdom in SAM2 for Text-Driven Video Segmentation" (CVPR 2025):
hierarchical selective attention over space and time, vision-to-text and text-to-vision attention,
added to the frozen trunk's stages. Three things differ. A frame attends to itself and the frames
before it, so that it is answered at once. The first, text-free part is computed once per frame for
all expressions. The levels are strides 32 and 16, coarse to fine: nano's trunk carries the class
of things in its last stages.

Shape legend: E expressions (or a batch of pairs of image and expression), T frames, C width, h, w
cells, N = h*w, L tokens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

_MEMORY_WIDTH = 64
_MEMORY_HEADS = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Glimpse:
    """What is kept of a frame for those after it: its stages, narrowed.

    Attributes:
        levels: (B, C, h, w) at strides 32 and 16.
        keys: (B, N, c) at strides 16 and 8, from `Motion.keys`; empty where no motion is asked
            for.
    """

    levels: tuple[torch.Tensor, ...]
    keys: tuple[torch.Tensor, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A frame together with those before it, without words.

    Attributes:
        levels: (B, C, h, w) at strides 32 and 16; the finer one has the coarser one in it.
        meaning: (B, K, h, w) of unit length at stride 16, comparable with expressions.
    """

    levels: tuple[torch.Tensor, ...]
    meaning: torch.Tensor


class BlockAttention(nn.Module):
    """Attention of the newest frame to all frames, within blocks of side x side cells.

    Args:
        width: Channels.
        heads: Number of heads.
        side: Of a block, in cells.
        frames: Number of frames that have an age.
    """

    def __init__(self, width: int, heads: int, side: int, frames: int) -> None:
        super().__init__()
        self.side, self.heads = side, heads
        self.norm = nn.LayerNorm(width)
        self.age = nn.Parameter(torch.zeros(frames, width))
        self.place = nn.Parameter(torch.randn(side * side, width) * 0.02)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, frames: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the newest frame after attention.

        Args:
            frames: (B, C, h, w) each, the newest first.
        """
        now = frames[0]
        stacked = torch.stack([to_blocks(one, self.side) for one in frames], 1)
        blocks = self.norm(stacked)  # B T G P C
        age = self.age[: len(frames), None, None]
        keys = (blocks + self.place + age).transpose(1, 2).flatten(2, 3)  # B G (T P) C
        values = blocks.transpose(1, 2).flatten(2, 3)
        mixed = attention(
            self.query(blocks[:, 0] + self.place).flatten(0, 1),
            self.key(keys).flatten(0, 1),
            self.value(values).flatten(0, 1),
            self.heads,
        )
        return now + to_grid(self.out(mixed).unflatten(0, (len(now), -1)), now.shape[-2:])


class CrossModalBlock(nn.Module):
    """Vision attends to text, text attends to vision, then a small MLP for vision.

    Args:
        width: Channels of cells and tokens.
        heads: Number of heads.
        wide: Channels of the trunk's stage, to which the result is added.
    """

    def __init__(self, width: int, heads: int, wide: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_cells, self.norm_text = nn.LayerNorm(width), nn.LayerNorm(width)
        self.nothing = nn.Parameter(torch.zeros(1, 1, width))  # a cell may attend to no word
        self.vision = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        self.text = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.match = nn.Linear(1, width, bias=False)
        self.up = nn.Linear(width, wide)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(
        self,
        cells_ENC: torch.Tensor,
        place_NC: torch.Tensor,
        tokens_ELC: torch.Tensor,
        valid_EL: torch.Tensor,
        match_EN1: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return cells and tokens after attention, and what is added to the stage (E, N, wide)."""
        cells_ENC = cells_ENC + self.match(match_EN1)
        text = self.norm_text(tokens_ELC)
        some = torch.cat([text, self.nothing.expand(len(text), -1, -1)], 1)
        open_EL = F.pad(valid_EL, (0, 1), value=True)
        query, key, value, out = self.vision
        seen = self.norm_cells(cells_ENC) + place_NC
        cells_ENC = cells_ENC + out(
            attention(query(seen), key(some), value(some), self.heads, open_EL)
        )
        query, key, value, out = self.text
        seen = self.norm_cells(cells_ENC)
        tokens_ELC = tokens_ELC + out(
            attention(query(text), key(seen + place_NC), value(seen), self.heads)
        )
        cells_ENC = cells_ENC + self.mlp(self.norm_mlp(cells_ENC))
        return cells_ENC, tokens_ELC, self.up(cells_ENC)


def attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    heads: int,
    valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Multi-head attention of (B, N, C) to (B, M, C), of which (B, M) bool are valid."""
    parts = [x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (query, key, value)]
    mask = None if valid is None else valid[:, None, None]
    mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=mask)
    return mixed.transpose(1, 2).flatten(2)


def to_blocks(x: torch.Tensor, side: int) -> torch.Tensor:
    """Cut (B, C, h, w) into (B, blocks, side*side, C)."""
    x = x.unflatten(3, (-1, side)).unflatten(2, (-1, side))
    return x.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)


def to_grid(blocks: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Put (B, blocks, side*side, C) together to (B, C, h, w)."""
    side = round(blocks.shape[2] ** 0.5)
    rows = blocks.unflatten(2, (side, side)).unflatten(1, (-1, size[1] // side))
    return rows.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def sine_places(side: int, width: int) -> torch.Tensor:
    """Return (side*side, width) sines and cosines of row and column."""
    quarter = width // 4
    rates = 1.0 / 100.0 ** (torch.arange(quarter) / quarter)
    at = (torch.arange(side) + 0.5)[:, None] * 16.0 / side * rates
    wave = torch.cat([at.sin(), at.cos()], 1)
    rows = wave[:, None].expand(-1, side, -1)
    columns = wave[None].expand(side, -1, -1)
    return torch.cat([rows, columns], 2).flatten(0, 1)


class ConditionalMemory(nn.Module):
    """Whether words see another thing than the memory follows; `blend` blends the masks.

    The conditional memory encoder of SAMWISE: a token with memory, a memory-free one and a learned
    decision token attend to each other; a linear layer decides.

    Args:
        hidden: Channels of object pointers.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.read = nn.Linear(hidden, _MEMORY_WIDTH)
        self.kinds = nn.Parameter(torch.randn(3, _MEMORY_WIDTH) * 0.02)
        self.layer = nn.TransformerEncoderLayer(
            _MEMORY_WIDTH, _MEMORY_HEADS, 2 * _MEMORY_WIDTH, 0.0, batch_first=True, norm_first=True
        )
        self.decide = nn.Linear(_MEMORY_WIDTH, 1)

    def forward(self, followed: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """Return (B,) logits that the memory-free mask is a better match.

        Args:
            followed: (B, C) pointers of masks decoded with memory.
            seen: (B, C) pointers of masks decoded from words alone.
        """
        pair = self.read(torch.stack([followed, seen], 1))
        decision = torch.zeros_like(pair[:, :1])
        mixed = self.layer(torch.cat([decision, pair], 1) + self.kinds)
        return self.decide(mixed[:, 0])[:, 0]


def blend(followed: torch.Tensor, seen: torch.Tensor, probability: torch.Tensor) -> torch.Tensor:
    """Blend (B, 1, h, w) mask logits by (B,) probabilities that `seen` is the better match."""
    share = probability[:, None, None, None]
    return (1.0 - share) * followed + share * seen
