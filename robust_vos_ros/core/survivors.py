"""Which pathways go on after a frame, with which masks.

Shape legend: N objects, B = pathways of all of them, K survivors, M candidates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.memory_tree import Branch, MemoryTree, Proposals, grow, is_uncertain
from robust_vos_ros.core.observation import mask_agreement
from robust_vos_ros.core.tensors import Candidates
from robust_vos_ros.core.tracking_config import TreeSettings


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
