"""Two objects cannot be the same thing: of masks that agree, one is wrong.

After two objects have crossed, a network that judges each alone often puts both masks on one of
them, and is sure of both. The object that looks less like itself there is taken for hidden.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.model import Model
from robust_vos_ros.core.observation import Observation
from robust_vos_ros.core.survivors import Survivors

_IN_VIEW = 0.2  # likeness that being in view is worth
_HIDDEN_SCORE = -1.0  # object score of a mask that belongs to another object


def settle(
    model: Model,
    alive: Survivors,
    seen: list[Observation],
    duplicate_iou: float,
    visible: Sequence[bool],
) -> list[Observation]:
    """Take away the mask of objects that are where another one is.

    Args:
        model: Knows what an absent object looks like.
        alive: What every pathway sees; the masks of losers are replaced.
        seen: What was observed of each.
        duplicate_iou: As in `find_losers`; `visible` as well.

    Returns:
        What is observed of each after that.
    """
    first = np.flatnonzero(alive.paths == 0)
    masks = alive.kept.mask_logits[torch.from_numpy(first), 0] > 0
    lost = find_losers(masks, [seen[row] for row in first], duplicate_iou, visible)
    if not lost.any():
        return seen
    stays = np.ones(len(seen), bool)
    stays[first[lost]] = False
    here = torch.from_numpy(stays).to(model.device)
    hidden = model.hide_absent(alive.kept, here)
    scores = torch.where(here, hidden.object_scores, _HIDDEN_SCORE)
    alive.kept = dataclasses.replace(hidden, object_scores=scores)
    return [
        one if stay else dataclasses.replace(one, object_score=_HIDDEN_SCORE, coverage=0.0)
        for one, stay in zip(seen, stays, strict=True)
    ]


def find_losers(
    masks: torch.Tensor,
    seen: Sequence[Observation],
    duplicate_iou: float,
    visible: Sequence[bool],
) -> np.ndarray:
    """Return the objects whose mask lies where another object has the better claim.

    Args:
        masks: (N, h, w) bool, one per object.
        seen: What was observed of each.
        duplicate_iou: IoU from which on two masks show the same thing; 1 = never.
        visible: Whether each was in view in the frame before; such a one has the better claim
            where likeness is about equal.

    Returns:
        (N,) bool.
    """
    lost = np.zeros(len(seen), bool)
    if len(seen) < 2 or duplicate_iou >= 1.0:
        return lost
    overlap = (masks[:, None] & masks[None]).flatten(2).sum(dim=2)
    area = overlap.diagonal()
    union = (area[:, None] + area[None] - overlap).clamp(min=1)
    same = (overlap / union).numpy(force=True) >= duplicate_iou
    claims = [_claim(one) + _IN_VIEW * here for one, here in zip(seen, visible, strict=True)]
    order = np.argsort(-np.array(claims), kind='stable')
    for place, index in enumerate(order):
        better = [other for other in order[:place] if not lost[other]]
        lost[index] = bool(same[index, better].any())
    return lost


def _claim(seen: Observation) -> float:
    alike = 1.0 if math.isnan(seen.similarity) else seen.similarity
    return alike + 0.1 * seen.iou  # likeness decides, predicted IoU only between equals
