"""Fit the confidence of matches on pictures that were not trained on, and score words."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.words.finding import propose
from robust_vos_ros.core.words.module import Judgement, Words
from robust_vos_ros.core.words.text import TextEncoder
from robust_vos_ros.train.words_pictures import Picture, share_of, to_features

_ASKED, _ABSENT = 3, 2  # expressions per picture
_RIDGE = 1e-3
GOOD_IOU = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """One question to one picture, and the candidates that answer it.

    Attributes:
        picture: The picture.
        word: What was asked for.
        there: Whether it is in view.
        evidence: (K, EVIDENCE) of the candidates.
        iou: (K,) of their masks with the nearest thing of that word; 0 if it is not there.
    """

    picture: Picture
    word: str
    there: bool
    evidence: torch.Tensor
    iou: torch.Tensor

    @property
    def alone(self) -> bool:
        """Whether one thing of the word is in view."""
        return list(self.picture.found.values()).count(self.word) == 1

    @property
    def among_others(self) -> bool:
        """Whether things of other words are labelled as well."""
        return len(set(self.picture.found.values())) > 1


@torch.no_grad()
def ask(
    pictures: Sequence[Picture],
    model: Model,
    words: Words,
    encoder: TextEncoder,
    *,
    absent: Sequence[str],
    only: Sequence[str] = (),
    seed: int = 1,
) -> list[Asked]:
    """Ask pictures for words that are in view and for others.

    Args:
        pictures: The pictures.
        model: The network.
        words: The module.
        encoder: Text network.
        absent: Words of which those that are not in view are asked for too.
        only: Words in view that are asked for; empty = all.
        seed: Of the choice of words.
    """
    draw = random.Random(seed)  # noqa: S311
    asked = []
    for picture in pictures:
        present = [w for w in sorted(set(picture.found.values())) if not only or w in only]
        missing = [word for word in absent if word not in picture.words]
        chosen = draw.sample(present, min(_ASKED, len(present)))
        chosen += draw.sample(missing, min(_ABSENT, len(missing)))
        features = to_features([picture], model)
        assert features.stages is not None, '`to_features` gives them'
        glimpses = [words.glimpse((features.stages[-1], features.stages[-2]))]
        for word in chosen:
            expression = encoder.encode(f'the {word}')
            kept, evidence = propose(model, words, features, glimpses, expression)
            iou = overlap(kept.mask_logits[:, 0] > 0, picture, word)
            asked.append(Asked(picture, word, word in present, evidence.values, iou))
    return asked


def fit_judgement(judgement: Judgement, values: torch.Tensor, good: torch.Tensor) -> None:
    """Fit the logistic regression that turns evidence into a confidence.

    Args:
        judgement: Gets it.
        values: (N, size) of candidates in pictures that were not trained on.
        good: (N,) bool, whether they are what was asked for.
    """
    with torch.no_grad():
        judgement.mean.copy_(values.mean(dim=0))
        judgement.scale.copy_(values.std(dim=0) + 1e-3)
    weight, bias = fit_logistic(judgement.normal(values), good)
    with torch.no_grad():
        judgement.verdict.weight.copy_(weight[None])
        judgement.verdict.bias.copy_(bias)


def fit_logistic(values: torch.Tensor, good: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weight (size,) and bias (1,) of a logistic regression of (N, size) and (N,) bool."""
    weight, bias = torch.zeros(values.shape[1], requires_grad=True), torch.zeros(1)
    bias.requires_grad_()
    fit = torch.optim.LBFGS([weight, bias], max_iter=100)

    def loss() -> torch.Tensor:
        fit.zero_grad()
        cross = F.binary_cross_entropy_with_logits(values @ weight + bias, good.float())
        total: torch.Tensor = cross + _RIDGE * (weight**2).sum()
        total.backward()
        return total

    fit.step(loss)  # type: ignore[arg-type]
    return weight.detach(), bias.detach()


@torch.no_grad()
def score(words: Words, asked: Sequence[Asked], least: float) -> dict[str, dict[str, float]]:
    """Return shares of right answers, for kinds of questions.

    right: the best candidate is the thing; confident: and its confidence is enough; baselines: a
    random labelled thing, and the largest one; nothing: rightly so answered.

    Args:
        words: With its fitted judgement.
        asked: From `ask`.
        least: Minimum confidence.
    """
    rows: dict[str, list[dict[str, float]]] = {}
    for one in asked:
        confidence = words.judgement(one.evidence)
        best = int(confidence.argmax())
        enough = float(confidence[best]) >= least
        if not one.there:
            rows.setdefault('absent', []).append({'nothing': float(not enough)})
            continue
        right = float(one.iou[best] > GOOD_IOU)
        found = one.picture.found
        areas = {k: float(share_of(one.picture.labels, (k,), 1)) for k in found}
        row = {
            'right': right,
            'confident': right * enough,
            'best candidate': float(one.iou.max() > GOOD_IOU),
            'random labelled': list(found.values()).count(one.word) / len(found),
            'largest labelled': float(found[max(areas, key=lambda k: areas[k])] == one.word),
        }
        kinds = ['present', *(['one'] if one.alone else [])]
        kinds += [f'{kind}, among others' for kind in kinds] if one.among_others else []
        for kind in kinds:
            rows.setdefault(kind, []).append(row)
    return {
        kind: {
            'number': float(len(lines)),
            **{name: sum(line[name] for line in lines) / len(lines) for name in lines[0]},
        }
        for kind, lines in sorted(rows.items())
    }


def overlap(masks: torch.Tensor, picture: Picture, word: str) -> torch.Tensor:
    """Return (K,) the IoU of masks with the nearest thing of a word, or all of them together."""
    ids = [number for number, other in picture.found.items() if other == word]
    if not ids:
        return torch.zeros(len(masks))
    side = masks.shape[-1]
    groups = [(number,) for number in ids] + [tuple(ids)]
    truths = [share_of(picture.labels, group, side) >= 0.5 for group in groups]
    return torch.stack([mask_iou(masks, truth[None]) for truth in truths]).amax(dim=0)
