"""Adaptive object calibration: similarities to object proxies, calibrated per object.

Xu et al., "Towards Robust Video Object Segmentation with Adaptive Object Calibration" (MM 2022):
proto-maps from similarities to proxies (equation 7), condition codes that set an object apart from
the others of its image (equations 5 and 8), and the conditional decoder (equation 6), cascaded.
Here the result is not a mask: it enters SAM 2's mask decoder as a dense prompt at stride 16 and is
added to the high-resolution features at stride 8.

Beside these, a linear classifier (`object_classifier`), which is fitted to the prompted frame,
gives a map of its own. It works on the outputs of the image trunk, not on what the calibration
learns.

Shape legend: B objects, R reference frames, C width, D features of the classifier, H, W = 2h, 2w
cells at stride 8, L = H*W, N = h*w cells at stride 16.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from robust_vos_ros.core.network.object_classifier import classify, fit_classifier
from robust_vos_ros.core.network.object_proxies import (
    ConditioningLayer,
    Proxies,
    References,
    ResidualBlock,
    make_proxies,
    max_over_group,
)
from robust_vos_ros.core.network.tensors import Features
from robust_vos_ros.core.settings import Settings, setting

NUM_REFERENCES = 2  # the newest prompted and the newest visible frame
_REGIONS = 2  # object and background
_FAR = 4.0  # larger than the distance of any two unit vectors


class CalibrationSettings(Settings):
    """Size and parts of the object calibration of a model."""

    width: int = setting(32, 'Channels.', ge=8, le=256, multiple_of=8)
    granularities: list[int] = setting(
        [1, 16], 'Numbers of K-means clusters of object proxies; none = no clusters.'
    )
    pixel_proxies: bool = setting(True, 'Whether every cell of a reference is a proxy as well.')
    classifier: bool = setting(
        True, 'Whether a linear classifier is fitted to the object in its prompted frame.'
    )
    classifier_weight: float = setting(
        0.5,
        'Weight of the score of the classifier, -1 for background to 1 for the object, in its sum '
        'with mask logits.',
        ge=0.0,
        le=10.0,
    )
    cascades: int = setting(
        2, 'Rounds of discriminative calibration and conditional decoding.', ge=0, le=4
    )
    gate_percentile: float = setting(
        0.5, 'Share of cells that the confidence gate of equation 8 closes.', ge=0.0, lt=1.0
    )


@dataclasses.dataclass(frozen=True, slots=True)
class DensePrompt:
    """Output of the calibration for B objects.

    Attributes:
        coarse: (B, hidden, h, w), added to the dense prompt at stride 16.
        fine: (B, hidden/4, H, W), added to the high-resolution features at stride 8.
        scores: (B, 1, 4h, 4w) float32 of the classifier, 0 to 1; all 0.5 without one. The decoder
            adds them to mask logits.
        calibrated: (B, C, H, W) calibrated proto-maps; training predicts an auxiliary mask from
            them.
    """

    coarse: torch.Tensor
    fine: torch.Tensor
    scores: torch.Tensor
    calibrated: torch.Tensor


class ObjectCalibration(nn.Module):
    """The trained modules of the calibration.

    Args:
        settings: Size and parts.
        hidden_dim: Channels of the image features at stride 16; at stride 8 a quarter.
        trunk_dims: Channels of the image trunk at strides 8 and 16, for the classifier.

    Attributes:
        embedded_dim: C + D, channels of what `embed` returns.
    """

    def __init__(
        self, settings: CalibrationSettings, hidden_dim: int, trunk_dims: tuple[int, int]
    ) -> None:
        super().__init__()
        width, fine_dim = settings.width, hidden_dim // 4
        self.settings = settings
        self.granularities = tuple(settings.granularities)
        self.embed_fine = nn.Conv2d(fine_dim, width, 1)
        self.embed_coarse = nn.Conv2d(hidden_dim, width, 1)
        num_levels = len(self.granularities) + settings.pixel_proxies
        self.num_maps = NUM_REFERENCES * _REGIONS * num_levels
        # Rate, before softplus, at which similarity falls with distance, per map.
        self.sharpness = nn.Parameter(torch.full((self.num_maps,), 2.0))
        self.embedded_dim = width + settings.classifier * sum(trunk_dims)
        # Similarities, the previous mask, scores of the classifier.
        self.join_maps = nn.Conv2d(self.num_maps + 1 + settings.classifier, width, 1)
        self.join_features = nn.Conv2d(hidden_dim, width, 1)
        self.ensemble = ResidualBlock(width)
        self.calibrators = nn.ModuleList(
            ObjectCalibrator(width, settings) for _ in range(settings.cascades)
        )
        self.decoders = nn.ModuleList(ResidualBlock(width) for _ in range(settings.cascades))
        self.rejoin = nn.Conv2d(2 * width, width, 1) if settings.cascades else None
        self.to_coarse = nn.Conv2d(width, hidden_dim, 2, stride=2)
        self.to_fine = nn.Conv2d(width, fine_dim, 1)
        for layer in (self.to_coarse, self.to_fine):  # without training, outputs are zero
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def embed(self, features: Features) -> torch.Tensor:
        """Return (B, C + D, H, W) float32 features for similarities and for the classifier.

        The first C channels have unit length, and those of the two stages of the trunk as well.
        """
        fine, coarse = features.high_res[1], features.pix
        up = _enlarge(self.embed_coarse(coarse))
        parts = [F.normalize((self.embed_fine(fine) + up).float(), dim=1)]
        if self.settings.classifier:
            assert features.stages is not None, 'an encoder in torch made the features'
            middle, deep = features.stages[1:3]
            with torch.no_grad():
                parts += [F.normalize(x.float(), dim=1) for x in (middle, _enlarge(deep))]
        return torch.cat(parts, dim=1)

    def _split(self, embedded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the C and the D channels."""
        width = self.settings.width
        return embedded[:, :width], embedded[:, width:]

    def proxies(self, embedded: torch.Tensor, logits: torch.Tensor) -> Proxies:
        """Compute proxies of objects in a reference frame.

        Args:
            embedded: (B or 1, C + D, H, W) from `embed`.
            logits: (B, 1, 4h, 4w) masks, above 0 is object.
        """
        with torch.autocast(embedded.device.type, enabled=False):
            return make_proxies(self._split(embedded)[0], logits.float(), self.granularities)

    def start(self, embedded: torch.Tensor, logits: torch.Tensor) -> References:
        """Return the references of objects in their prompted frame; arguments as `proxies`."""
        found = self.proxies(embedded, logits)
        return References(found, found, self._fit(embedded, logits))

    def separate(self, embedded: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Return what the classifier of each mask says of the image that it is fitted to.

        Args:
            embedded: (B or 1, C + D, H, W) from `embed`.
            logits: (B, 1, 4h, 4w) masks, above 0 is object.

        Returns:
            (B, 1, 4h, 4w) float32 scores, 0 to 1; all 0.5 without the classifier.
        """
        if not self.settings.classifier:
            return torch.full_like(logits, 0.5)
        described = self._split(embedded)[1]
        with torch.autocast(embedded.device.type, enabled=False):
            scores = classify(described.flatten(2), self._fit(embedded, logits))
        return _enlarge(scores.unflatten(1, (1, *embedded.shape[-2:])))

    def _fit(self, embedded: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Return the (B, D + 1) classifiers of masks; arguments as for `separate`."""
        points = self._split(embedded)[1].flatten(2).transpose(1, 2)
        shares = F.interpolate((logits > 0).float(), embedded.shape[-2:], mode='area').flatten(1)
        with torch.autocast(embedded.device.type, enabled=False):
            return fit_classifier(points, shares)

    def forward(
        self,
        embedded: torch.Tensor,
        pix: torch.Tensor,
        references: References,
        previous: torch.Tensor,
        *,
        group: torch.Tensor | None = None,
        is_best: torch.Tensor | None = None,
    ) -> DensePrompt:
        """Calibrate B objects in their images.

        Args:
            embedded: (B or 1, C + D, H, W) from `embed`.
            pix: (B, hidden, h, w) memory-conditioned features.
            references: Of the B objects.
            previous: (B, 1, 4h, 4w) mask logits of the previous frame.
            group: (B,) int64 image of each object; objects of one image are separated. None = one
                image.
            is_best: (B,) bool, the rows that other objects are compared with, the best hypothesis
                of each; None = all.
        """
        embedded, described = self._split(embedded)
        proxies = references.prompted, references.recent
        size = embedded.shape[-2:]
        shown = F.interpolate(previous.float().sigmoid(), size, mode='area')
        found = [self.similarities(embedded, proxies), shown]
        large = torch.full_like(previous, 0.5, dtype=torch.float32)
        if self.settings.classifier:
            with torch.autocast(described.device.type, enabled=False):
                scores = classify(described.flatten(2), references.classifier)
            found.append(scores.unflatten(1, (1, *size)))
            large = _enlarge(found[-1])
        maps = torch.cat(found, dim=1)
        context = embedded + _enlarge(self.join_features(pix))
        context = context.contiguous(memory_format=torch.channels_last)
        maps = maps.contiguous(memory_format=torch.channels_last)
        proto = self.ensemble(self.join_maps(maps) + context)
        for index, (calibrator, decoder) in enumerate(
            zip(self.calibrators, self.decoders, strict=True)
        ):
            code = calibrator(proto, proxies, group, is_best)
            proto = proto + proto * code[:, :, None, None]
            if index == len(self.decoders) - 1:  # low-level features again
                assert self.rejoin is not None, 'cascades need it'
                proto = proto + self.rejoin(torch.cat([proto, context], dim=1))
            proto = decoder(proto)
        return DensePrompt(self.to_coarse(proto), self.to_fine(proto), large, proto)

    def similarities(self, embedded: torch.Tensor, references: Sequence[Proxies]) -> torch.Tensor:
        """Return (B, maps, H, W) float32 similarities to the nearest proxy, 0 to 1; equation 7."""
        count, size = len(references[0].valid), embedded.shape[-2:]
        if not self.num_maps:
            return embedded.new_zeros(count, 0, *size)
        points = embedded.flatten(2)
        if len(points) == 1:
            points = points[0]
        closeness = [c for reference in references for c in self._closeness(points, reference)]
        with torch.autocast(embedded.device.type, enabled=False):
            distances = 2.0 - 2.0 * torch.stack(closeness, dim=1).float()
            rate = F.softplus(self.sharpness)[None, :, None]
            valid = torch.stack([reference.valid for reference in references], dim=1)
            per_reference = self.num_maps // len(references)
            known = valid.repeat_interleave(per_reference, dim=1)[..., None]
            return (torch.exp(-rate * distances.clamp(min=0.0)) * known).unflatten(2, size)

    def _closeness(self, points: torch.Tensor, reference: Proxies) -> list[torch.Tensor]:
        """Return (B, L) closeness to the nearest proxy, per granularity and region.

        Closeness is 1 - d^2 / 2 of the Euclidean distance d.

        Args:
            points: (B, C, L), or (C, L) shared by all objects; of unit length.
            reference: The proxies.
        """
        found, first = [], 0
        for count in self.granularities:
            centers = reference.centers[:, :, first : first + count].flatten(1, 2)
            shares = reference.shares[:, :, first : first + count].flatten(1, 2)
            # |x - c|^2 = 1 + |c|^2 - 2 x c, with |x| = 1
            offset = 0.5 - 0.5 * centers.square().sum(-1)
            offset = torch.where(shares > 0, offset, -_FAR)[..., None]
            closeness = (centers @ points + offset).unflatten(1, (_REGIONS, count))
            found += list(_Nearest.apply(closeness, 2).unbind(dim=1))
            first += count
        if self.settings.pixel_proxies:
            closeness = reference.cells @ points
            mine = reference.object_cells[..., None].to(closeness.dtype)
            found.append(_Nearest.apply(closeness - _FAR * (1.0 - mine), 1))
            found.append(_Nearest.apply(closeness - _FAR * mine, 1))
        return found


class ObjectCalibrator(nn.Module):
    """Discriminative object calibration (equation 5): a condition code per object.

    Args:
        width: Channels.
        settings: Parts of the calibration.
    """

    def __init__(self, width: int, settings: CalibrationSettings) -> None:
        super().__init__()
        self.of_object = ConditioningLayer(width, settings.gate_percentile)
        self.of_others = ConditioningLayer(width, settings.gate_percentile)
        self.uses_proxies = bool(settings.granularities)
        if self.uses_proxies:
            self.of_proxies = ConditioningLayer(width, settings.gate_percentile)
        self.aggregate = nn.Conv2d(width, width, 1)
        parts = 2 + self.uses_proxies
        self.mix = nn.Sequential(
            nn.Linear(parts * width, width), nn.ReLU(inplace=True), nn.Linear(width, width)
        )

    def forward(
        self,
        proto: torch.Tensor,
        references: Sequence[Proxies],
        group: torch.Tensor | None,
        is_best: torch.Tensor | None,
    ) -> torch.Tensor:
        """Return (B, C) codes; arguments as in `ObjectCalibration.forward`."""
        others = max_over_group(self.aggregate(proto), group, is_best) - proto
        codes = [self.of_object(proto.flatten(2)), self.of_others(others.flatten(2))]
        if self.uses_proxies:
            centers = torch.cat([r.centers[:, 0] for r in references], dim=1).transpose(1, 2)
            shares = torch.cat([r.shares[:, 0] for r in references], dim=1)
            codes.append(self.of_proxies(centers, shares))
        return self.mix(torch.cat(codes, dim=1))


class _Nearest(torch.autograd.Function):
    """`amax` over one axis; its gradient goes undivided to all maxima.

    The gradient of torch's `amax` counts ties first, which takes longer than the rest of the
    calibration.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, axis: int) -> torch.Tensor:
        nearest = x.amax(dim=axis)
        ctx.save_for_backward(x, nearest)
        ctx.axis = axis
        return nearest

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, nearest = ctx.saved_tensors
        return grad.unsqueeze(ctx.axis) * (x == nearest.unsqueeze(ctx.axis)), None


def _enlarge(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x.float(), scale_factor=2.0, mode='bilinear', align_corners=False)
