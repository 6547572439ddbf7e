"""Galleries of objects: what each looks like, and how similar a mask is to it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.masks import much_smaller
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.objects import LiveObject, slots_of
from robust_vos_ros.core.reid.appearance import AppearanceEmbedder, Gallery, Similarities
from robust_vos_ros.core.stages import stage
from robust_vos_ros.core.types import ObjectState

_LEARN_EVERY_S = 0.5  # minimum time between frames that enter a gallery
_LEARN_MIN_CONFIDENCE = 0.75
_LEARN_AFTER_S = 3.0  # after reacquisition: most false ones end before
_VERIFIED_S = 1.75  # masks up to this time after a prompt count as verified
_MEAN_RATE = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A frame and all live objects.

    Attributes:
        planes: Of the image, from `feature_map`.
        live: All objects, tracked into this frame.
    """

    planes: torch.Tensor
    live: list[LiveObject]


class Reidentifier:
    """Compares masks with all objects, and updates their galleries.

    Args:
        model: The network, with the projection of embeddings.
        capacity: Number of slots.
    """

    def __init__(self, model: Model, capacity: int) -> None:
        self.embedder = AppearanceEmbedder(model.hidden_dim, model.device, model.projection)
        self.gallery = Gallery(capacity, self.embedder.dim, model.device)

    def start(self, item: LiveObject, embedding: torch.Tensor, stamp_ns: int) -> None:
        """Add a prompted object's embedding as a verified exemplar."""
        self.gallery.learn(item.slot, embedding, verified=True)
        item.reid.learned_ns = item.reid.verified_ns = stamp_ns

    @stage('re-identification')
    def learn(
        self,
        items: Sequence[LiveObject],
        embeddings: torch.Tensor,
        stamp_ns: int,
        min_similarity: float,
    ) -> None:
        """Add confident frames to the galleries, at most one per half second and object.

        Args:
            items: N objects.
            embeddings: (N, E) of their masks.
            stamp_ns: Of the frame.
            min_similarity: Minimum similarity to a verified exemplar, so that a mask that drifted
                to another object does not enter the gallery.
        """
        for item, embedding in zip(items, embeddings, strict=True):
            if not _may_learn(item, stamp_ns):
                continue
            verified_ns = item.reid.verified_ns
            shown = verified_ns is not None and stamp_ns - verified_ns <= _VERIFIED_S * 1e9
            if not shown and self.gallery.compare_verified(item.slot, embedding) < min_similarity:
                continue
            _update_mean_similarity(item)
            self.gallery.learn(item.slot, embedding, verified=shown)
            item.reid.learned_ns = stamp_ns

    def compare(
        self, items: Sequence[LiveObject], mask_logits: torch.Tensor, scene: Scene
    ) -> Similarities:
        """Compare (N, h, w) masks with N objects, see `Gallery.compare`."""
        embeddings = self.embedder.embed_masks(scene.planes, mask_logits)
        return self.compare_embeddings(slots_of(items), embeddings, mask_logits, scene.live)

    @stage('re-identification')
    def compare_embeddings(
        self,
        slots: np.ndarray,
        embeddings: torch.Tensor,
        mask_logits: torch.Tensor,
        live: Sequence[LiveObject],
    ) -> Similarities:
        """Compare (N, E) embeddings of (N, h, w) masks with the objects of N slots."""
        areas = (mask_logits > 0).float().mean(dim=(1, 2))
        mean = torch.tensor([item.memory.mean_coverage for item in live], device=areas.device)
        could_be = ~(much_smaller(areas, mean) | much_smaller(mean, areas).T)
        own, rivals = torch.from_numpy(slots), torch.from_numpy(slots_of(live))
        return self.gallery.compare(own, embeddings, rivals, could_be)


def _may_learn(item: LiveObject, stamp_ns: int) -> bool:
    """Whether the object is confidently tracked, and the last learned frame is old enough."""
    track, reid = item.track, item.reid
    back_ns = reid.reacquired_ns
    return (
        (back_ns is None or (stamp_ns - back_ns) / 1e9 >= _LEARN_AFTER_S)
        and not track.changed
        and track.state == ObjectState.TRACKED
        and item.memory.updated
        and track.confidence >= _LEARN_MIN_CONFIDENCE
        and abs(stamp_ns - reid.learned_ns) / 1e9 >= _LEARN_EVERY_S
    )


def _update_mean_similarity(item: LiveObject) -> None:
    """Update the running mean of the similarity of an object."""
    similarity = item.track.evidence.similarity if item.track.evidence else math.nan
    if math.isnan(similarity):
        return
    known = not math.isnan(item.reid.mean_similarity)
    mean = item.reid.mean_similarity if known else similarity
    mean += _MEAN_RATE * (similarity - mean)
    item.reid.mean_similarity = max(-1.0, min(1.0, mean))  # of rounding
