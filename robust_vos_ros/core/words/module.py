"""All that is trained for words, around a frozen network of SAM 2.

Shape legend: as in `adapter`; D channels of the text network, K channels in which cells and
expressions are compared.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.core.words.adapter import (
    BlockAttention,
    ConditionalMemory,
    CrossModalBlock,
    Glimpse,
    Scene,
    sine_places,
)
from robust_vos_ros.core.words.motion import Motion
from robust_vos_ros.core.words.text import Expression

# Largest logit of the coarse mask that an expression gives the decoder, as that of a box.
MAX_LOGIT = 6.0
# Values that a candidate is judged by, see `evidence.observe` and `evidence.observe_motion`.
EVIDENCE, MOTION_EVIDENCE = 8, 7


class WordsSettings(Settings):
    """Sizes of the words module."""

    text_encoder: str = setting('all-MiniLM-L6-v2', 'Text network that it was trained with.')
    text_width: int = setting(384, 'Channels of the text network.', ge=8, le=4096)
    width: int = setting(128, 'Channels of the adapter.', ge=16, le=512, multiple_of=16)
    meaning: int = setting(192, 'Channels in which cells and expressions are compared.', ge=16)
    heads: int = setting(4, 'Heads of attention.', ge=1, le=16)
    frames: int = setting(8, 'Newest frames that a frame attends to.', ge=1, le=32)
    blocks: list[int] = setting([2, 4], 'Cells per side of a block at strides 32 and 16.')
    temporal: bool = setting(
        False, 'Whether what cells mean also comes from the frames before. It made words worse.'
    )
    motion: bool = setting(True, 'Whether what is said of a motion is a prompt of its own.')
    motion_width: int = setting(64, 'Channels of motion.', ge=8, le=512)


@dataclasses.dataclass(frozen=True, slots=True)
class Texts:
    """A batch of encoded expressions.

    Attributes:
        tokens: (E, L, D) padded.
        valid: (E, L) bool.
        sentences: (E, D) of unit length.
        verbs: (E, D), 0 without verbs.
    """

    tokens: torch.Tensor
    valid: torch.Tensor
    sentences: torch.Tensor
    verbs: torch.Tensor

    @staticmethod
    def of(expressions: Sequence[Expression]) -> Texts:
        """Pad expressions to one length."""
        longest = max(len(one.tokens) for one in expressions)
        tokens = [F.pad(one.tokens, (0, 0, 0, longest - len(one.tokens))) for one in expressions]
        device = tokens[0].device
        lengths = torch.tensor([len(one.tokens) for one in expressions], device=device)
        return Texts(
            torch.stack(tokens),
            torch.arange(longest, device=device) < lengths[:, None],
            torch.stack([one.sentence for one in expressions]),
            torch.stack([one.verbs for one in expressions]),
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Conditioned:
    """What expressions say about a frame.

    Attributes:
        updates: Added to the trunk's stages, (E, c, h, w) at strides 32 and 16; or none.
        match: (E, h, w) logits at stride 16, above 0 where a cell fits the expression.
        coarse: (E, h, w) logits of the coarse mask that the decoder gets.
        prompts: (E, 2, hidden) sparse prompts of the decoder; None = no prompts of words.
    """

    updates: tuple[torch.Tensor, ...]
    match: torch.Tensor
    coarse: torch.Tensor
    prompts: torch.Tensor | None


class Judgement(nn.Module):
    """A logistic regression, which is fitted on pictures that were not trained on.

    Args:
        size: Number of values that a candidate is judged by.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(size), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(size), requires_grad=False)
        self.verdict = nn.Linear(size, 1).requires_grad_(False)

    def forward(self, evidence: torch.Tensor) -> torch.Tensor:
        """Return (K,) calibrated probabilities for (K, size) of candidates."""
        return self.verdict(self.normal(evidence))[:, 0].sigmoid()

    def normal(self, evidence: torch.Tensor) -> torch.Tensor:
        """Return (K, size) of mean 0 and deviation 1, limited."""
        return ((evidence - self.mean) / self.scale).clamp(-5.0, 5.0)


