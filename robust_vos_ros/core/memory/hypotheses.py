"""SAM2Long's memory tree, online: several pathways of memory per object, the best one published.

"SAM2Long: Enhancing SAM 2 for Long Video Segmentation with a Training-Free Memory Tree" (arXiv
2410.16268), sections 3.2 and 3.3: each pathway predicts three masks; the cumulative score of a
branch is S + log(IoU + eps); the best branches survive, or, while the object scores are uncertain,
the best ones of distinct predicted IoU. Ours differs where a robot needs it:

- Scores are kept relative to the best pathway's, so that they stay bounded for hours.
- While no pathway sees the object, scores stand still. Where some do, one that does not is judged
  by how sure it is of that.
- An object has one pathway while all is clear, and grows more only while it is uncertain.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.adapters.moga import Gates
from robust_vos_ros.core.confidence.evidence import (
    Observation,
    box_agreement,
    mask_agreement,
    observe,
)
from robust_vos_ros.core.reid.appearance import Likenesses
from robust_vos_ros.core.tracking_settings import TreeSettings
from robust_vos_ros.core.types import Candidates

_EPS = 1e-5


@dataclasses.dataclass(frozen=True, slots=True)
class Proposals:
    """What the A pathways of one object predict in one frame.

    Attributes:
        ious: (A, M) predicted IoU of each candidate mask, in [0, 1].
        object_scores: (A,) logits, above 0 the object is visible.
    """

    ious: np.ndarray
    object_scores: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Branch:
    """One branch that survives a frame.

    Attributes:
        parent: Index of the pathway it continues.
        candidate: Index of its mask.
        score: Cumulative score relative to the best branch, at most 0.
        signed_iou: Predicted IoU, negative where the object is not seen.
    """

    parent: int
    candidate: int
    score: float
    signed_iou: float


def grow(proposals: Proposals, scores: np.ndarray, settings: TreeSettings) -> list[Branch]:
    """Choose the branches that survive, best first.

    Args:
        proposals: Of this frame.
        scores: (A,) cumulative scores before it, relative, at most 0.
        settings: Number of pathways, when to be uncertain.
    """
    branches = _branches(proposals, scores)
    branches.sort(key=lambda branch: -branch.score)  # stable: earlier pathways first
    if settings.pathways == 1:
        chosen = branches[:1]
    elif is_uncertain(proposals, settings):
        chosen = _distinct(branches, settings.pathways)
    elif settings.adaptive:
        chosen = _best_of_each(branches)
    else:
        chosen = branches[: settings.pathways]
    top = chosen[0].score
    kept = [dataclasses.replace(branch, score=branch.score - top) for branch in chosen]
    return [branch for branch in kept if branch.score >= -settings.max_score_gap]


def is_uncertain(proposals: Proposals, settings: TreeSettings) -> bool:
    """Whether no pathway is sure that the object is there, or that it is not (section 3.2)."""
    if np.abs(proposals.object_scores).max() <= settings.uncertain_score:
        return True
    # A sure object of unsure shape: its masks compete.
    seen = proposals.object_scores > 0
    return bool(seen.any() and proposals.ious[seen].max() < settings.uncertain_iou)


def _branches(proposals: Proposals, scores: np.ndarray) -> list[Branch]:
    ious, logits = proposals.ious, proposals.object_scores
    someone_sees = bool((logits > 0).any())
    branches = []
    for parent, score in enumerate(scores):
        if logits[parent] > 0:
            branches += [
                Branch(parent, k, score + math.log(float(iou) + _EPS), float(iou))
                for k, iou in enumerate(ious[parent])
            ]
        else:
            best = int(ious[parent].argmax())
            surety = -math.log1p(math.exp(min(60.0, logits[parent]))) if someone_sees else 0.0
            branches.append(Branch(parent, best, score + surety, -float(ious[parent, best])))
    return branches


def _distinct(branches: list[Branch], count: int) -> list[Branch]:
    """Pick the best branches of distinct IoU; then of pathways that have none yet."""
    chosen: list[Branch] = []
    for branch in branches:
        if all(round(branch.signed_iou, 2) != round(other.signed_iou, 2) for other in chosen):
            chosen.append(branch)
        if len(chosen) == count:
            return chosen
    for branch in branches:
        if len(chosen) < count and all(branch.parent != other.parent for other in chosen):
            chosen.append(branch)
    return sorted(chosen, key=lambda branch: -branch.score)


def _best_of_each(branches: list[Branch]) -> list[Branch]:
    """Keep the pathways there are, each with its best mask."""
    parents: set[int] = set()
    chosen = []
    for branch in branches:
        if branch.parent not in parents:
            parents.add(branch.parent)
            chosen.append(branch)
    return chosen


class MemoryTree:
    """The pathways of all objects.

    Args:
        capacity: Number of slots.
        num_paths: Most pathways per slot.
    """

    def __init__(self, capacity: int, num_paths: int) -> None:
        self._scores = np.zeros((capacity, num_paths))
        self._active = np.ones(capacity, np.int64)

    def rows(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return owners (index into `slots`) and pathways of the batch of some objects."""
        active = self._active[slots]
        owners = np.repeat(np.arange(len(slots)), active)
        first = np.repeat(np.cumsum(active) - active, active)
        return owners, np.arange(len(owners)) - first

    def scores(self, slot: int) -> np.ndarray:
        """Return the scores of the pathways of an object, best first, the best one 0."""
        return self._scores[slot, : self._active[slot]]

    def keep(self, slot: int, branches: list[Branch]) -> None:
        """Take over the branches that survived a frame."""
        self._active[slot] = len(branches)
        self._scores[slot, : len(branches)] = [branch.score for branch in branches]

    def state(self) -> dict[str, torch.Tensor]:
        """Return a copy of everything, which `resume` takes."""
        return {
            'scores': torch.from_numpy(self._scores.copy()),
            'active': torch.from_numpy(self._active.copy()),
        }

    def resume(self, state: dict[str, torch.Tensor]) -> None:
        """Become the tree whose `state` this was."""
        self._scores[:] = state['scores'].numpy()
        self._active[:] = state['active'].numpy()

    def collapse(self, slots: np.ndarray) -> None:
        """Leave one pathway to some objects, after a prompt or a correction."""
        self._active[slots] = 1
        self._scores[slots] = 0.0


