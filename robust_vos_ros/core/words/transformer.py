"""Text transformers of three families, evaluated with plain torch on weights in files.

BERT (Devlin et al., 2019) and RoBERTa (Liu et al., 2019) normalize after each sum; CLIP's text
network (Radford et al., 2021) before, with a causal mask. Names of tensors are those of Hugging
Face's files.

Shape legend: L tokens, D channels, H heads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F

from robust_vos_ros.core.errors import WeightsError
from robust_vos_ros.core.saving.named_tensors import Tensors, below

_PREFIXES = ('roberta.', 'bert.', 'text_model.', '')


@dataclasses.dataclass(frozen=True, slots=True)
class Shape:
    """What the weights do not say.

    Attributes:
        family: bert, roberta or clip.
        width: Channels D.
        heads: Number of attention heads.
        eps: Of the layer norms.
        positions: Number of tokens that have a position.
        padding: Index of the padding token; RoBERTa counts positions from behind it.
    """

    family: str
    width: int
    heads: int
    eps: float
    positions: int
    padding: int


def read_shape(config: Mapping[str, Any]) -> Shape:
    """Read a config.json.

    Raises:
        WeightsError: It describes no network of the three families.
    """
    family = str(config.get('model_type', ''))
    if family == 'clip' and isinstance(config.get('text_config'), dict):
        config = {**config['text_config']}
    family = {'clip_text_model': 'clip', 'xlm-roberta': 'roberta'}.get(family, family)
    if family not in {'bert', 'roberta', 'clip'}:
        raise WeightsError(
            f'expected the config.json of a bert, roberta or clip text network, got {family!r}'
        )
    try:
        return Shape(
            family,
            int(config['hidden_size']),
            int(config['num_attention_heads']),
            float(config.get('layer_norm_eps', 1e-5)),
            int(config['max_position_embeddings']),
            int(config.get('pad_token_id') or 0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f'config.json: expected numbers for its sizes, got {error}') from error


def select(tensors: Tensors, shape: Shape) -> Tensors:
    """Return the tensors of the text network, without the prefix of a larger one.

    Raises:
        WeightsError: They are not of this network.
    """
    word = 'embeddings.token_embedding' if shape.family == 'clip' else 'embeddings.word_embeddings'
    for prefix in _PREFIXES:
        table = tensors.get(f'{prefix}{word}.weight')
        if table is not None and table.shape[1] == shape.width:
            found = below(prefix[:-1], tensors) if prefix else tensors
            return {k: v.float() for k, v in found.items() if v.is_floating_point()}
    raise WeightsError(
        f'expected the tensor {word}.weight with {shape.width} columns, got others; use the '
        'weights that belong to config.json'
    )


def encode(tensors: Tensors, shape: Shape, ids_L: torch.Tensor) -> torch.Tensor:
    """Return the (L, D) float32 embeddings of the tokens of one text.

    Raises:
        WeightsError: A tensor is missing.
    """
    try:
        return _encode_clip(tensors, shape, ids_L) if shape.family == 'clip' else _encode_bert(
            tensors, shape, ids_L
        )  # fmt: skip
    except KeyError as error:
        raise WeightsError(f'expected the tensor {error} in the weights, got none') from error


def _encode_bert(tensors: Tensors, shape: Shape, ids_L: torch.Tensor) -> torch.Tensor:
    first = shape.padding + 1 if shape.family == 'roberta' else 0
    where = torch.arange(first, first + len(ids_L))
    part = below('embeddings', tensors)
    x_LD = (
        part['word_embeddings.weight'][ids_L]
        + part['position_embeddings.weight'][where]
        + part['token_type_embeddings.weight'][0]
    )
    x_LD = _norm(x_LD, below('LayerNorm', part), shape)
    for layer in _layers(tensors, 'encoder.layer'):
        inner = below('attention', layer)
        names = ('self.query', 'self.key', 'self.value', 'output.dense')
        mixed = _attention(x_LD, inner, names, shape, causal=False)
        x_LD = _norm(x_LD + mixed, below('output.LayerNorm', inner), shape)
        hidden = F.gelu(_linear(x_LD, layer, 'intermediate.dense'))
        x_LD = _norm(
            x_LD + _linear(hidden, layer, 'output.dense'), below('output.LayerNorm', layer), shape
        )
    return x_LD


def _encode_clip(tensors: Tensors, shape: Shape, ids_L: torch.Tensor) -> torch.Tensor:
    part = below('embeddings', tensors)
    x_LD = part['token_embedding.weight'][ids_L] + part['position_embedding.weight'][: len(ids_L)]
    names = tuple(f'{name}_proj' for name in ('q', 'k', 'v', 'out'))
    for layer in _layers(tensors, 'encoder.layers'):
        inner = below('self_attn', layer)
        normal = _norm(x_LD, below('layer_norm1', layer), shape)
        x_LD = x_LD + _attention(normal, inner, names, shape, causal=True)
        hidden = _linear(_norm(x_LD, below('layer_norm2', layer), shape), layer, 'mlp.fc1')
        x_LD = x_LD + _linear(hidden * (1.702 * hidden).sigmoid(), layer, 'mlp.fc2')
    return _norm(x_LD, below('final_layer_norm', tensors), shape)


def _layers(tensors: Tensors, prefix: str) -> list[Tensors]:
    found: list[Tensors] = []
    while layer := below(f'{prefix}.{len(found)}', tensors):
        found.append(layer)
    return found


def _attention(
    x_LD: torch.Tensor, part: Tensors, names: tuple[str, ...], shape: Shape, *, causal: bool
) -> torch.Tensor:
    query, key, value, out = names
    heads = [
        _linear(x_LD, part, name).unflatten(1, (shape.heads, -1)).transpose(0, 1)
        for name in (query, key, value)
    ]
    mixed = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], is_causal=causal)
    return _linear(mixed.transpose(0, 1).flatten(1), part, out)


def _linear(x: torch.Tensor, part: Tensors, name: str) -> torch.Tensor:
    return F.linear(x, part[f'{name}.weight'], part[f'{name}.bias'])


def _norm(x: torch.Tensor, part: Tensors, shape: Shape) -> torch.Tensor:
    return F.layer_norm(x, (shape.width,), part['weight'], part['bias'], shape.eps)
