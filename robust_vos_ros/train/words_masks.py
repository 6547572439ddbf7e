"""Second part of the training of words: attention, prompts and coarse masks, through the decoder.

Each sample is a picture and an expression, for which something or nothing is in view. The decoder
is prompted as in use, at the best cell or at another one; its object score learns whether what is
there is what was asked for.
"""

from __future__ import annotations

import collections
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from robust_vos_ros.core.network.mask_decoder import DecoderPrompts
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Clicks
from robust_vos_ros.core.words.finding import around, find_peaks, to_mask_prompt
from robust_vos_ros.core.words.module import Conditioned, Texts, Words
from robust_vos_ros.core.words.text import TextEncoder
from robust_vos_ros.data.expressions import describe, other_words
from robust_vos_ros.train.losses import frame_loss
from robust_vos_ros.train.words_meaning import FORMS
from robust_vos_ros.train.words_pictures import LABEL_SIDE, Picture, share_of, to_features

TRAINED = ('recent', 'read', 'kinds', 'cross', 'coarse', 'prompt')
# Shares of the kinds of expressions.
_KINDS = {'class': 0.4, 'colour': 0.15, 'place': 0.2, 'size': 0.15, 'relation': 0.1}
_BEST_PEAK, _TRUE_CELL = 0.7, 0.4  # shares of the prompts


class MaskPart(nn.Module):
    """Losses of the second part.

    Args:
        words: The module.
        model: The frozen network.
        encoder: Text network.
        pictures: To train on.
        names: Words that may be asked for where they are not in view.
        absent: Share of such expressions.
        seed: Of all randomness.
    """

    def __init__(
        self,
        words: Words,
        model: Model,
        encoder: TextEncoder,
        pictures: list[Picture],
        *,
        names: list[str],
        absent: float,
        seed: int,
    ) -> None:
        super().__init__()
        self.words = words
        self._model, self._encoder = model, encoder
        self._pictures, self._names, self._absent = pictures, names, absent
        self._random = random.Random(seed)  # noqa: S311
        counts = collections.Counter(word for one in pictures for word in set(one.found.values()))
        self._weights = [max(counts[w] ** -0.5 for w in one.found.values()) for one in pictures]

    def forward(self, batch: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of some expressions, and its parts."""
        flip = self._random.random() < 0.5
        picked = self._random.choices(self._pictures, self._weights, k=batch)
        labels = [one.labels[:, ::-1] if flip else one.labels for one in picked]
        asked = [self._ask(one, here, flip) for one, here in zip(picked, labels, strict=True)]
        model = self._model
        features = to_features(picked, model, flip=flip)
        assert features.stages is not None, '`to_features` gives them'
        scene = self.words.scene([self.words.glimpse((features.stages[-1], features.stages[-2]))])
        said = self.words.condition(
            scene, Texts.of([self._encoder.encode(text) for text, _ in asked])
        )
        coarse, clicks, truth = self._prompts(said, picked, labels, [ids for _, ids in asked])
        drawn = to_mask_prompt(said.coarse, model.mask_size)
        drawn = drawn + around(clicks, model.image_size, model.mask_size)
        conditioned = model.image_encoder.condition(features, said.updates)
        pix = model.attend(conditioned, None)
        prompts = DecoderPrompts(clicks, drawn, words=said.prompts, multimask=True)
        raw = model.decoder.predict(features, pix, prompts)
        loss = frame_loss(raw, truth)
        there = (truth > 0).flatten(1).any(dim=1)
        parts = {name: float(value) for name, value in loss.parts.items()}
        overlap = float(loss.iou[there].mean()) if there.any() else 0.0
        return loss.total + coarse, {**parts, 'coarse': float(coarse.detach()), 'J': overlap}

    def _ask(
        self, picture: Picture, labels: np.ndarray, flip: bool
    ) -> tuple[str, tuple[int, ...]]:
        """Return an expression and the ids that it fits, none for a thing that is not there."""
        form = self._random.choice(FORMS)
        elsewhere = [name for name in self._names if name not in picture.words]
        if elsewhere and self._random.random() < self._absent:
            return form.format(
                self._random.choice(other_words(self._random.choice(elsewhere)))
            ), ()
        number = self._random.choice(list(picture.found))
        rgb = np.ascontiguousarray(picture.rgb[:, ::-1] if flip else picture.rgb)
        said = describe(labels, rgb, picture.found, number)
        (one,) = self._random.choices(said, [_KINDS[each.kind] for each in said])
        word = picture.found[number]
        text = one.text.replace(word, self._random.choice(other_words(word)), 1)
        return form.format(text), one.ids

    def _prompts(
        self,
        said: Conditioned,
        picked: list[Picture],
        labels: list[np.ndarray],
        asked: list[tuple[int, ...]],
    ) -> tuple[torch.Tensor, Clicks, torch.Tensor]:
        """Return the loss of the coarse masks, points, and the thing at each point.

        The last is (B, 128, 128) uint8, empty where the point is not on what was asked for.
        """
        side = said.coarse.shape[-1]
        losses, points, truths = [], [], []
        cell, step = self._model.image_size / side, LABEL_SIDE // side
        for row, (picture, here, ids) in enumerate(zip(picked, labels, asked, strict=True)):
            target = share_of(here, ids, side)
            losses.append(_coarse_loss(said.coarse[row], target, picture.is_complete or not ids))
            peaks = find_peaks(said.coarse[row].detach())
            best = self._random.random() < _BEST_PEAK
            y, x = peaks[0 if best else self._random.randrange(len(peaks))]
            if ids and self._random.random() < _TRUE_CELL and target.max() > 0:
                y, x = self._random.choice((target >= 0.7 * target.max()).nonzero().tolist())
            points.append([[(x + 0.5) * cell, (y + 0.5) * cell]])
            at = here[y * step : (y + 1) * step, x * step : (x + 1) * step]
            hit = [number for number in ids if (at == number).any()]
            largest = max(hit, key=lambda number, at=at: int((at == number).sum()), default=-1)
            truths.append(torch.from_numpy((here == largest).astype(np.uint8)))
        clicks = Clicks(torch.tensor(points), torch.ones(len(points), 1, dtype=torch.int32))
        return torch.stack(losses).mean(), clicks, torch.stack(truths)


def _coarse_loss(logits: torch.Tensor, target: torch.Tensor, complete: bool) -> torch.Tensor:
    """Return the loss of an (h, w) coarse mask; what may be unlabelled counts half."""
    cross = F.binary_cross_entropy_with_logits(logits, target, reduction='none')
    inside = (cross * target).sum() / target.sum().clamp(min=1.0)
    return inside + (2.0 if complete else 1.0) * (cross * (1.0 - target)).mean()
