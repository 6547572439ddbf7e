"""Adaptive object proxies: cluster centres of an object and its background in a reference frame.

Xu et al., "Towards Robust Video Object Segmentation with Adaptive Object Calibration" (MM 2022),
section 3.2, equations 1 and 2: the pixels of an object are clustered by K-means at several numbers
of clusters; the centres at each granularity are the proxies that later frames are compared with.
The background is clustered in the same way. Clustering is deterministic and batched.

Shape legend: B objects, C width, L = 2h*2w cells at stride 8, N = h*w cells at stride 16,
K centres.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

_ITERATIONS = 3
_EPS = 1e-6
# A cell belongs to the object from this share of its area; from the largest share if none has it.
_CELL_SHARE = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Proxies:
    """Proxies of B objects in one reference frame each.

    Attributes:
        centers: (B, 2, K, C) float32 cluster centres of object and background, all granularities
            concatenated.
        shares: (B, 2, K) float32, share of the region in each cluster, summing to 1 per
            granularity.
        cells: (B, N, C) float32 features of all cells at stride 16.
        object_cells: (B, N) bool, which of them belong to the object.
        valid: (B,) bool, whether the object is visible; if not, its other fields are 0.
    """

    centers: torch.Tensor
    shares: torch.Tensor
    cells: torch.Tensor
    object_cells: torch.Tensor
    valid: torch.Tensor

    def or_else(self, older: Proxies) -> Proxies:
        """Return these proxies, with `older` ones for objects that are not valid here."""
        fields = (f.name for f in dataclasses.fields(self))
        return Proxies(
            *(_where(self.valid, getattr(self, name), getattr(older, name)) for name in fields)
        )


@dataclasses.dataclass(frozen=True, slots=True)
class References:
    """What B objects are compared with.

    Attributes:
        prompted: Proxies of the newest prompted frame.
        recent: Of the newest frame that shows the object.
        classifier: (B, D + 1) float32, fitted to the newest prompted frame, see
            `object_classifier`; zeros where it does not show the object, D = 0 without classifier.
    """

    prompted: Proxies
    recent: Proxies
    classifier: torch.Tensor


def make_proxies(
    embedded_BCHW: torch.Tensor, logits_B1hw: torch.Tensor, granularities: tuple[int, ...]
) -> Proxies:
    """Compute proxies of objects in their reference frame.

    Args:
        embedded_BCHW: Features at stride 8 of unit length; a batch of 1 is shared by all.
        logits_B1hw: Masks of the objects, above 0 is object.
        granularities: Numbers of clusters, for example 1 and 16.
    """
    height, width = embedded_BCHW.shape[-2:]
    shown = (logits_B1hw > 0).float()
    share = F.interpolate(shown, (height, width), mode='area').flatten(1)
    points = embedded_BCHW.flatten(2).transpose(1, 2)
    weights = torch.stack([share, 1.0 - share], dim=1)
    found = [cluster(points, weights, k) for k in granularities]
    none = points.new_zeros(len(share), 2, 0, points.shape[2])  # without granularities
    centers = torch.cat([none, *(centers for centers, _ in found)], dim=2)
    shares = torch.cat([none[..., 0], *(shares for _, shares in found)], dim=2)
    coarse = F.avg_pool2d(embedded_BCHW, 2).flatten(2).transpose(1, 2)
    area = F.avg_pool2d(share.unflatten(1, (1, height, width)), 2).flatten(1)
    most = area.amax(dim=1, keepdim=True)
    valid = shown.flatten(1).any(dim=1)
    mine = (area >= _CELL_SHARE * most.clamp(max=1.0)) & valid[:, None]
    keep = valid.to(centers.dtype)
    return Proxies(
        centers * keep[:, None, None, None],
        shares * keep[:, None, None],
        coarse.expand(len(share), -1, -1) * keep[:, None, None],
        mine,
        valid,
    )


def _where(condition: torch.Tensor, new: torch.Tensor, old: torch.Tensor) -> torch.Tensor:
    return torch.where(condition.view(-1, *(1,) * (new.ndim - 1)), new, old)


def cluster(
    points_BLC: torch.Tensor, weights_BRL: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cluster R regions of weighted points by K-means (Lloyd, 1982) from evenly spaced centres.

    Gradients flow through the centres, as means of their points, not through assignments.

    Args:
        points_BLC: Points; a batch of 1 is shared by all.
        weights_BRL: At least 0; a row of zeros gives zero centres.
        count: K.

    Returns:
        (B, R, K, C) centres and (B, R, K) shares of the weight; an empty cluster keeps its centre,
        with share 0.
    """
    total = weights_BRL.sum(dim=2, keepdim=True)
    scaled = weights_BRL / total.clamp(min=_EPS)
    if count == 1:
        owner, centers = scaled.unsqueeze(2), torch.zeros((), device=points_BLC.device)
    else:
        with torch.no_grad():
            centers = _spread(points_BLC, scaled, count)
            for _ in range(_ITERATIONS):
                owner = _assign(points_BLC, scaled, centers)
                centers, _ = _means(points_BLC, owner, centers)
            owner = _assign(points_BLC, scaled, centers)
    centers, shares = _means(points_BLC, owner, centers)
    return centers * (total > 0).to(scaled.dtype)[..., None], shares


