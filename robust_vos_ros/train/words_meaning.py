"""First part of the training of words: cells and things learn to be comparable with names.

Four losses: a thing, as the mean of its cells, against all words; each of its cells likewise; each
cell against the expressions of all words, present or not; and each cell against the classes that a
classifier of ImageNet sees there.

Shape legend: N cells, W words, K channels of comparison.
"""

from __future__ import annotations

import collections
import dataclasses
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from robust_vos_ros.core.words.module import Words
from robust_vos_ros.core.words.text import TextEncoder
from robust_vos_ros.data.expressions import other_words
from robust_vos_ros.train.words_pictures import Picture, share_of

TRAINED = ('down', 'fuse', 'look', 'name', 'scale', 'bias')
FORMS = ('{}', 'a {}', 'the {}')
_CELLS_OF_THING, _CELLS_OF_REST, _THINGS = 6, 14, 8
_TAUGHT_CELLS = 300  # per step
_SMOOTHING = 0.05
_DROPOUT = 0.15


@dataclasses.dataclass(frozen=True, slots=True)
class Cells:
    """Cells of one picture.

    Attributes:
        inputs: (N, c) float16, both stages at stride 16.
        things: (N,) index of the thing in the picture, -1 = none.
        words: Of the things, by index.
        taught: Probabilities and classes of the teacher, (N, KEPT) each; None without.
    """

    inputs: torch.Tensor
    things: torch.Tensor
    words: list[str]
    taught: tuple[torch.Tensor, torch.Tensor] | None


def pick_cells(picture: Picture, rng: np.random.Generator) -> Cells:
    """Choose cells of each thing and of the rest of a picture."""
    side = picture.stages[1].shape[-1]
    coarse = picture.stages[0][None].float()
    coarse = F.interpolate(coarse, (side, side), mode='bilinear', align_corners=False)[0]
    both = torch.cat([coarse, picture.stages[1].float()]).flatten(1).T
    chosen: list[int] = []
    owners: list[int] = []
    used = np.zeros(side * side, bool)
    words = []
    for number, word in list(picture.found.items())[:_THINGS]:
        share = share_of(picture.labels, (number,), side).flatten().numpy()
        good = np.flatnonzero(share > min(0.6, 0.7 * share.max()))
        some = rng.choice(good, min(_CELLS_OF_THING, len(good)), replace=False)
        used |= share > 0.1
        chosen += some.tolist()
        owners += [len(words)] * len(some)
        words.append(word)
    free = np.flatnonzero(~used)
    some = rng.choice(free, min(_CELLS_OF_REST, len(free)), replace=False)
    chosen += some.tolist()
    owners += [-1] * len(some)
    taught = None
    if picture.taught is not None:
        at = np.array(chosen)
        step = side // picture.taught[0].shape[0]
        rows, columns = at // side // step, at % side // step
        taught = picture.taught[0][rows, columns], picture.taught[1][rows, columns]
    return Cells(both[chosen].half(), torch.tensor(owners), words, taught)


