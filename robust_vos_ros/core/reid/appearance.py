"""Appearance embeddings of masks, and the gallery of embeddings of each object.

An embedding is the mean of fine features and colours over the mask, minus that over the whole
image, which removes most effects of light and weather. A linear map that was fitted with the
calibration (discriminant analysis: Fisher 1936, Rao 1948) then maximizes the variance between
objects relative to that within an object.
"""

from __future__ import annotations

import dataclasses
import hashlib

import torch
import torch.nn.functional as F

from robust_vos_ros.core.errors import SavedTracksError
from robust_vos_ros.core.network.tensors import Features
from robust_vos_ros.core.saving.named_tensors import Tensors, expect
from robust_vos_ros.core.stages import stage

_COLORS = 3
_SQUARE_IN_DISC = 0.6  # half the side of a square that lies in a disc of radius 1
_EPS = 1e-6


@dataclasses.dataclass(frozen=True, slots=True)
class Projection:
    """A linear map to the space in which embeddings are compared.

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


class AppearanceEmbedder:
    """Computes appearance embeddings of masks.

    Args:
        hidden_dim: C of the network, whose high-resolution features have C/8 and C/4 channels.
        device: Device of the features.
        chart: A fitted projection; None = no projection.

    Attributes:
        dim: E, width of an embedding.
        name: Of the projection; embeddings of different projections cannot be compared.
    """

    def __init__(self, hidden_dim: int, device: torch.device, chart: Projection | None) -> None:
        self.dim = feature_map_width(hidden_dim)
        self.name = 'none'
        self._chart = None
        if chart is not None:
            self.dim, self.name = chart.matrix.shape[1], chart.name()
            self._chart = Projection(chart.center.to(device), chart.matrix.to(device))

    @stage('re-identification')
    def embed_masks(self, planes: torch.Tensor, mask_logits: torch.Tensor) -> torch.Tensor:
        """Return the appearance embeddings of masks.

        Args:
            planes: Of the image, from `feature_map`.
            mask_logits: (N, h, w) float32, above 0 is object.

        Returns:
            (N, E) float32 of length 1; 0 where the mask is empty.
        """
        inside = (mask_logits > 0).float().flatten(1)
        return self._compress(average(planes, inside)) * inside.amax(dim=1, keepdim=True)

    def embed_places(self, planes: torch.Tensor, radius: float) -> torch.Tensor:
        """Return the embedding of a square of a given size around each position of an image.

        Args:
            planes: Of the image, from `feature_map`.
            radius: Radius of the object in cells of the planes; the square fits into that disc.

        Returns:
            (h/2, w/2, E) float32 of length 1, for every second row and column.
        """
        reach = max(1, round(radius * _SQUARE_IN_DISC))
        means = F.avg_pool2d(
            planes[None], 2 * reach + 1, stride=2, padding=reach, count_include_pad=False
        )[0]
        return self._compress(means.permute(1, 2, 0))

    def _compress(self, means: torch.Tensor) -> torch.Tensor:
        """Return (..., E) embeddings of (..., D) means."""
        if self._chart is None:
            return _unit(means)
        with torch.autocast(means.device.type, enabled=False):
            return _unit((means - self._chart.center) @ self._chart.matrix)


def feature_map_width(hidden_dim: int) -> int:
    """Return D, the number of channels of `feature_map` for a network of width C."""
    return hidden_dim // 8 + hidden_dim // 4 + _COLORS


@stage('re-identification')
def feature_map(features: Features, image: torch.Tensor) -> torch.Tensor:
    """Return the features and colours that embeddings average, minus their mean over the image.

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
    """Return (N, D) means of (D, h, w) planes, weighted by (N, h * w) shares in [0, 1]."""
    with torch.autocast(planes.device.type, enabled=False):
        return inside @ planes.flatten(1).T / inside.sum(dim=1, keepdim=True).clamp(min=_EPS)


def _unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True).clamp(min=_EPS)


_NUM_CLUSTERS = 16
_NUM_SAMPLES = 256  # maximum number of frames in a gallery
_NUM_VERIFIED = 8  # verified exemplars: the first one and the newest ones
_NUM_ROUNDS = 4  # iterations of Lloyd's algorithm, from the present centers


@dataclasses.dataclass(frozen=True, slots=True)
class Similarities:
    """Similarities of N masks to their objects; NaN = empty gallery or empty mask.

    Attributes:
        similarity: (N,) float32 cosine to the nearest center of the gallery.
        similarity_margin: (N,) `similarity` minus that to the most similar other object, or minus
            0 if that is larger.
        verified: (N,) cosine to the nearest verified exemplar.
    """

    similarity: torch.Tensor
    similarity_margin: torch.Tensor
    verified: torch.Tensor


