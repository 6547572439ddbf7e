"""The finder of a model and its weights, each file for one image encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F

from robust_vos_ros.core.errors import ConfigError, PromptError, WeightsError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Features
from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.core.words.adapter import Glimpse
from robust_vos_ros.core.words.finding import Match, find
from robust_vos_ros.core.words.module import Words, WordsSettings
from robust_vos_ros.core.words.text import FolderEncoder, check_text, load_text_encoder

_FORMAT = 'robust_vos words 2'


class WordFinder:
    """Finds things by expressions; loads its weights and the text encoder when first asked.

    Args:
        model: The network.
        path: Weights of words; None = this model has none.
        text_encoder: Folder of a text network; empty = the packaged one.
    """

    def __init__(self, model: Model, path: Path | None, text_encoder: str = '') -> None:
        self._model = model
        self._path = path
        self._text_encoder = text_encoder
        self._loaded: tuple[Words, FolderEncoder] | None = None

    def check(self, text: str) -> str:
        """Return a normalized expression, after a check that it can be searched for.

        Raises:
            PromptError: The expression cannot be used, or words are not available; the message
                says what to do.
        """
        text = check_text(text)
        self._load()[1].encode(text)
        return text

    def num_before(self, text: str) -> int:
        """Return how many frames before the newest one an expression is answered from.

        Raises:
            PromptError: As in `check`.
        """
        words, encoder = self._load()
        moves = words.settings.motion and encoder.encode(text).moves
        return words.settings.frames - 1 if moves or words.settings.temporal else 0

    def glimpse(self, features: Features) -> Glimpse:
        """Return what is kept of an image for those after it.

        Raises:
            PromptError: As in `check`.
        """
        if features.stages is None:
            raise PromptError(
                'words need an image encoder whose stages are accessible, got a compiled one; '
                'use the plain model'
            )
        return self._load()[0].glimpse(features.stages[:-4:-1])

    def find(self, features: Features, text: str, glimpses: Sequence[Glimpse]) -> list[Match]:
        """Return the things in an image that fit an expression, the most probable first.

        Args:
            features: Of the image.
            text: The expression.
            glimpses: Of the image, and of those before it in the stream, the newest first; see
                `num_before`.

        Raises:
            PromptError: As in `check`.
        """
        words, encoder = self._load()
        expression = encoder.encode(text).to(self._model.device)
        return find(self._model, words, features, glimpses, expression)

    def compare(self, features: Features, match: Match, logits: torch.Tensor) -> float:
        """Return the probability that a match is a better one than the mask that memory follows.

        Args:
            features: Of the image.
            match: The best one of `find`.
            logits: (4h, 4w) mask decoded with memory.
        """
        words, _ = self._load()
        size = (self._model.image_size,) * 2
        mask = F.interpolate(logits[None, None].float(), size, mode='bilinear') > 0
        followed = self._model.decoder.from_masks(features, mask.float()).pointers[:, 0]
        return float(words.memory(followed, match.pointer[None]).float().sigmoid())

    def _load(self) -> tuple[Words, FolderEncoder]:
        if self._loaded is None:
            if self._path is None:
                raise PromptError(
                    f'the model {self._model.name} has no weights for words; set model.words to '
                    'a file that `robust-vos train` wrote (docs/words.md), or use a detector'
                )
            try:
                encoder = load_text_encoder(self._text_encoder)
                words = load_words(self._path, self._model)
            except (ConfigError, WeightsError) as error:
                raise PromptError(str(error)) from error
            if words.settings.text_width != encoder.width:
                raise PromptError(
                    f'{self._path} was trained with the text encoder '
                    f'{words.settings.text_encoder}, got {encoder.name}; set model.text_encoder '
                    'to that one'
                )
            self._loaded = words, encoder
        return self._loaded


def make_words(model: Model, settings: WordsSettings) -> Words:
    """Return an untrained module, with which features do not change.

    Raises:
        ConfigError: The image trunk has no stages at strides 32, 16 and 8.
    """
    channels = model.net.image_encoder.neck.backbone_channel_list[:3]
    return Words(settings, tuple(channels), model.hidden_dim).to(model.device)


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
