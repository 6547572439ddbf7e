"""Which pathways go on after a frame, with which masks.

Shape legend: N objects, B = pathways of all of them, K survivors, M candidates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.memory_tree import Branch, MemoryTree, Proposals, grow, is_uncertain
from robust_vos_ros.core.moga import Gates
from robust_vos_ros.core.observation import Observation, box_agreement, mask_agreement, observe
from robust_vos_ros.core.prototypes import Likenesses
from robust_vos_ros.core.tensors import Candidates
from robust_vos_ros.core.tracking_config import TreeSettings

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