class Gallery:
    """Embeddings of all objects, one preallocated row per slot.

    A row holds K-means centers of up to 256 confident frames of the object, after the adaptive
    object proxy of "Towards Robust Video Object Segmentation with Adaptive Object Calibration"
    (arXiv 2207.00887, section 3.2), and verified exemplars: the prompted frames and frames shortly
    after them. A frame enters the gallery only if it is similar to a verified exemplar.

    Args:
        capacity: Number of slots.
        dim: E, width of an embedding.
        device: Device of the embeddings.
    """

    def __init__(self, capacity: int, dim: int, device: torch.device) -> None:
        self.centers = torch.zeros(capacity, _NUM_CLUSTERS + 1, dim, device=device)
        self.samples = torch.zeros(capacity, _NUM_SAMPLES, dim, device=device)
        self.counts = torch.zeros(capacity, dtype=torch.int64)
        self.verified = torch.zeros(capacity, _NUM_VERIFIED, dim, device=device)
        self.verified_counts = torch.zeros(capacity, dtype=torch.int64)

    def clear(self, slot: int) -> None:
        """Empty the gallery of an object."""
        self.counts[slot] = self.verified_counts[slot] = 0
        self.verified[slot] = 0.0

    def save(self, slot: int) -> Tensors:
        """Return the tensors of one row, by name."""
        counts = torch.stack([self.counts[slot], self.verified_counts[slot]])
        return {
            'counts': counts,
            'centers': self.centers[slot],
            'samples': self.samples[slot, : min(int(counts[0]), _NUM_SAMPLES)],
            'verified': self.verified[slot],
        }

    def load(self, slot: int, saved: Tensors) -> None:
        """Load one row that another gallery saved.

        Raises:
            SavedTracksError: The tensors are not of a gallery of these sizes.
        """
        counts = expect(saved, 'counts', torch.int64, (2,))
        if int(counts.min()) < 0:
            raise SavedTracksError(f'expected counts of frames, got {counts.tolist()}')
        num_samples = min(int(counts[0]), _NUM_SAMPLES)
        self.counts[slot], self.verified_counts[slot] = counts
        for name, mine in (
            ('centers', self.centers[slot]),
            ('samples', self.samples[slot, :num_samples]),
            ('verified', self.verified[slot]),
        ):
            mine.copy_(expect(saved, name, torch.float32, tuple(mine.shape)))

    def compare_verified(self, slot: int, embedding: torch.Tensor) -> float:
        """Return the cosine to the nearest verified exemplar; 0 if there is none."""
        return float((self.verified[slot] @ embedding).max())

    def learn(self, slot: int, embedding: torch.Tensor, *, verified: bool = False) -> None:
        """Add a frame in which the object is confidently tracked.

        Args:
            slot: Row of the object.
            embedding: (E,) from `AppearanceEmbedder.embed_masks`, of a non-empty mask.
            verified: Whether the object was prompted in this frame or shortly before.
        """
        if verified:
            self._add_verified(slot, embedding)
        count = int(self.counts[slot])
        self.samples[slot, count % _NUM_SAMPLES] = embedding
        self.counts[slot] = count + 1
        samples = self.samples[slot, : min(_NUM_SAMPLES, count + 1)]
        if count < _NUM_CLUSTERS:  # with few frames, each is a center
            self.centers[slot, count:-1] = embedding
        else:
            self._cluster(slot, samples)
        self.centers[slot, -1] = _unit(samples.mean(dim=0))

    def compare(
        self,
        slots: torch.Tensor,
        embeddings: torch.Tensor,
        rivals: torch.Tensor,
        could_be: torch.Tensor,
    ) -> Similarities:
        """Compare masks with the galleries of their objects.

        Args:
            slots: (N,) int64 rows of the objects.
            embeddings: (N, E) from `AppearanceEmbedder.embed_masks`.
            rivals: (M,) int64 rows of all live objects.
            could_be: (N, M) bool, whether the mask can show that object, judged by size.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            cosine = (self.centers[rivals] @ embeddings.T).amax(dim=1).T
            own = (self.centers[slots] @ embeddings[:, :, None])[..., 0].amax(dim=1)
            verified = (self.verified[slots] @ embeddings[:, :, None])[..., 0].amax(dim=1)
        others = (rivals[None] != slots[:, None]) & (self.counts[rivals.cpu()] > 0)[None]
        others = others.to(embeddings.device) & could_be
        rival = torch.where(others, cosine, 0.0).amax(dim=1).clamp(min=0.0)
        shown = (embeddings != 0).any(dim=1)
        known = (self.counts[slots.cpu()] > 0).to(embeddings.device) & shown
        shown &= (self.verified_counts[slots.cpu()] > 0).to(embeddings.device)
        nan = torch.full_like(own, float('nan'))
        return Similarities(
            torch.where(known, own, nan),
            torch.where(known, own - rival, nan),
            torch.where(shown, verified, nan),
        )

    def _add_verified(self, slot: int, embedding: torch.Tensor) -> None:
        count = int(self.verified_counts[slot])
        place = count if count < _NUM_VERIFIED else 1 + (count - 1) % (_NUM_VERIFIED - 1)
        self.verified[slot, place] = embedding
        self.verified_counts[slot] = count + 1

    def _cluster(self, slot: int, samples: torch.Tensor) -> None:
        """Update the centers by K-means over the samples."""
        centers = self.centers[slot, :-1]
        for _ in range(_NUM_ROUNDS):
            with torch.autocast(samples.device.type, enabled=False):
                nearest = (samples @ centers.T).argmax(dim=1)
                member = torch.nn.functional.one_hot(nearest, _NUM_CLUSTERS).to(samples.dtype)
                sums = member.T @ samples
            filled = (member.sum(dim=0) > 0)[:, None]
            centers = torch.where(filled, _unit(sums), centers)
        self.centers[slot, :-1] = centers
