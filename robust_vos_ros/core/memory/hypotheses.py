"""The memory tree of SAM2Long, online: several memory hypotheses per object.

"SAM2Long: Enhancing SAM 2 for Long Video Segmentation with a Training-Free Memory Tree" (arXiv
2410.16268), sections 3.2 and 3.3: each hypothesis predicts three masks; the cumulative score of a
branch is S + log(IoU + eps); the best branches survive, or, while the object scores are uncertain,
the best ones of distinct predicted IoU. The mask of the best hypothesis is published. Differences
for online use:

- Scores are stored relative to that of the best hypothesis, so that they stay bounded.
- While no hypothesis predicts the object present, scores do not change. If some do, the score of
  one that does not changes by its log probability of absence.
- With `adaptive`, an object has one hypothesis, and more only while frames are uncertain.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.adapters.gates import Gates
from robust_vos_ros.core.confidence.evidence import Observation, observe
from robust_vos_ros.core.errors import SavedTracksError
from robust_vos_ros.core.masks import box_agreement, mask_iou
from robust_vos_ros.core.network.object_classifier import agreement
from robust_vos_ros.core.network.tensors import Candidates
from robust_vos_ros.core.reid.appearance import Similarities
from robust_vos_ros.core.saving.named_tensors import Tensors, expect
from robust_vos_ros.core.tracking_sections import TreeSettings

_EPS = 1e-5
# A frame is also uncertain if no mask of a visible object has this predicted IoU.
_UNCERTAIN_IOU = 0.3
# In a certain frame, hypotheses whose masks reach this IoU with a better one are dropped.
_MERGE_IOU = 0.8
# A hypothesis this far behind the best one, in cumulative log IoU, is dropped.
_MAX_SCORE_GAP = 3.0


@dataclasses.dataclass(frozen=True, slots=True)
class Proposals:
    """Predictions of the A hypotheses of one object in one frame.

    Attributes:
        ious: (A, M) predicted IoU of each candidate mask, in [0, 1].
        object_scores: (A,) logits, above 0 the object is visible.
    """

    ious: np.ndarray
    object_scores: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Hypothesis:
    """One branch that survives a frame.

    Attributes:
        parent: Index of the hypothesis it continues.
        candidate: Index of its mask.
        score: Cumulative score relative to the best branch, at most 0.
        signed_iou: Predicted IoU, negative if the object is predicted absent.
    """

    parent: int
    candidate: int
    score: float
    signed_iou: float


def expand(proposals: Proposals, scores: np.ndarray, settings: TreeSettings) -> list[Hypothesis]:
    """Choose the branches that survive, best first.

    Args:
        proposals: Of this frame.
        scores: (A,) cumulative relative scores before the frame, at most 0.
        settings: Number of hypotheses, and when a frame is uncertain.
    """
    hypotheses = _branches(proposals, scores)
    hypotheses.sort(key=lambda hypothesis: -hypothesis.score)  # stable: earlier hypotheses first
    if settings.max_hypotheses == 1:
        chosen = hypotheses[:1]
    elif is_uncertain(proposals, settings):
        chosen = _distinct(hypotheses, settings.max_hypotheses)
    elif settings.adaptive:
        chosen = _best_of_each(hypotheses)
    else:
        chosen = hypotheses[: settings.max_hypotheses]
    top = chosen[0].score
    kept = [dataclasses.replace(hypothesis, score=hypothesis.score - top) for hypothesis in chosen]
    return [hypothesis for hypothesis in kept if hypothesis.score >= -_MAX_SCORE_GAP]


def is_uncertain(proposals: Proposals, settings: TreeSettings) -> bool:
    """Whether no hypothesis is certain that the object is present, or absent (section 3.2)."""
    if np.abs(proposals.object_scores).max() <= settings.uncertain_score:
        return True
    # The object is certainly present, but its shape is uncertain.
    seen = proposals.object_scores > 0
    return bool(seen.any() and proposals.ious[seen].max() < _UNCERTAIN_IOU)


def _branches(proposals: Proposals, scores: np.ndarray) -> list[Hypothesis]:
    ious, logits = proposals.ious, proposals.object_scores
    any_present = bool((logits > 0).any())
    hypotheses = []
    for parent, score in enumerate(scores):
        if logits[parent] > 0:
            hypotheses += [
                Hypothesis(parent, k, score + math.log(float(iou) + _EPS), float(iou))
                for k, iou in enumerate(ious[parent])
            ]
        else:
            best = int(ious[parent].argmax())
            log_absent = -math.log1p(math.exp(min(60.0, logits[parent]))) if any_present else 0.0
            hypotheses.append(
                Hypothesis(parent, best, score + log_absent, -float(ious[parent, best]))
            )
    return hypotheses


def _distinct(hypotheses: list[Hypothesis], count: int) -> list[Hypothesis]:
    """Select the best branches of distinct IoU, then those of parents without a branch."""
    chosen: list[Hypothesis] = []
    for hypothesis in hypotheses:
        if all(round(hypothesis.signed_iou, 2) != round(other.signed_iou, 2) for other in chosen):
            chosen.append(hypothesis)
        if len(chosen) == count:
            return chosen
    for hypothesis in hypotheses:
        if len(chosen) < count and all(hypothesis.parent != other.parent for other in chosen):
            chosen.append(hypothesis)
    return sorted(chosen, key=lambda hypothesis: -hypothesis.score)


def _best_of_each(hypotheses: list[Hypothesis]) -> list[Hypothesis]:
    """Keep all hypotheses, each with its best mask."""
    parents: set[int] = set()
    chosen = []
    for hypothesis in hypotheses:
        if hypothesis.parent not in parents:
            parents.add(hypothesis.parent)
            chosen.append(hypothesis)
    return chosen


class MemoryTree:
    """The hypotheses of all objects.

    Args:
        capacity: Number of slots.
        num_hypotheses: Maximum number per slot.
    """

    def __init__(self, capacity: int, num_hypotheses: int) -> None:
        self._scores = np.zeros((capacity, num_hypotheses))
        self._active = np.ones(capacity, np.int64)

    def rows(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (B,) owners (indices into `slots`) and (B,) ranks of all hypotheses."""
        active = self._active[slots]
        owners = np.repeat(np.arange(len(slots)), active)
        first = np.repeat(np.cumsum(active) - active, active)
        return owners, np.arange(len(owners)) - first

    def scores(self, slot: int) -> np.ndarray:
        """Return the scores of the hypotheses of an object, best first, the best one 0."""
        return self._scores[slot, : self._active[slot]]

    def keep(self, slot: int, hypotheses: list[Hypothesis]) -> None:
        """Store the scores of the branches that survived a frame."""
        self._active[slot] = len(hypotheses)
        self._scores[slot, : len(hypotheses)] = [hypothesis.score for hypothesis in hypotheses]

    def save(self, slot: int) -> Tensors:
        """Return the scores of the hypotheses of an object, by name."""
        return {'scores': torch.from_numpy(self.scores(slot).copy())}

    def load(self, slot: int, saved: Tensors) -> int:
        """Load the scores of one object; returns the number of hypotheses.

        Raises:
            SavedTracksError: The scores are not of a tree of this size.
        """
        scores = expect(saved, 'scores', torch.float64, (-1,)).numpy()
        count, most = len(scores), self._scores.shape[1]
        if not 1 <= count <= most or scores[0] != 0.0 or scores.max() > 0.0:
            raise SavedTracksError(
                f'expected scores of 1 to {most} hypotheses, the best one 0, got {scores.tolist()}'
            )
        self._active[slot] = count
        self._scores[slot, :count] = scores
        return count

    def collapse(self, slots: np.ndarray) -> None:
        """Reset some objects to one hypothesis, after a prompt or a correction."""
        self._active[slots] = 1
        self._scores[slots] = 0.0