class MeaningPart(nn.Module):
    """Losses of the first part.

    Args:
        words: The module.
        encoder: Text network.
        pictures: To train on.
        classes: Names of the teacher's classes and which of them may be used; None without.
        seed: Of all randomness.
    """

    def __init__(
        self,
        words: Words,
        encoder: TextEncoder,
        pictures: list[Picture],
        classes: tuple[list[str], torch.Tensor] | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.words = words
        self._random, rng = random.Random(seed), np.random.default_rng(seed)  # noqa: S311
        self._cells = [pick_cells(picture, rng) for picture in pictures]
        self._complete = torch.tensor([picture.is_complete for picture in pictures])
        self.names = sorted({word for picture in pictures for word in picture.found.values()})
        self._index = {name: row for row, name in enumerate(self.names)}
        self._forms = [_forms(encoder, name) for name in self.names]
        self._present = torch.tensor(
            [[name in picture.words for name in self.names] for picture in pictures]
        )
        counts = collections.Counter(word for one in self._cells for word in set(one.words))
        self._weights = [max(counts[w] ** -0.5 for w in set(one.words)) for one in self._cells]
        self._usable = None if classes is None else classes[1]
        self._classes = (
            None
            if classes is None
            else torch.stack([encoder.encode(name).sentence for name in classes[0]])
        )
        self.sharpness = nn.Parameter(torch.tensor(2.5))  # of comparisons among names
        seen = torch.cat([*self._forms, *([] if self._classes is None else [self._classes])])
        words.mean.data.copy_(seen.mean(dim=0))

    def forward(self, batch: int) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of some pictures, and its parts."""
        rows = self._random.choices(range(len(self._cells)), self._weights, k=batch)
        picked = [self._cells[row] for row in rows]
        owner = torch.cat([torch.full((len(one.things),), k) for k, one in enumerate(picked)])
        meaning = self._meaning(torch.cat([one.inputs for one in picked]))
        spoken = torch.stack([self._random.choice(list(forms)) for forms in self._forms])
        names = self.words.names(spoken + 0.01 * torch.randn_like(spoken))
        sizes = [len(one.words) for one in picked]
        first = torch.tensor([0, *np.cumsum(sizes)[:-1]])
        thing = torch.cat([one.things for one in picked])
        on = thing >= 0
        thing = thing + first[owner]
        truth = torch.tensor([self._index[word] for one in picked for word in one.words])
        sums = torch.zeros(sum(sizes), meaning.shape[1])
        whole = F.normalize(sums.index_add(0, thing[on], meaning[on]), dim=1)
        logits = self.sharpness.exp() * whole @ names.T
        cells = self.sharpness.exp() * meaning[on] @ names.T
        losses = {
            'thing': F.cross_entropy(logits, truth, label_smoothing=_SMOOTHING),
            'cell': 0.5 * F.cross_entropy(cells, truth[thing[on]], label_smoothing=_SMOOTHING),
            'match': self._match(meaning, names, (thing, on, truth), torch.tensor(rows)[owner]),
        }
        if self._classes is not None:
            losses['teacher'] = 0.8 * self._teacher(meaning, picked)
        right = (logits.argmax(dim=1) == truth).float().mean()
        stats = {name: float(value.detach()) for name, value in losses.items()}
        return torch.stack(list(losses.values())).sum(), {**stats, 'J': float(right)}

    def _meaning(self, inputs: torch.Tensor) -> torch.Tensor:
        x = inputs.float()
        x = F.dropout(x * (1.0 + 0.1 * torch.randn(1, x.shape[1])), _DROPOUT)
        coarse, fine = self.words.down
        wide = coarse.in_channels
        cells = F.linear(x[:, :wide], coarse.weight[..., 0, 0], coarse.bias)
        cells = cells + F.linear(x[:, wide:], fine.weight[..., 0, 0], fine.bias)
        return self.words.understand(F.dropout(cells, _DROPOUT))[1]

    def _match(
        self,
        meaning: torch.Tensor,
        names: torch.Tensor,
        things: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        picture: torch.Tensor,
    ) -> torch.Tensor:
        """Return the loss of each pair of cell and word: whether the cell shows the word."""
        thing, on, truth = things
        logits = self.words.compare(meaning, names)
        target = torch.zeros_like(logits)
        target[on, truth[thing[on]]] = 1.0
        # Cells that nobody labelled count less where the picture may show more than was labelled.
        weight = torch.where(on | self._complete[picture], 1.0, 0.3)[:, None].expand_as(logits)
        unsure = self._present[picture] & (target == 0) & ~on[:, None]
        weight = torch.where(unsure, 0.5 * weight, weight)
        loss = weight * F.binary_cross_entropy_with_logits(logits, target, reduction='none')
        there, elsewhere = (loss * target).sum(), (loss * (1 - target)).sum()
        return there / target.sum() + 12.0 * elsewhere / ((1 - target) * weight).sum()

    def _teacher(self, meaning: torch.Tensor, picked: list[Cells]) -> torch.Tensor:
        """Return the cross entropy with the teacher's classes, weighted by its certainty."""
        assert self._classes is not None, 'the caller checks it'
        assert self._usable is not None, 'comes with the classes'
        some = torch.randperm(len(meaning))[:_TAUGHT_CELLS]
        taught = [one.taught for one in picked if one.taught is not None]
        probability = torch.cat([one[0] for one in taught])[some]
        classes = torch.cat([one[1] for one in taught])[some]
        probability = probability * self._usable[classes]
        certain = probability.sum(dim=1, keepdim=True)
        logits = self.sharpness.exp() * meaning[some] @ self.words.names(self._classes).T
        log = logits.masked_fill(~self._usable, -1e4).log_softmax(1).gather(1, classes)
        share = probability / certain.clamp(min=1e-6)
        return -((share * log).sum(1) * certain[:, 0]).sum() / certain.sum().clamp(min=1e-6)


def _forms(encoder: TextEncoder, name: str) -> torch.Tensor:
    """Return the (F, D) sentences of a word and of others for it, with and without article."""
    texts = [form.format(word) for word in other_words(name) for form in FORMS]
    return torch.stack([encoder.encode(text).sentence for text in texts])


def rate_at(step: int, steps: int, highest: float, warm_up: int) -> float:
    """Return the learning rate: a linear rise, then a linear fall to almost nothing."""
    return highest * min(1.0, (step + 1) / warm_up) * max(0.0, 1.0 - step / steps) + 1e-5


def total_norm_is_finite(parameters: list[nn.Parameter], limit: float) -> bool:
    """Clip the gradients; tells whether they are finite."""
    return math.isfinite(float(nn.utils.clip_grad_norm_(parameters, limit)))
