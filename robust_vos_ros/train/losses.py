"""Losses of SAM 2's training: focal, dice, IoU and object score, on the best of three masks.

Weights and the choice of the best mask follow SAM 2 (Ravi et al., 2024, appendix D.2.2): focal 20,
dice 1, IoU L1 1, object score 1.

Shape legend: B objects, M candidate masks, h, w mask resolution.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F

from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.network.tensors import Candidates

_FOCAL_WEIGHT = 20.0
_FOCAL_ALPHA = 0.25
_FOCAL_GAMMA = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class FrameLoss:
    """Loss of one frame.

    Attributes:
        total: Scalar, the weighted sum.
        parts: Scalars by name, detached.
        iou: (B,) IoU of the mask that tracking would keep, 0 to 1, detached.
    """

    total: torch.Tensor
    parts: dict[str, torch.Tensor]
    iou: torch.Tensor


def shrink_truth(truth: torch.Tensor, size: int) -> torch.Tensor:
    """Bring (B, H, W) uint8 masks to (B, size, size) float32, 0 or 1, by majority of the area."""
    small = F.interpolate(truth[:, None].float(), (size, size), mode='area')
    return (small[:, 0] >= 0.5).float()


def frame_loss(raw: Candidates, truth_BHW: torch.Tensor) -> FrameLoss:
    """Return the loss of the candidates of one frame.

    Masks are compared at twice their resolution, so that logits are trained to place an outline
    between two cells. For absent objects only the object score has a loss.

    Args:
        raw: From `MaskDecoder.predict`.
        truth_BHW: (B, H, W) uint8, 0 or 1, at the resolution of the image.
    """
    size = 2 * raw.mask_logits.shape[-1]
    truth = shrink_truth(truth_BHW, size)
    present = truth.flatten(1).any(dim=1)
    logits = F.interpolate(raw.mask_logits, (size, size), mode='bilinear', align_corners=False)
    focal, dice = focal_loss(logits, truth), dice_loss(logits, truth)
    iou = mask_iou(logits.detach() > 0, truth[:, None] > 0.5)
    mask = _FOCAL_WEIGHT * focal + dice
    best = mask.detach().argmin(dim=1, keepdim=True)
    weight = present.float() / present.sum().clamp(min=1)
    losses = {
        'focal': (focal.gather(1, best)[:, 0] * weight).sum(),
        'dice': (dice.gather(1, best)[:, 0] * weight).sum(),
        'iou': ((raw.ious - iou).abs().mean(dim=1) * weight).sum(),
        'object': F.binary_cross_entropy_with_logits(raw.object_scores, present.float()),
    }
    total = _FOCAL_WEIGHT * losses['focal'] + losses['dice'] + losses['iou'] + losses['object']
    kept = iou.gather(1, raw.ious.argmax(dim=1, keepdim=True))[:, 0]
    return FrameLoss(total, {k: v.detach() for k, v in losses.items()}, kept)


def focal_loss(logits_BMhw: torch.Tensor, truth_Bhw: torch.Tensor) -> torch.Tensor:
    """Return the (B, M) mean focal loss (Lin et al., 2017, alpha 0.25, gamma 2)."""
    truth = truth_Bhw[:, None].expand_as(logits_BMhw)
    cross = F.binary_cross_entropy_with_logits(logits_BMhw, truth, reduction='none')
    probability = logits_BMhw.sigmoid()
    miss = truth + probability - 2.0 * truth * probability  # 1 - probability of the truth
    alpha = _FOCAL_ALPHA * truth + (1.0 - _FOCAL_ALPHA) * (1.0 - truth)
    return (alpha * miss**_FOCAL_GAMMA * cross).mean(dim=(2, 3))


def dice_loss(logits_BMhw: torch.Tensor, truth_Bhw: torch.Tensor) -> torch.Tensor:
    """Return the (B, M) soft dice loss, smoothed by one pixel."""
    probability, truth = logits_BMhw.sigmoid(), truth_Bhw[:, None]
    overlap = (probability * truth).sum(dim=(2, 3))
    areas = probability.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    return 1.0 - (2.0 * overlap + 1.0) / (areas + 1.0)


def deep_supervision(logits_Bhw: torch.Tensor, truth_BHW: torch.Tensor) -> torch.Tensor:
    """Return the scalar loss of a coarse mask that an auxiliary head predicts.

    Args:
        logits_Bhw: (B, h, w) at stride 16.
        truth_BHW: (B, H, W) uint8; the target is the share of each cell that is object.
    """
    share = F.interpolate(truth_BHW[:, None].float(), logits_Bhw.shape[1:], mode='area')[:, 0]
    cross = F.binary_cross_entropy_with_logits(logits_Bhw, share)
    present = share.flatten(1).any(dim=1).float()
    dice = dice_loss(logits_Bhw[:, None], share)[:, 0]
    return 2.0 * cross + (dice * present).sum() / present.sum().clamp(min=1.0)
