"""Ask clips for things that move in some way, to fit that part of the confidence and to score."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.words.evidence import Evidence
from robust_vos_ros.core.words.finding import propose
from robust_vos_ros.core.words.module import Words
from robust_vos_ros.core.words.text import TextEncoder
from robust_vos_ros.data.motion_clips import MOTIONS, STILL
from robust_vos_ros.data.motion_expressions import phrases
from robust_vos_ros.train.words_clips import Footage
from robust_vos_ros.train.words_judgement import GOOD_IOU, fit_judgement
from robust_vos_ros.train.words_pictures import share_of, to_features

_OTHER_WORDS = 2  # that are asked for per thing
_SEEN = (8, 8, 4, 8, 2)  # newest frames that the module sees, in turn


@dataclasses.dataclass(frozen=True, slots=True)
class AskedClip:
    """One question to one clip, and the candidates that answer it.

    Attributes:
        kind: Motion that was asked for.
        why: present = a thing of the word moves so; other motion = none does; other word = what
            moves so is something else.
        twins: Number of other things of the word.
        evidence: Of K candidates.
        iou: (K,) of their masks with the thing; 0 if it is not there.
        other_iou: (K,) with the nearest other thing of the word.
    """

    kind: str
    why: str
    twins: int
    evidence: Evidence
    iou: torch.Tensor
    other_iou: torch.Tensor


@torch.no_grad()
def ask_clips(
    clips: Sequence[Footage],
    model: Model,
    words: Words,
    encoder: TextEncoder,
    *,
    frames: int,
    word: str = '',
    names: Sequence[str] = (),
    said: Mapping[str, Sequence[str]] | None = None,
    seed: int = 1,
) -> list[AskedClip]:
    """Ask each clip for each of its things by word and motion, and for what is not there.

    Args:
        clips: The clips.
        model: The network.
        words: The module.
        encoder: Text network.
        frames: Newest frames that the module sees.
        word: Asked for in place of the words of the things: any thing fits it. Nobody is asked
            what stands still, as the scene does.
        names: Words that are also asked for where they are not in view.
        said: Phrases by kind of motion; None = the trained ones. Empty ones ask for the word
            alone.
        seed: Of the choice of phrases.
    """
    draw = random.Random(seed)  # noqa: S311
    known = phrases_by_kind() if said is None else said
    asked = []
    for clip in clips:
        features = to_features([clip.last], model)
        glimpses = clip.glimpses(words, frames)
        found = clip.last.found
        for number, own in found.items():
            same = [k for k, other in found.items() if k != number and (word or other == own)]
            taken = {clip.motions[k - 1] for k in (number, *same)}
            kind, another = clip.motions[number - 1], draw.choice(sorted({*MOTIONS} - taken))
            strange = sorted({*names} - clip.last.words)
            strange = draw.sample(strange, min(_OTHER_WORDS, len(strange)))
            questions = [(own, kind, 'present'), (own, another, 'other motion')]
            questions += [(name, kind, 'other word') for name in strange]
            for name, moves, why in questions:
                if word and moves == STILL:
                    continue
                expression = encoder.encode(_ask(word or name, draw.choice(known[moves])))
                kept, evidence = propose(model, words, features, glimpses, expression)
                masks = kept.mask_logits[:, 0] > 0
                iou = _best_iou(masks, clip, [number] if why == 'present' else [])
                rest = same if why == 'present' else [number, *same]
                other_iou = _best_iou(masks, clip, rest)
                asked.append(AskedClip(moves, why, len(same), evidence, iou, other_iou))
    return asked


def ask_both(
    clips: Iterable[Footage],
    model: Model,
    words: Words,
    encoder: TextEncoder,
    names: Sequence[str],
) -> tuple[list[AskedClip], list[AskedClip]]:
    """Ask clips by words and motions, and by motions alone, of which less than all was seen.

    Args:
        clips: The clips.
        model: As for `ask_clips`; `words`, `encoder` and `names` as well.
    """
    named: list[AskedClip] = []
    unnamed: list[AskedClip] = []
    for index, clip in enumerate(clips):
        frames = min(_SEEN[index % len(_SEEN)], len(clip.labels))
        common: dict[str, Any] = {'frames': frames, 'seed': index}
        named += ask_clips([clip], model, words, encoder, names=names, **common)
        unnamed += ask_clips([clip], model, words, encoder, word='thing', **common)
    return named, unnamed


def fit_motion(words: Words, named: Sequence[AskedClip], unnamed: Sequence[AskedClip]) -> None:
    """Fit the judgements of candidates for expressions that speak of a motion.

    Args:
        words: Gets them.
        named: Of clips that were not trained on, by words and motions.
        unnamed: By motions alone.
    """
    for judgement, asked in ((words.moving_judgement, named), (words.any_judgement, unnamed)):
        values = torch.cat([one.evidence.values for one in asked])
        good = torch.cat([one.iou for one in asked]) > GOOD_IOU
        fit_judgement(judgement, values, good)


@torch.no_grad()
def score_clips(
    words: Words, asked: Sequence[AskedClip], least: float
) -> dict[str, dict[str, float]]:
    """Return shares of right answers, for kinds of questions.

    right: the best candidate is the thing; confident: and its confidence is enough; of the things
    of the word: right where the best candidate is any of them; nothing: rightly so answered.

    Args:
        words: With its fitted judgement.
        asked: From `ask_clips`.
        least: Minimum confidence.
    """
    rows: dict[str, list[tuple[float, float, float]]] = {}
    absent: dict[str, list[float]] = {}
    for one in asked:
        confidence = one.evidence.judge(words)
        best = int(confidence.argmax())
        enough = float(confidence[best]) >= least
        if one.why != 'present':
            absent.setdefault(one.why, []).append(float(not enough))
            continue
        right, other = float(one.iou[best] > GOOD_IOU), float(one.other_iou[best] > GOOD_IOU)
        for name in ('among its like', f'among its like, {one.kind}') if one.twins else ('alone',):
            rows.setdefault(name, []).append((right, right * enough, other))
    scores = {}
    for name, some in sorted(rows.items()):
        right, confident, other = (sum(row[k] for row in some) for k in range(3))
        scores[name] = {
            'number': float(len(some)),
            'right': right / len(some),
            'confident': confident / len(some),
            'of the things of the word': right / max(1.0, right + other),
        }
    for why, right_ones in absent.items():
        scores[why] = {
            'number': float(len(right_ones)),
            'nothing': sum(right_ones) / len(right_ones),
        }
    return scores


def phrases_by_kind() -> dict[str, list[str]]:
    """Return the trained phrases that fit one kind of motion alone."""
    table: dict[str, list[str]] = {kind: [] for kind in MOTIONS}
    for text, kinds in phrases().items():
        if len(kinds) == 1:
            table[kinds[0]].append(text)
    return table


def _ask(word: str, phrase: str) -> str:
    """Return an expression: "the dog moving left", "the dog that moves left", "the dog"."""
    verb = phrase.split(' ', maxsplit=1)[0]
    finite = verb and verb != 'not' and not verb.endswith('ing')
    return ' '.join(filter(None, ('the', word, 'that' if finite else '', phrase)))


def _best_iou(masks: torch.Tensor, clip: Footage, ids: Sequence[int]) -> torch.Tensor:
    """Return (K,) the largest IoU of masks with some things in the last frame."""
    if not ids:
        return torch.zeros(len(masks))
    side = masks.shape[-1]
    truths = [share_of(clip.last.labels, (number,), side) >= GOOD_IOU for number in ids]
    return torch.stack([mask_iou(masks, truth[None]) for truth in truths]).amax(dim=0)
