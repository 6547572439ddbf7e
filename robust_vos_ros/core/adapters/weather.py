"""Tell from statistics of an image whether it is corrupted, before it is encoded.

An adapter of the image encoder costs accuracy on clean images. With this it is used only on images
that look corrupted. The statistics do not depend on the network, so that the decision does not
depend on the adapter that it switches.

Shape legend: B images, S side in pixels, K statistics.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

NUM_STATISTICS = 31
_WIDTH = 32
_SMALLEST = 0.1  # grey levels
_STEP = 4  # every n-th row is looked at


def image_statistics(images: torch.Tensor) -> torch.Tensor:
    """Return statistics of colours, and of details at three scales.

    Means and deviations of colours, brightness of the darkest channel and saturation tell fog,
    snow and light; size and sparseness of second differences tell noise (everywhere)
    from edges, those of first differences along and across tell blur.

    Args:
        images: (B, S, S, 3) uint8, RGB.

    Returns:
        (B, 31) float32.
    """
    x = images.permute(0, 3, 1, 2).float()
    thin = x[..., ::2, ::2]
    low, high = thin.amin(dim=1), thin.amax(dim=1)
    found = [thin.mean(dim=(2, 3)), thin.std(dim=(2, 3))]
    found += [torch.stack([f(dim=(1, 2)) for v in (low, high - low) for f in (v.mean, v.std)], 1)]
    planes = torch.stack([x[:, 1], x[:, 0] - x[:, 1], x[:, 2] - x[:, 1]], dim=1)
    for scale in range(3):
        if scale:
            planes = F.avg_pool2d(planes, 2)
        rows, next_rows = planes[..., ::_STEP, :], planes[..., 1::_STEP, :]
        across, along = rows.diff(dim=3), next_rows - rows
        second = across.diff(dim=3).abs()
        size = second.mean(dim=(2, 3)) + _SMALLEST
        sparse = second[:, :1].sqrt().mean(dim=(2, 3)).square() / size[:, :1]
        steps = [v[:, 0].abs().mean(dim=(1, 2)) + _SMALLEST for v in (across, along)]
        found += [size.log(), sparse, torch.stack(steps, 1).log(), (steps[0] / steps[1])[:, None]]
    return torch.cat(found, dim=1)


class WeatherSwitch(nn.Module):
    """Logit of an image being corrupted, from its statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(NUM_STATISTICS, affine=False, momentum=0.03),
            nn.Linear(NUM_STATISTICS, _WIDTH),
            nn.ReLU(),
            nn.Linear(_WIDTH, _WIDTH),
            nn.ReLU(),
            nn.Linear(_WIDTH, 1),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (B, S, S, 3) uint8 images to (B,) logits; above 0 is corrupted."""
        with torch.autocast(images.device.type, enabled=False):
            return self.layers(image_statistics(images))[:, 0]
