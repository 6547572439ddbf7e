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

import numpy as np
import torch

from robust_vos_ros.core.tracking_config import TreeSettings

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
