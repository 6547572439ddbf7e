"""What candidates are judged by.

Shape legend: as in `adapter`; K candidates.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
import torch.nn.functional as F

from robust_vos_ros.core.network.tensors import Candidates
from robust_vos_ros.core.words.adapter import Scene
from robust_vos_ros.core.words.module import Conditioned, Words
from robust_vos_ros.core.words.text import Expression

LEVEL = 2.5  # logits below its peak that still are of the same thing
_CELL = 0.3  # share of a cell from which a mask lies on it
_KIN = 0.7  # names at least this similar (cosine) do not compete


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """What K candidates for an expression are judged by.

    Attributes:
        values: (K, n) float32, from `observe` and `observe_motion`.
        of: thing = of `observe`; moving = of both; any = of `observe_motion`, as the expression
            says nothing but a motion.
    """

    values: torch.Tensor
    of: Literal['thing', 'moving', 'any']

    def judge(self, words: Words) -> torch.Tensor:
        """Return (K,) calibrated probabilities that a candidate is what was asked for."""
        judgements = {
            'thing': words.judgement,
            'moving': words.moving_judgement,
            'any': words.any_judgement,
        }
        return judgements[self.of](self.values)


def observe(
    words: Words, scene: Scene, said: Conditioned, expression: Expression, kept: Candidates
) -> torch.Tensor:
    """Return (K, EVIDENCE) float32 that K candidates are judged by.

    Largest and mean logit in the mask; overlap with the coarse mask; logit of the mask's mean
    meaning; its lead over other names; predicted IoU; object score; logarithm of the area.
    """
    share = shares(kept, said.match.shape[-1])
    meaning = scene.meaning[0].float()
    region = F.normalize(torch.einsum('khw,chw->kc', share, meaning), dim=1)
    name = words.names(expression.sentence[None]).float()
    alike = words.compare(region, name)[:, 0]
    others = words.rivals[(words.rivals @ name[0]) < _KIN]
    lead = alike - words.compare(region, others).logsumexp(dim=1)
    return torch.stack([*_on(said.coarse[0], share), alike, lead, *_itself(kept)], 1).float()


def observe_motion(cells: torch.Tensor, motion: torch.Tensor, kept: Candidates) -> torch.Tensor:
    """Return (K, MOTION_EVIDENCE) float32 that K candidates are judged by if any thing will do.

    Largest and mean logit in the mask; overlap with the moving cells; logit of the mask's mean
    motion; predicted IoU; object score; logarithm of the area.

    Args:
        cells: (h, w) logits that cells move as was said.
        motion: (K,) logits that candidates do.
        kept: The candidates.
    """
    share = shares(kept, cells.shape[-1])
    return torch.stack([*_on(cells, share), motion, *_itself(kept)], 1).float()


def shares(kept: Candidates, side: int) -> torch.Tensor:
    """Return (K, side, side) float32, the share of each cell that K candidates cover."""
    masks = (kept.mask_logits > 0).float()
    return F.adaptive_avg_pool2d(masks, side)[:, 0] + 1e-6


def _on(coarse: torch.Tensor, share: torch.Tensor) -> list[torch.Tensor]:
    """Return (K,) largest and mean logit of (h, w) in each mask, and the overlap with the best."""
    total = share.sum(dim=(1, 2))
    coarse = coarse.float()
    peak = torch.where(share > _CELL, coarse, coarse.min()).amax(dim=(1, 2))
    inside = (share * coarse).sum(dim=(1, 2)) / total
    likely = (coarse - coarse.max() + LEVEL).sigmoid()
    overlap = torch.minimum(share, likely).sum((1, 2)) / torch.maximum(share, likely).sum((1, 2))
    return [peak, inside, overlap]


def _itself(kept: Candidates) -> list[torch.Tensor]:
    """Return (K,) predicted IoU, object score and logarithm of the area."""
    area = (kept.mask_logits[:, 0] > 0).float().mean(dim=(1, 2))
    return [kept.ious[:, 0], kept.object_scores, area.add(1e-4).log()]