class Words(nn.Module):
    """Adapter, prompts and conditional memory.

    Args:
        settings: Sizes.
        channels: Of the trunk's stages at strides 32, 16 and 8.
        hidden: Channels of the mask decoder.
    """

    def __init__(
        self, settings: WordsSettings, channels: tuple[int, int, int], hidden: int
    ) -> None:
        super().__init__()
        self.settings = settings
        width = settings.width
        self.down = nn.ModuleList(nn.Conv2d(wide, width, 1) for wide in channels[:2])
        self.recent = nn.ModuleList(
            BlockAttention(width, settings.heads, side, settings.frames)
            for side in settings.blocks
        )
        self.fuse = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
        )
        self.look = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, settings.meaning))
        self.mean = nn.Parameter(torch.zeros(settings.text_width), requires_grad=False)
        self.name = nn.Linear(settings.text_width, settings.meaning)
        self.scale = nn.Parameter(torch.tensor(2.5))
        self.bias = nn.Parameter(torch.tensor(-4.0))
        self.read = nn.Linear(settings.text_width, width)
        self.kinds = nn.Parameter(torch.randn(3, width) * 0.02)  # token, sentence, verbs
        self.cross = nn.ModuleList(
            CrossModalBlock(width, settings.heads, wide) for wide in channels[:2]
        )
        self.coarse = nn.Linear(width, 1)
        nn.init.zeros_(self.coarse.weight)
        nn.init.zeros_(self.coarse.bias)
        self.prompt = nn.Sequential(
            nn.Linear(2 * width, width), nn.GELU(),
            nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, 2 * hidden),
        )  # fmt: skip
        self.memory = ConditionalMemory(hidden)
        self.motion = Motion(
            channels[1:], settings.text_width, width=settings.motion_width, frames=settings.frames
        )
        # Fitted after training, on pictures that were not trained on.
        self.rivals = nn.Parameter(torch.zeros(0, settings.meaning), requires_grad=False)
        self.judgement = Judgement(EVIDENCE)
        self.moving_judgement = Judgement(EVIDENCE + MOTION_EVIDENCE)
        self.any_judgement = Judgement(MOTION_EVIDENCE)

    def glimpse(self, stages: Sequence[torch.Tensor]) -> Glimpse:
        """Narrow the trunk's stages of one or more frames.

        Args:
            stages: At strides 32 and 16, and at 8 if motions will be asked for.
        """
        levels = tuple(down(x) for down, x in zip(self.down, stages[:2], strict=True))
        return Glimpse(levels, self.motion.keys(stages[1:]) if len(stages) > 2 else ())

    def scene(self, glimpses: Sequence[Glimpse]) -> Scene:
        """Relate a frame to those before it.

        Args:
            glimpses: The newest first; more than `settings.frames` are ignored.
        """
        count = self.settings.frames if self.settings.temporal else 1
        coarse, fine = (
            block([one.levels[level] for one in glimpses[:count]])
            for level, block in enumerate(self.recent)
        )
        above = F.interpolate(coarse, fine.shape[-2:], mode='bilinear', align_corners=False)
        cells, meaning = self.understand((fine + above).permute(0, 2, 3, 1))
        return Scene((coarse, cells.permute(0, 3, 1, 2)), meaning.permute(0, 3, 1, 2))

    def understand(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (..., C) cells after an MLP, and their (..., K) meaning of unit length."""
        cells = cells + self.fuse(cells)
        return cells, F.normalize(self.look(cells), dim=-1)

    def names(self, sentences: torch.Tensor) -> torch.Tensor:
        """Map (E, D) sentences to (E, K) vectors of unit length, comparable with cells."""
        return F.normalize(self.name(sentences - self.mean), dim=-1)

    def compare(self, meaning: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
        """Return the logit of each pair of last-but-one dimensions of meanings and names."""
        return self.scale.exp() * (meaning @ names.transpose(-1, -2)) + self.bias

    def move(self, glimpses: Sequence[Glimpse]) -> torch.Tensor:
        """Return (B, K, h, w) how the cells of a frame at stride 16 move; arguments as `scene`."""
        return self.motion(self.motion.shifts([one.keys for one in glimpses]))

    def condition(self, scene: Scene, texts: Texts) -> Conditioned:
        """Condition a frame on E expressions.

        Args:
            scene: Of one frame, or of one frame per expression.
            texts: The expressions.
        """
        count = len(texts.sentences)
        names = self.names(texts.sentences)
        meaning = scene.meaning.flatten(2).transpose(1, 2)  # B N K
        match = self.compare(meaning, names[:, None])[..., 0]  # E N
        side = scene.meaning.shape[-1]
        match = match.expand(count, -1).unflatten(1, (side, side))
        tokens, valid = self._tokens(texts)
        updates = []
        for level, block in zip(scene.levels, self.cross, strict=True):
            cells = level.flatten(2).transpose(1, 2).expand(count, -1, -1)
            size = level.shape[-1]
            here = F.adaptive_avg_pool2d(match.detach()[:, None].sigmoid(), size)
            place = sine_places(size, cells.shape[2]).to(cells)
            cells, tokens, update = block(
                cells, place, tokens, valid, here.flatten(2).transpose(1, 2)
            )
            updates.append(update.transpose(1, 2).unflatten(2, (size, size)))
        coarse = match + self.coarse(cells)[..., 0].unflatten(1, (side, side))
        prompts = self.prompt(tokens[:, :2].flatten(1)).unflatten(1, (2, -1))
        return Conditioned((updates[0], updates[1]), match, coarse, prompts)

    def _tokens(self, texts: Texts) -> tuple[torch.Tensor, torch.Tensor]:
        """Return sentence, verbs and words as tokens (E, 2 + L, C), and which are valid."""
        size = self.settings.text_width**0.5
        moving = texts.verbs if self.settings.motion else torch.zeros_like(texts.verbs)
        moves = moving.abs().amax(dim=1, keepdim=True) > 0
        parts = [texts.sentences[:, None] * size, moving[:, None], texts.tokens]
        tokens = [self.read(part) + self.kinds[kind] for kind, part in enumerate(parts)]
        valid = torch.cat([torch.ones_like(moves), moves, texts.valid], 1)
        return torch.cat(tokens, 1), valid