_NO_ALTERNATIVE = -1.0


@dataclasses.dataclass(slots=True)
class KeptHypotheses:
    """The surviving branches, grouped by object, the best one of each first.

    Attributes:
        owners: (K,) index of the object of each.
        ranks: (K,) rank of each among the hypotheses of its object, 0 = the best.
        rows: (K,) row of its parent in the batch.
        kept: Their masks (M = 1).
        per_object: The hypotheses of each object.
    """

    owners: np.ndarray
    ranks: np.ndarray
    rows: np.ndarray
    kept: Candidates
    per_object: list[list[Hypothesis]]


def prune(
    tree: MemoryTree,
    slots: np.ndarray,
    owners: np.ndarray,
    candidates: Candidates,
    settings: TreeSettings,
    *,
    unseen: Sequence[bool] = (),
) -> KeptHypotheses:
    """Select the surviving branches of each object.

    Unseen objects keep one hypothesis: they have no mask to be uncertain of, and several
        hypotheses for each would multiply the cost of a frame.

    Args:
        tree: Scores of the hypotheses so far.
        slots: (N,) of the objects.
        owners: (B,) index into `slots` of each hypothesis.
        candidates: B x M masks.
        settings: Number of hypotheses, and when a frame is uncertain.
        unseen: (N,) whether each object is OCCLUDED or LOST; empty = none is.
    """
    single = settings.model_copy(update={'max_hypotheses': 1})
    ious = candidates.ious.numpy(force=True)
    scores = candidates.object_scores.numpy(force=True)
    hypotheses, rows = [], []
    for owner, slot in enumerate(slots):
        mine = np.flatnonzero(owners == owner)
        proposals = Proposals(ious[mine], scores[mine])
        rule = single if len(unseen) and unseen[owner] else settings
        chosen = expand(proposals, tree.scores(slot), rule)
        certain = settings.adaptive and not is_uncertain(proposals, settings)
        if certain and len(chosen) > 1:
            chosen = _drop_similar(chosen, mine, candidates)
        hypotheses.append(chosen)
        rows += [mine[hypothesis.parent] for hypothesis in chosen]
    flat = [hypothesis for chosen in hypotheses for hypothesis in chosen]
    picked = np.array([hypothesis.candidate for hypothesis in flat])
    count = [len(chosen) for chosen in hypotheses]
    return KeptHypotheses(
        owners=np.repeat(np.arange(len(slots)), count),
        ranks=np.concatenate([np.arange(n) for n in count]),
        rows=np.array(rows),
        kept=candidates.take(torch.tensor(np.array(rows)), torch.from_numpy(picked)),
        per_object=hypotheses,
    )


