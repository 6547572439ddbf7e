"""Last part of the training of words: whether words see another thing than the memory follows.

SAMWISE trains its conditional memory encoder on frames in which the memory-free features show
another object. Here such frames are made of pictures: one thing is followed, and an expression
names it, another thing in view, or nothing in view.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.words.finding import find
from robust_vos_ros.core.words.module import Words
from robust_vos_ros.core.words.text import TextEncoder
from robust_vos_ros.train.words_judgement import overlap
from robust_vos_ros.train.words_pictures import Picture, share_of, to_features

_STEPS, _RATE, _BATCH = 300, 1e-3, 32
_GOOD_IOU = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Pairs:
    """Pointers of N followed things and of what words see.

    Attributes:
        followed: (N, C) pointers of masks that memory would follow.
        seen: (N, C) pointers of the best matches.
        better: (N,) 1 where the match is another thing, and right.
    """

    followed: torch.Tensor
    seen: torch.Tensor
    better: torch.Tensor


@torch.no_grad()
def make_pairs(
    pictures: Sequence[Picture],
    model: Model,
    words: Words,
    encoder: TextEncoder,
    *,
    names: Sequence[str],
    seed: int,
) -> Pairs:
    """Follow one thing of each picture while an expression names it, another one or none.

    Args:
        pictures: The pictures; those with things of several words teach most.
        model: The network.
        words: The module.
        encoder: Text network.
        names: Words that may be asked for where they are not in view.
        seed: Of the choices.
    """
    draw = random.Random(seed)  # noqa: S311
    rows: list[tuple[torch.Tensor, torch.Tensor, float]] = []
    for picture in pictures:
        number, own = draw.choice(list(picture.found.items()))
        others = sorted(set(picture.found.values()) - {own})
        asked = [own, *draw.sample(others, min(2, len(others)))]
        missing = [name for name in names if name not in picture.words]
        asked += draw.sample(missing, min(1, len(missing)))
        features = to_features([picture], model)
        assert features.stages is not None, '`to_features` gives them'
        mask = (share_of(picture.labels, (number,), model.image_size) > _GOOD_IOU).float()
        followed = model.decoder.from_masks(features, mask[None, None]).pointers[0, 0]
        glimpses = [words.glimpse((features.stages[-1], features.stages[-2]))]
        for word in asked:
            matches = find(model, words, features, glimpses, encoder.encode(f'the {word}'))
            if not matches:
                continue
            right = float(overlap(matches[0].logits[None] > 0, picture, word)) > _GOOD_IOU
            rows.append((followed, matches[0].pointer, float(right and word != own)))
    return Pairs(
        torch.stack([row[0] for row in rows]),
        torch.stack([row[1] for row in rows]),
        torch.tensor([row[2] for row in rows]),
    )


def fit_memory(words: Words, pairs: Pairs, seed: int) -> None:
    """Train the decision on pairs; both classes weigh the same."""
    rng = torch.Generator().manual_seed(seed)
    memory = words.memory.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(memory.parameters(), _RATE, weight_decay=0.1)
    share = pairs.better.mean().clamp(0.05, 0.95)
    weights = torch.where(pairs.better > 0, 0.5 / share, 0.5 / (1.0 - share))
    for _ in range(_STEPS):
        rows = torch.randint(len(pairs.better), (_BATCH,), generator=rng)
        logits = memory(pairs.followed[rows], pairs.seen[rows])
        loss = F.binary_cross_entropy_with_logits(logits, pairs.better[rows], weights[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    memory.eval().requires_grad_(False)


@torch.no_grad()
def score_memory(words: Words, pairs: Pairs) -> dict[str, float]:
    """Return the share of right decisions where the match is better, and where it is not."""
    decided = words.memory(pairs.followed, pairs.seen) > 0
    better = pairs.better > 0
    return {
        'number': float(len(better)),
        'detected': float(decided[better].float().mean()) if better.any() else 0.0,
        'left alone': float((~decided[~better]).float().mean()) if (~better).any() else 0.0,
    }
