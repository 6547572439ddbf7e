"""Suppression of duplicates: two objects with the same mask."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.confidence.calibration import Evidence
from robust_vos_ros.core.confidence.evidence import Observation
from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.memory.hypotheses import KeptHypotheses
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.objects import LiveObject

_VISIBLE_BONUS = 0.2  # added to the similarity of an object that was visible in the previous frame
_HIDDEN_SCORE = -1.0  # object score of a mask that belongs to another object


def suppress_duplicates(
    model: Model,
    alive: KeptHypotheses,
    seen: list[Observation],
    duplicate_iou: float,
    items: Sequence[LiveObject],
    *,
    resting: Sequence[LiveObject],
    resting_logits: torch.Tensor,
) -> list[Observation]:
    """Suppress the masks of objects that duplicate another object.

    Args:
        model: Provides mask and pointer of an absent object.
        alive: All hypotheses; the masks of suppressed objects are replaced.
        seen: Observation of each.
        duplicate_iou: As in `find_duplicates`.
        items: N objects, with their state in the previous frame.
        resting: M visible objects that were not tracked into this frame; they keep their masks.
        resting_logits: (M, h, w) their last masks.

    Returns:
        The observations after suppression.
    """
    first = np.flatnonzero(alive.ranks == 0)
    masks = torch.cat([alive.kept.mask_logits[torch.from_numpy(first), 0], resting_logits]) > 0
    lost = find_duplicates(
        masks,
        [*(seen[row] for row in first), *(item.track.evidence for item in resting)],
        duplicate_iou,
        [item.track.visible for item in (*items, *resting)],
    )[: len(items)]
    if not lost.any():
        return seen
    stays = np.ones(len(seen), bool)
    stays[first[lost]] = False
    here = torch.from_numpy(stays).to(model.device)
    hidden = model.decoder.suppress_absent(alive.kept, here)
    scores = torch.where(here, hidden.object_scores, _HIDDEN_SCORE)
    alive.kept = dataclasses.replace(hidden, object_scores=scores)
    return [
        one if stay else dataclasses.replace(one, object_score=_HIDDEN_SCORE, coverage=0.0)
        for one, stay in zip(seen, stays, strict=True)
    ]


def find_duplicates(
    masks: torch.Tensor,
    seen: Sequence[Observation | Evidence | None],
    duplicate_iou: float,
    visible: Sequence[bool],
) -> np.ndarray:
    """Return the objects whose mask duplicates that of an object with a better score.

    Args:
        masks: (N, h, w) bool, one per object.
        seen: Observation or evidence of each; None = unknown.
        duplicate_iou: Minimum IoU of two masks that show the same object; 1 = off.
        visible: Whether each was visible in the previous frame, which raises its score slightly.

    Returns:
        (N,) bool.
    """
    lost = np.zeros(len(seen), bool)
    if len(seen) < 2 or duplicate_iou >= 1.0:
        return lost
    alike = mask_iou(masks[:, None], masks[None]).numpy(force=True) >= duplicate_iou
    same = alike & masks.flatten(1).any(dim=1).numpy(force=True)  # empty masks duplicate nothing
    scores = [
        _duplicate_score(one) + _VISIBLE_BONUS * here
        for one, here in zip(seen, visible, strict=True)
    ]
    order = np.argsort(-np.array(scores), kind='stable')
    for place, index in enumerate(order):
        better = [other for other in order[:place] if not lost[other]]
        lost[index] = bool(same[index, better].any())
    return lost


def _duplicate_score(seen: Observation | Evidence | None) -> float:
    if seen is None:
        return 1.0
    similarity = 1.0 if math.isnan(seen.similarity) else seen.similarity
    return similarity + 0.1 * seen.iou  # similarity decides; predicted IoU breaks ties