_NO_ALTERNATIVE = -1.0


@dataclasses.dataclass(slots=True)
class Survivors:
    """The branches that go on, all objects after another, each with its best one first.

    Attributes:
        owners: (K,) index of the object of each.
        paths: (K,) pathway it becomes.
        rows: (K,) row of the batch it came from.
        kept: Their masks (M = 1).
        branches: Per object.
    """

    owners: np.ndarray
    paths: np.ndarray
    rows: np.ndarray
    kept: Candidates
    branches: list[list[Branch]]


def select(
    tree: MemoryTree,
    slots: np.ndarray,
    owners: np.ndarray,
    candidates: Candidates,
    settings: TreeSettings,
    *,
    unseen: Sequence[bool] = (),
) -> Survivors:
    """Let the branches of each object compete.

    Objects out of sight keep one pathway: there is no mask to be uncertain of, and with all of
    them out of sight a frame would cost a multiple.

    Args:
        tree: Scores of the pathways so far.
        slots: (N,) of the objects.
        owners: (B,) index into `slots` of each pathway.
        candidates: B x M masks.
        settings: Number of pathways, when to be uncertain.
        unseen: (N,) whether each object is out of sight; empty = none is.
    """
    alone = settings.model_copy(update={'pathways': 1})
    ious = candidates.ious.numpy(force=True)
    scores = candidates.object_scores.numpy(force=True)
    branches, rows = [], []
    for owner, slot in enumerate(slots):
        mine = np.flatnonzero(owners == owner)
        proposals = Proposals(ious[mine], scores[mine])
        rule = alone if len(unseen) and unseen[owner] else settings
        chosen = grow(proposals, tree.scores(slot), rule)
        certain = settings.adaptive and not is_uncertain(proposals, settings)
        if certain and len(chosen) > 1:
            chosen = _merge(chosen, mine, candidates, settings.merge_iou)
        branches.append(chosen)
        rows += [mine[branch.parent] for branch in chosen]
    flat = [branch for chosen in branches for branch in chosen]
    picked = np.array([branch.candidate for branch in flat])
    count = [len(chosen) for chosen in branches]
    return Survivors(
        owners=np.repeat(np.arange(len(slots)), count),
        paths=np.concatenate([np.arange(n) for n in count]),
        rows=np.array(rows),
        kept=candidates.take(torch.tensor(np.array(rows)), torch.from_numpy(picked)),
        branches=branches,
    )


def observe_survivors(
    alive: Survivors, candidates: Candidates, gates: Gates | None, compared: Likenesses
) -> list[Observation]:
    """Measure the K survivors, also against what they left behind.

    Args:
        alive: The survivors.
        candidates: All B x M masks they were chosen from.
        gates: Of the adapter; None without one.
        compared: How much the survivors look like their objects.
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
    )
    for owner, branches in enumerate(alive.branches):
        for row, branch in zip(np.flatnonzero(alive.owners == owner), branches, strict=True):
            if len(branches) > 1:
                rival = branches[1] if branch is branches[0] else branches[0]
                seen[row] = dataclasses.replace(seen[row], margin=branch.score - rival.score)
    return seen


def _merge(
    branches: list[Branch], rows: np.ndarray, candidates: Candidates, merge_iou: float
) -> list[Branch]:
    """Give up branches whose mask is that of a better one."""
    at = torch.tensor([int(rows[branch.parent]) for branch in branches])
    picked = torch.tensor([branch.candidate for branch in branches])
    masks = candidates.take(at, picked).mask_logits[:, 0] > 0
    kept = [0]
    for index in range(1, len(branches)):
        agreement = mask_agreement(masks[kept], masks[index][None].expand(len(kept), -1, -1))
        if float(agreement.max()) < merge_iou:
            kept.append(index)
    return [branches[index] for index in kept]
