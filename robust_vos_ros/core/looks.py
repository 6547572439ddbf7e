"""What a masked part of an image looks like: one short vector per mask.

The mean of fine features and colours over the mask, less that of the whole image, which takes most
of the light and the weather out. A linear map fitted with the calibration (discriminant analysis:
Fisher 1936, Rao 1948) then weighs what tells objects apart against what changes on one object.
"""

from __future__ import annotations

import dataclasses
import hashlib

import torch
import torch.nn.functional as F

from robust_vos_ros.core.tensors import Features

_COLORS = 3
_SQUARE_IN_DISC = 0.6  # half the side of a square that lies in a disc of radius 1
_EPS = 1e-6


@dataclasses.dataclass(frozen=True, slots=True)
class LooksMap:
    """Where looks are compared.

    Attributes:
        center: (D,) float32, subtracted first.
        matrix: (D, E) float32.
    """

    center: torch.Tensor
    matrix: torch.Tensor

    def name(self) -> str:
        """Return a hash of the numbers."""
        parts = (self.center, self.matrix)
        data = b''.join(part.cpu().contiguous().numpy().tobytes() for part in parts)
        return hashlib.sha256(data).hexdigest()[:12]


class Looks:
    """Describes masks.

    Args:
        hidden_dim: C of the network, whose finer features are C/8 and C/4 wide.
        device: Where features live.
        chart: A fitted map; None = compare as is.

    Attributes:
        dim: E, length of a description.
        name: Of the map; descriptions of different maps cannot be compared.
    """

    def __init__(self, hidden_dim: int, device: torch.device, chart: LooksMap | None) -> None:
        self.dim = num_measures(hidden_dim)
        self.name = 'none'
        self._chart = None
        if chart is not None:
            self.dim, self.name = chart.matrix.shape[1], chart.name()
            self._chart = LooksMap(chart.center.to(device), chart.matrix.to(device))

    def describe(self, planes: torch.Tensor, mask_logits: torch.Tensor) -> torch.Tensor:
        """Return what masks look like.

        Args:
            planes: Of the image, from `measure`.
            mask_logits: (N, h, w) float32, above 0 is object.

        Returns:
            (N, E) float32 of length 1; 0 where the mask is empty.
        """
        inside = (mask_logits > 0).float().flatten(1)
        return self._compress(average(planes, inside)) * inside.amax(dim=1, keepdim=True)

    def survey(self, planes: torch.Tensor, radius: float) -> torch.Tensor:
        """Return what each place of an image looks like, as if a thing of some size were there.

        Args:
            planes: Of the image, from `measure`.
            radius: Of the things, in cells of the planes; squares that fit into them are used.

        Returns:
            (h/2, w/2, E) float32 of length 1, of every other place.
        """
        reach = max(1, round(radius * _SQUARE_IN_DISC))
        means = F.avg_pool2d(
            planes[None], 2 * reach + 1, stride=2, padding=reach, count_include_pad=False
        )[0]
        return self._compress(means.permute(1, 2, 0))

    def _compress(self, means: torch.Tensor) -> torch.Tensor:
        """Return (..., E) descriptions of (..., D) means."""
        if self._chart is None:
            return _unit(means)
        with torch.autocast(means.device.type, enabled=False):
            return _unit((means - self._chart.center) @ self._chart.matrix)


def num_measures(hidden_dim: int) -> int:
    """Return D, how many numbers `measure` gives for a network of width C."""
    return hidden_dim // 8 + hidden_dim // 4 + _COLORS


def measure(features: Features, image: torch.Tensor) -> torch.Tensor:
    """Return what is compared of an image, less the mean over the image.

    Args:
        features: Of the image.
        image: (S, S, 3) uint8, RGB.

    Returns:
        (D, h, w) float32 at stride 4: C/8 fine features, C/4 middle ones, 3 opponent colours.
    """
    fine, middle = (level[:1].float() for level in features.high_res)
    size = (fine.shape[-2], fine.shape[-1])
    colors = image.to(fine.device).permute(2, 0, 1).float()[None] / 255.0
    red, green, blue = F.adaptive_avg_pool2d(colors, size)[0]
    opponent = torch.stack([red - green, 0.5 * (red + green) - blue, (red + green + blue) / 3.0])
    planes = torch.cat([fine[0], F.interpolate(middle, size)[0], opponent])
    return planes - planes.mean(dim=(1, 2), keepdim=True)


def average(planes: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Return (N, D) means of (D, h, w) planes over (N, h * w) shares of cells, 0 to 1."""
    with torch.autocast(planes.device.type, enabled=False):
        return inside @ planes.flatten(1).T / inside.sum(dim=1, keepdim=True).clamp(min=_EPS)


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=_EPS)
