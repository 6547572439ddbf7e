"""The transformer of SAM 2's mask decoder, faster on a CPU, with the same modules and weights.

The packaged one adds position encodings in another memory order than that of the features, and
computes one of the sums twice; torch's fused kernel is slow where all cells attend to 8
tokens.

Shape legend: B objects, N = h*w cells, T tokens, C width, H heads.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class TwoWayTransformer(nn.Module):
    """As `sam2.modeling.sam.transformer.TwoWayTransformer`.

    Args:
        packaged: The transformer whose modules are used.
    """

    def __init__(self, packaged: Any) -> None:
        super().__init__()
        self.layers = packaged.layers
        self.final_attn_token_to_image = packaged.final_attn_token_to_image
        self.norm_final_attn = packaged.norm_final_attn

    def forward(
        self, image_BChw: torch.Tensor, image_pe_BChw: torch.Tensor, tokens_BTC: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (B, T, C) tokens and (B, N, C) cells.

        Args:
            image_BChw: Features with the dense prompt.
            image_pe_BChw: Their position encoding, the same for all objects.
            tokens_BTC: Output tokens and prompts.
        """
        cells = image_BChw.flatten(2).transpose(1, 2).contiguous()
        pe = image_pe_BChw[:1].flatten(2).transpose(1, 2).contiguous()
        tokens = tokens_BTC
        for layer in self.layers:
            if layer.skip_first_layer_pe:
                tokens = _attend(layer.self_attn, tokens, tokens, tokens)
            else:
                placed = tokens + tokens_BTC
                tokens = tokens + _attend(layer.self_attn, placed, placed, tokens)
            tokens = layer.norm1(tokens)
            there = cells + pe
            tokens = tokens + _attend(
                layer.cross_attn_token_to_image, tokens + tokens_BTC, there, cells
            )
            tokens = layer.norm2(tokens)
            tokens = layer.norm3(tokens + layer.mlp(tokens))
            cells = cells + _attend(
                layer.cross_attn_image_to_token, there, tokens + tokens_BTC, tokens
            )
            cells = layer.norm4(cells)
        last = self.final_attn_token_to_image
        tokens = tokens + _attend(last, tokens + tokens_BTC, cells + pe, cells)
        return self.norm_final_attn(tokens), cells


def _attend(
    attention: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> torch.Tensor:
    """Apply a packaged `Attention` to (B, Q, C) queries and (B, K, C) keys and values."""
    heads = attention.num_heads
    q, k, v = (
        linear(x).unflatten(2, (heads, -1)).transpose(1, 2)
        for linear, x in (
            (attention.q_proj, query),
            (attention.k_proj, key),
            (attention.v_proj, value),
        )
    )
    if k.shape[2] < q.shape[2]:
        # Cells attend to a few tokens. torch is slow at the softmax of many short rows, so the
        # rows are made columns; fp32 is faster for products as small as these.
        with torch.autocast(query.device.type, enabled=False):
            q, k, v = q.float() * q.shape[-1] ** -0.5, k.float(), v.float()
            out = (k @ q.transpose(2, 3)).softmax(2).transpose(2, 3) @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v)
    return attention.out_proj(out.transpose(1, 2).flatten(2))
