"""A linear classifier of the cells of one object, fitted to its mask in a reference frame.

The proxies of object calibration say what is near a cell; this says which side of a plane it is
on, so it weighs the features that set this object apart from this background. The plane is the
weighted ridge regression (Hoerl and Kennard, 1970) of the share of a cell that the object covers,
where the cells of object and background have equal weight in sum. Nothing of it is trained, and it
is fitted to a prompted mask alone, so it does not drift as masks do.

Shape legend: B objects, L cells, D features.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

_RIDGE = 0.003  # of the regression; 0.001 to 0.01 are as good
# A cell is of the object from this share of the most that it covers of any cell.
_OWN_SHARE = 0.5
_EPS = 1e-6
_NEAR = 4  # cells of a mask's logits


@torch.no_grad()
def fit_classifier(points_BLD: torch.Tensor, shares_BL: torch.Tensor) -> torch.Tensor:
    """Fit the classifiers of B objects.

    Args:
        points_BLD: Features of the cells, float32; a batch of 1 is shared by all.
        shares_BL: Share of each cell that the object covers, 0 to 1.

    Returns:
        (B, D + 1) float32 weights, and bias in the last column.
    """
    share = shares_BL / shares_BL.amax(dim=1, keepdim=True).clamp(min=_EPS)
    mine = (share >= _OWN_SHARE).float()
    weight = 0.5 * (_normalize(mine) + _normalize(1.0 - mine))
    total = weight.sum(dim=1, keepdim=True).clamp(min=_EPS)
    mean = _sum(weight, points_BLD) / total
    target = (weight * share).sum(dim=1, keepdim=True) / total
    scaled = points_BLD * weight.sqrt()[..., None]
    covariance = scaled.transpose(1, 2) @ scaled - mean[:, :, None] * mean[:, None]
    ridge = _RIDGE * torch.eye(points_BLD.shape[2], device=points_BLD.device)
    plane = torch.linalg.solve(covariance + ridge, _sum(weight * (share - target), points_BLD))
    return torch.cat([plane, target - (plane * mean).sum(dim=1, keepdim=True)], dim=1)


def classify(points_BDL: torch.Tensor, classifier: torch.Tensor) -> torch.Tensor:
    """Return (B, L) scores of cells: 1 as the object, 0 as the background, clamped to these.

    Args:
        points_BDL: Features of the cells; a batch of 1 is shared by all.
        classifier: (B, D + 1) from `fit_classifier`.
    """
    plane, bias = classifier[:, None, :-1], classifier[:, -1:]
    return ((plane @ points_BDL)[:, 0] + bias).clamp(0.0, 1.0)


def agreement(scores_BHW: torch.Tensor, masks_BHW: torch.Tensor) -> torch.Tensor:
    """Return the (B,) agreement of masks with the scores in and near them, 0 to 1.

    That is the sum of the smaller of mask and score over that of the larger (the similarity of
    Ruzicka), an IoU of a mask with soft scores. Cells far from the mask do not count, because
    other things may look like the object.

    Args:
        scores_BHW: From `classify`.
        masks_BHW: Bool; an empty mask agrees with nothing, 0.
    """
    mask = masks_BHW.float()
    near = F.max_pool2d(mask[:, None], 2 * _NEAR + 1, stride=1, padding=_NEAR)[:, 0]
    scores = scores_BHW * near
    smaller = torch.minimum(mask, scores).sum(dim=(1, 2))
    return smaller / torch.maximum(mask, scores).sum(dim=(1, 2)).clamp(min=_EPS)


def _normalize(x_BL: torch.Tensor) -> torch.Tensor:
    return x_BL / x_BL.sum(dim=1, keepdim=True).clamp(min=1.0)


def _sum(weight_BL: torch.Tensor, points_BLD: torch.Tensor) -> torch.Tensor:
    """Return (B, D) weighted sums of points."""
    return (weight_BL[:, None] @ points_BLD)[:, 0]
