"""Two objects cannot be the same thing: of masks that agree, one is wrong.

After two objects have crossed, a network that judges each alone often puts both masks on one of
them, and is sure of both. The object that looks less like itself there is taken for hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.observation import Observation


def find_losers(
    masks: torch.Tensor, seen: Sequence[Observation], duplicate_iou: float
) -> np.ndarray:
    """Return the objects whose mask lies where another object has the better claim.

    Args:
        masks: (N, h, w) bool, one per object.
        seen: What was observed of each.
        duplicate_iou: IoU from which on two masks show the same thing; 1 = never.

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
    order = np.argsort([-_claim(one) for one in seen], kind='stable')
    for place, index in enumerate(order):
        better = [other for other in order[:place] if not lost[other]]
        lost[index] = bool(same[index, better].any())
    return lost


def _claim(seen: Observation) -> float:
    alike = 1.0 if math.isnan(seen.similarity) else seen.similarity
    return alike + 0.1 * seen.iou  # likeness decides, predicted IoU only between equals
