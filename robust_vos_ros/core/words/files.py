"""Files with the weights of words, each for one image encoder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.core.words.module import Words, WordsSettings

_FORMAT = 'robust_vos words 1'


def make_words(model: Model, settings: WordsSettings) -> Words:
    """Return an untrained module, with which features do not change.

    Raises:
        ConfigError: The image trunk has no stages at strides 32 and 16.
    """
    channels = model.net.image_encoder.neck.backbone_channel_list[:2]
    return Words(settings, (channels[0], channels[1]), model.hidden_dim).to(model.device)


def save_words(path: Path, words: Words, model: Model) -> None:
    """Write the weights of words, in half precision, for one image encoder."""
    header = {
        'format': _FORMAT,
        'model': model.name,
        'encoder_sha256': model.encoder_hash,
        'settings': words.settings.model_dump(mode='json'),
    }
    tensors = {k: v.detach().half().cpu().contiguous() for k, v in words.state_dict().items()}
    safetensors.torch.save_file(tensors, path, {'robust_vos': json.dumps(header)})
    path.chmod(0o644)


def load_words(path: Path, model: Model) -> Words:
    """Read weights of words for a model.

    Raises:
        WeightsError: The file is damaged, or belongs to another model or image encoder.
    """
    header, tensors = _read(path)
    if header.get('model') != model.name or header.get('encoder_sha256') != model.encoder_hash:
        raise WeightsError(
            f'{path} was trained for the image encoder of {header.get("model")}, here is '
            f'{model.name} with other weights; use the words of this model, or model.words=none'
        )
    try:
        words = make_words(model, parse_settings(WordsSettings, header['settings']))
        words.rivals = torch.nn.Parameter(
            torch.zeros(tensors['rivals'].shape), requires_grad=False
        )
        words.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (KeyError, RuntimeError, TypeError, ConfigError) as error:
        raise WeightsError(f'{path}: expected the weights of words, got {error}') from error
    return words.to(model.device).eval().requires_grad_(False)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safetensors.safe_open(path, 'pt') as file:
            header = json.loads((file.metadata() or {}).get('robust_vos', '{}'))
        if not isinstance(header, dict) or header.get('format') != _FORMAT:
            raise WeightsError(f'{path}: expected the format {_FORMAT!r}, got another')
        return header, safetensors.torch.load_file(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise WeightsError(f'{path} cannot be read: {error}') from error
