"""SAM 2's memory attention for memories of unequal length in one batch.

Modules and weights are those of SAM 2. The forward pass is reimplemented because the packaged one
cannot mask keys. For memories of equal length the two agree up to rounding.

Shape legend: B batch (objects x hypotheses), S memory entries, N = h*w tokens of the stride-16
grid, P pointers, C model width, M memory width, K keys.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import SAM2Base
from sam2.modeling.sam2_utils import get_1d_sine_pe
from torch import nn

from robust_vos_ros.core.network.tensors import MemoryView

# Applies a projection: (index of layer, self_q | self_k | self_v | cross_q, W0, x) -> W0 x + ...
Project = Callable[[int, str, nn.Linear, torch.Tensor], torch.Tensor]


@dataclasses.dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the objects of a batch; position encodings are added to `*_keys`.

    Attributes:
        spatial_BSNM: Spatial memory features.
        spatial_keys_BSNM: The same with spatial and temporal position encoding.
        pointer_BKM: Pointer tokens.
        pointer_keys_BKM: The same with temporal position encoding.
        mask_B1K: True where a key (spatial entries first, then pointers) exists; None = all do.
    """

    spatial_BSNM: torch.Tensor
    spatial_keys_BSNM: torch.Tensor
    pointer_BKM: torch.Tensor
    pointer_keys_BKM: torch.Tensor
    mask_B1K: torch.Tensor | None


def place(
    net: SAM2Base, view: MemoryView, grid_pos_1NM: torch.Tensor, dtype: torch.dtype
) -> Memory:
    """Add position encodings, as SAM2Base._prepare_memory_conditioned_features does.

    Args:
        net: The network.
        view: Memory of the objects.
        grid_pos_1NM: Position encoding of the grid.
        dtype: Of the computation.
    """
    spatial = view.spatial.to(dtype)
    place_and_time = (net.maskmem_tpos_enc[:, 0] + grid_pos_1NM).to(dtype)
    place_and_time = place_and_time[view.spatial_age]
    tokens_per_pointer = net.hidden_dim // net.mem_dim
    pointers = view.pointers.unflatten(2, (tokens_per_pointer, net.mem_dim)).flatten(1, 2)
    width = net.hidden_dim if net.proj_tpos_enc_in_obj_ptrs else net.mem_dim
    last = net.max_obj_ptrs_in_encoder - 1
    pointer_time = get_1d_sine_pe(view.pointer_age / last, dim=width)
    pointer_time = net.obj_ptr_tpos_proj(pointer_time).float()
    pointer_time = pointer_time.repeat_interleave(tokens_per_pointer, dim=1)
    mask = None
    if view.valid is not None:
        spatial_valid, pointer_valid = view.valid
        mask = torch.cat(
            [
                spatial_valid.repeat_interleave(spatial.shape[2], dim=1),
                pointer_valid.repeat_interleave(tokens_per_pointer, dim=1),
            ],
            dim=1,
        ).unsqueeze(1)
    spatial_keys, pointer_keys = spatial + place_and_time, pointers + pointer_time
    if view.weights is not None:
        spatial_weight, pointer_weight = view.weights
        spatial_keys = spatial_keys * spatial_weight.to(dtype)[..., None, None]
        factor = pointer_weight.repeat_interleave(tokens_per_pointer, dim=1)
        pointer_keys = pointer_keys * factor[..., None]
    return Memory(spatial, spatial_keys, pointers, pointer_keys, mask)