def observe_hypotheses(
    alive: KeptHypotheses,
    candidates: Candidates,
    gates: Gates | None,
    compared: Similarities,
    scores: torch.Tensor | None,
) -> list[Observation]:
    """Observe the K surviving hypotheses.

    Args:
        alive: The surviving hypotheses.
        candidates: All B x M masks they were selected from.
        gates: Of the adapter; None without one.
        compared: Similarities of the survivors to their objects.
        scores: (B, 1, h, w) of the classifiers of the objects, 0 to 1; None without.
    """
    rows = torch.from_numpy(alive.rows)
    chosen = alive.kept.mask_logits[:, 0] > 0
    others = candidates.ious[rows].clone()
    others[others == alive.kept.ious] = _NO_ALTERNATIVE
    alternative = candidates.take(rows, others.argmax(dim=1)).mask_logits[:, 0] > 0
    seen = observe(
        alive.kept,
        box_agreement(chosen, alternative),
        None if gates is None else gates.activity[rows],
        compared,
        None if scores is None else agreement(scores[rows, 0], chosen),
    )
    for owner, hypotheses in enumerate(alive.per_object):
        for row, hypothesis in zip(np.flatnonzero(alive.owners == owner), hypotheses, strict=True):
            if len(hypotheses) > 1:
                rival = hypotheses[1] if hypothesis is hypotheses[0] else hypotheses[0]
                seen[row] = dataclasses.replace(seen[row], margin=hypothesis.score - rival.score)
    return seen


def _drop_similar(
    hypotheses: list[Hypothesis], rows: np.ndarray, candidates: Candidates
) -> list[Hypothesis]:
    """Drop branches whose mask is nearly that of a better one."""
    at = torch.tensor([int(rows[hypothesis.parent]) for hypothesis in hypotheses])
    picked = torch.tensor([hypothesis.candidate for hypothesis in hypotheses])
    masks = candidates.take(at, picked).mask_logits[:, 0] > 0
    kept = [0]
    for index in range(1, len(hypotheses)):
        if float(mask_iou(masks[kept], masks[index]).max()) < _MERGE_IOU:
            kept.append(index)
    return [hypotheses[index] for index in kept]
