"""Whether words see another thing than the memory follows: SAMWISE's conditional memory encoder.

Cuttano et al. (CVPR 2025), section "Conditional memory encoder": a memory-free token, a token with
memory and a learned decision token attend to each other; a linear layer says whether the
memory-free mask shows a better match.
"""

from __future__ import annotations

import torch
from torch import nn

_WIDTH = 64
_HEADS = 4


class ConditionalMemory(nn.Module):
    """The decision; masks are blended by `blend`.

    Args:
        hidden: Channels of object pointers.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.read = nn.Linear(hidden, _WIDTH)
        self.kinds = nn.Parameter(torch.randn(3, _WIDTH) * 0.02)
        self.layer = nn.TransformerEncoderLayer(
            _WIDTH, _HEADS, 2 * _WIDTH, 0.0, batch_first=True, norm_first=True
        )
        self.decide = nn.Linear(_WIDTH, 1)

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