def project_plainly(layer: int, name: str, linear: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    """Apply a projection without an adapter."""
    del layer, name
    return linear(x)


def attend(
    module: Any,
    tokens_BNC: torch.Tensor,
    pos_1NC: torch.Tensor,
    memory: Memory,
    project: Project = project_plainly,
) -> torch.Tensor:
    """Condition image tokens on memory.

    Args:
        module: A `sam2.modeling.memory_attention.MemoryAttention`.
        tokens_BNC: Image features; a batch of 1 is shared by all objects.
        pos_1NC: Their position encoding.
        memory: Of each object.
        project: Applies the projections, with or without an adapter.

    Returns:
        (B, N, C), in the order of `memory`.
    """
    x_BNC = tokens_BNC + 0.1 * pos_1NC if module.pos_enc_at_input else tokens_BNC
    spatial_BKM = memory.spatial_BSNM.flatten(1, 2)
    values_BKM = torch.cat([spatial_BKM, memory.pointer_BKM.to(spatial_BKM.dtype)], dim=1)
    for index, layer in enumerate(module.layers):
        attention = layer.self_attn
        normed = layer.norm1(x_BNC)
        query = normed + pos_1NC if layer.pos_enc_at_attn else normed
        rotation = _rotation(attention, query.shape[1], query.device)
        x_BNC = x_BNC + attention.out_proj(
            _attention(
                _rotate(project(index, 'self_q', attention.q_proj, query), rotation),
                _rotate(project(index, 'self_k', attention.k_proj, query), rotation),
                project(index, 'self_v', attention.v_proj, normed),
                None,
            )
        )
        query = layer.norm2(x_BNC)
        if layer.pos_enc_at_cross_attn_queries:
            query = query + pos_1NC
        query = project(index, 'cross_q', layer.cross_attn_image.q_proj, query)
        x_BNC = x_BNC + _cross_attention(layer, query, memory, values_BKM)
        x_BNC = x_BNC + layer.linear2(layer.activation(layer.linear1(layer.norm3(x_BNC))))
    return module.norm(x_BNC)


def _cross_attention(
    layer: Any, query_BNC: torch.Tensor, memory: Memory, values_BKM: torch.Tensor
) -> torch.Tensor:
    """Attend from projected queries, of one image or of each object, to memory."""
    attention = layer.cross_attn_image
    with_pos = layer.pos_enc_at_cross_attn_keys
    spatial = memory.spatial_keys_BSNM if with_pos else memory.spatial_BSNM
    pointers = memory.pointer_keys_BKM if with_pos else memory.pointer_BKM
    rotation = _rotation(attention, query_BNC.shape[1], query_BNC.device)
    # RoPE applies to spatial keys only; pointers have no grid position.
    keys = _rotate(attention.k_proj(spatial), rotation).flatten(1, 2)
    keys = torch.cat([keys, attention.k_proj(pointers)], dim=1)
    query = _rotate(query_BNC, rotation).expand(len(keys), -1, -1)
    if query.device.type == 'cpu':
        # Weights sum to 1 and there is one head, so the values can be projected after they are
        # averaged: they are narrower before, and there are fewer averages than keys.
        average = _attention(query, keys, values_BKM, memory.mask_B1K)
        return attention.out_proj(attention.v_proj(average))
    return attention.out_proj(
        _attention(query, keys, attention.v_proj(values_BKM), memory.mask_B1K)
    )


def _rotation(attention: Any, num_tokens: int, device: torch.device) -> torch.Tensor:
    """Return the (N, C/2) complex rotation of axial RoPE, cached on the module."""
    assert attention.num_heads == 1, 'SAM 2 has one head in its memory attention'
    if attention.freqs_cis.shape[0] != num_tokens:
        side = math.isqrt(num_tokens)
        attention.freqs_cis = attention.compute_cis(end_x=side, end_y=side)
    if attention.freqs_cis.device != device:
        attention.freqs_cis = attention.freqs_cis.to(device)
    return attention.freqs_cis


def _rotate(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Apply rotary position encoding to (..., N, C)."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation).flatten(-2).type_as(x)


# Attention weights that one block of queries may have; blocks of them stay in the cache.
_BLOCK = 2**22


def _attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask_B1K: torch.Tensor | None
) -> torch.Tensor:
    """Single-head attention of (B, N, C) queries over (B, K, C) keys, for (B, K, V) values."""
    if query.device.type != 'cpu':
        mask = None if mask_B1K is None else mask_B1K.unsqueeze(1)
        return F.scaled_dot_product_attention(
            query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1), attn_mask=mask
        ).squeeze(1)
    # Two matrix products are faster than torch's CPU flash kernel, which multiplies bf16 in fp32
    # and needs values as wide as the keys.
    query, key = query * query.shape[-1] ** -0.5, key.transpose(-1, -2)
    size = max(1, _BLOCK // key.shape[-1])
    if query.shape[1] <= size or torch.compiler.is_compiling():
        return _average(query, key, value, mask_B1K)
    rows = []
    for row in range(len(query)):
        mask = None if mask_B1K is None else mask_B1K[row]
        blocks = query[row].split(size)
        rows.append(torch.cat([_average(q, key[row], value[row], mask) for q in blocks]))
    return torch.stack(rows)


def _average(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
) -> torch.Tensor:
    """Average values by the softmax of scaled queries times transposed keys."""
    scores = query @ key
    if mask is not None:
        scores.masked_fill_(~mask, float('-inf'))
    return scores.softmax(-1) @ value