def _spread(points: torch.Tensor, weights: torch.Tensor, count: int) -> torch.Tensor:
    """Select (B, R, K, C) points evenly spaced in cumulative weight, in the order of the cells."""
    reached = weights.cumsum(dim=2)
    wanted = (torch.arange(count, device=points.device, dtype=weights.dtype) + 0.5) / count
    index = torch.searchsorted(reached, wanted.expand(*weights.shape[:2], -1).contiguous())
    index = index.clamp(max=points.shape[1] - 1)
    if len(points) == 1:
        return points[0][index]
    return points[torch.arange(len(points), device=points.device)[:, None, None], index]


def _assign(points: torch.Tensor, weights: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """Return (B, R, K, L): the weight of each point at its nearest centre, 0 at the others.

    Equally near centres, as in a region with fewer than K cells, all get it.
    """
    offset = 0.5 * centers.square().sum(-1, keepdim=True)
    closeness = _times(centers, points.transpose(1, 2)) - offset
    # Ten times faster than argmax and scatter.
    return (closeness >= closeness.amax(dim=2, keepdim=True)) * weights.unsqueeze(2)


def _means(
    points: torch.Tensor, owner: torch.Tensor, before: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (B, R, K, C) means of the points of each cluster, and (B, R, K) their weight."""
    shares = owner.sum(dim=3)
    means = _times(owner, points) / shares.clamp(min=_EPS)[..., None]
    centers = torch.where((shares > 0)[..., None], means, before)
    return centers, shares / shares.sum(dim=2, keepdim=True).clamp(min=_EPS)


def _times(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Multiply (B, R, K, M) by (B or 1, M, N) in as few products as possible."""
    if len(right) == 1:
        return left @ right[0]
    return (left.flatten(1, 2) @ right).unflatten(1, left.shape[1:3])


_GROUPS = 4  # of group norms


class ConditioningLayer(nn.Module):
    """Pools a map to a vector through a gate for confident cells (equation 8).

    Args:
        width: Channels.
        percentile: Share of the cells that the gate closes.
    """

    def __init__(self, width: int, percentile: float) -> None:
        super().__init__()
        self._percentile = percentile
        self.confidence = nn.Conv1d(width, 1, 1)
        self.mix = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(inplace=True), nn.Linear(width, width)
        )
        self.confidence.bias = nn.Parameter(torch.ones(1))  # initially open

    def forward(
        self, cells_BCL: torch.Tensor, weights_BL: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return (B, C).

        Args:
            cells_BCL: A map, or proxies.
            weights_BL: Weight of each cell in the mean; None = equal.
        """
        confidence = self.confidence(cells_BCL).relu().float()
        rank = max(1, round(self._percentile * confidence.shape[2]))
        threshold = confidence.detach().kthvalue(rank, dim=2, keepdim=True).values
        gated = cells_BCL * (confidence * (confidence >= threshold))
        if weights_BL is None:
            mean = gated.mean(dim=2)
        else:
            total = weights_BL.sum(dim=1, keepdim=True).clamp(min=1.0)
            mean = (gated * weights_BL[:, None]).sum(dim=2) / total
        code: torch.Tensor = self.mix(mean)
        return code


class ResidualBlock(nn.Module):
    """Depth-wise convolution, norm, two point-wise convolutions, and residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width),
            nn.GroupNorm(_GROUPS, width),
            nn.Conv2d(width, 2 * width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(2 * width, width, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        return x + self.body(x)


def max_over_group(
    x: torch.Tensor, group: torch.Tensor | None, is_best: torch.Tensor | None
) -> torch.Tensor:
    """Return for each row the channel-wise maximum over the best rows of its group.

    Args:
        x: (B, C, H, W).
        group: (B,) int64, any numbers; None = all rows are one group.
        is_best: (B,) bool, each group has at least one; None = all rows.
    """
    if group is None:
        if is_best is not None:
            x = x.masked_fill(~is_best[:, None, None, None], float('-inf'))
        return x.amax(dim=0, keepdim=True)
    out = torch.empty_like(x)
    for number in group.unique().tolist():  # over images, not objects
        rows = (group == number).nonzero()[:, 0]
        leading = x[rows] if is_best is None else x[rows[is_best[rows]]]
        most = leading.amax(dim=0, keepdim=True)
        out = out.index_put((rows,), most.expand(len(rows), -1, -1, -1))
    return out
