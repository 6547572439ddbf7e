"""Association of masks with objects by appearance.

Compares masks with the galleries of objects, suppresses duplicates (two objects with the same
mask), and associates candidates with unseen objects.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.confidence.calibration import Evidence
from robust_vos_ros.core.confidence.evidence import Observation, observe
from robust_vos_ros.core.masks import mask_iou, much_smaller
from robust_vos_ros.core.memory.hypotheses import KeptHypotheses
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.objects import LiveObject, slots_of
from robust_vos_ros.core.reid.appearance import AppearanceEmbedder, Gallery, Similarities
from robust_vos_ros.core.segmentation import Segments
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import ObjectState, TrackResult

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


_VISIBLE_BONUS = 0.2  # added to the similarity of an object that was visible in the previous frame
_HIDDEN_SCORE = -1.0  # object score of a mask that belongs to another object


def suppress_duplicates(
    model: Model,
    alive: KeptHypotheses,
    seen: list[Observation],
    duplicate_iou: float,
    items: Sequence[LiveObject],
    *,
    resting: Sequence[LiveObject],
    resting_logits: torch.Tensor,
) -> list[Observation]:
    """Suppress the masks of objects that duplicate another object.

    Args:
        model: Provides mask and pointer of an absent object.
        alive: All hypotheses; the masks of suppressed objects are replaced.
        seen: Observation of each.
        duplicate_iou: As in `find_duplicates`.
        items: N objects, with their state in the previous frame.
        resting: M visible objects that were not tracked into this frame; they keep their masks.
        resting_logits: (M, h, w) their last masks.

    Returns:
        The observations after suppression.
    """
    first = np.flatnonzero(alive.ranks == 0)
    masks = torch.cat([alive.kept.mask_logits[torch.from_numpy(first), 0], resting_logits]) > 0
    lost = find_duplicates(
        masks,
        [*(seen[row] for row in first), *(item.track.evidence for item in resting)],
        duplicate_iou,
        [item.track.visible for item in (*items, *resting)],
    )[: len(items)]
    if not lost.any():
        return seen
    stays = np.ones(len(seen), bool)
    stays[first[lost]] = False
    here = torch.from_numpy(stays).to(model.device)
    hidden = model.suppress_absent(alive.kept, here)
    scores = torch.where(here, hidden.object_scores, _HIDDEN_SCORE)
    alive.kept = dataclasses.replace(hidden, object_scores=scores)
    return [
        one if stay else dataclasses.replace(one, object_score=_HIDDEN_SCORE, coverage=0.0)
        for one, stay in zip(seen, stays, strict=True)
    ]


def find_duplicates(
    masks: torch.Tensor,
    seen: Sequence[Observation | Evidence | None],
    duplicate_iou: float,
    visible: Sequence[bool],
) -> np.ndarray:
    """Return the objects whose mask duplicates that of an object with a better score.

    Args:
        masks: (N, h, w) bool, one per object.
        seen: Observation or evidence of each; None = unknown.
        duplicate_iou: Minimum IoU of two masks that show the same object; 1 = off.
        visible: Whether each was visible in the previous frame, which raises its score slightly.

    Returns:
        (N,) bool.
    """
    lost = np.zeros(len(seen), bool)
    if len(seen) < 2 or duplicate_iou >= 1.0:
        return lost
    alike = mask_iou(masks[:, None], masks[None]).numpy(force=True) >= duplicate_iou
    same = alike & masks.flatten(1).any(dim=1).numpy(force=True)  # empty masks duplicate nothing
    scores = [
        _duplicate_score(one) + _VISIBLE_BONUS * here
        for one, here in zip(seen, visible, strict=True)
    ]
    order = np.argsort(-np.array(scores), kind='stable')
    for place, index in enumerate(order):
        better = [other for other in order[:place] if not lost[other]]
        lost[index] = bool(same[index, better].any())
    return lost


def _duplicate_score(seen: Observation | Evidence | None) -> float:
    if seen is None:
        return 1.0
    similarity = 1.0 if math.isnan(seen.similarity) else seen.similarity
    return similarity + 0.1 * seen.iou  # similarity decides; predicted IoU breaks ties


# A candidate of whose area this share lies on a visible object is taken to be that object.
_MAX_SHARED = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Reinitialization:
    """Result of `VideoTracker.reinitialize`.

    Attributes:
        result: Of the newest frame, with all objects.
        accepted: Ids of the objects that were re-initialized.
        rows: Indices of the accepted prompts.
        rejected: Reason for each rejected candidate, a sentence each.
    """

    result: TrackResult
    accepted: tuple[str, ...]
    rows: tuple[int, ...]
    rejected: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A segmented prompt for an unseen object.

    Attributes:
        segment: Its mask.
        similarity: Similarity to the object, see `Observation`.
    """

    item: LiveObject
    segment: Segments
    similarity: float


def associate(
    items: list[LiveObject],
    segments: list[Segments],
    reidentifier: Reidentifier,
    scene: Scene,
    settings: TrackerSettings,
    *,
    shown: torch.Tensor,
    min_similarity: float,
) -> tuple[list[Candidate], list[str]]:
    """Associate candidates with objects one to one, by similarity.

    Args:
        items: Object of each prompt.
        segments: The segmented prompts.
        reidentifier: Compares masks with objects.
        scene: The frame they were segmented in.
        settings: Whether appearance is verified, and the maximum size of a mask.
        shown: (K, h, w) logits of the visible objects.
        min_similarity: Minimum similarity (cosine) of a candidate.

    Returns:
        The accepted candidates, and the reasons for rejecting the others.
    """
    good, rejected = _check_candidates(
        items, segments, reidentifier, scene, settings, min_similarity=min_similarity
    )
    # A candidate of unknown similarity ranks as if at the threshold.
    unknown = min_similarity
    good.sort(key=lambda c: -(unknown if math.isnan(c.similarity) else c.similarity))
    accepted: list[Candidate] = []
    for candidate in good:
        mask = candidate.segment.kept.mask_logits[:, 0]
        if any(candidate.item is other.item for other in accepted):
            rejected.append(f'{candidate.item.object_id!r}: another candidate is more similar')
        elif _max_covered(mask[0], shown) > _MAX_SHARED:
            rejected.append(f'{candidate.item.object_id!r}: the mask is that of another object')
        else:
            accepted.append(candidate)
            shown = torch.cat([shown, mask])
    return accepted, rejected


def _check_candidates(
    items: list[LiveObject],
    segments: list[Segments],
    reidentifier: Reidentifier,
    scene: Scene,
    settings: TrackerSettings,
    *,
    min_similarity: float,
) -> tuple[list[Candidate], list[str]]:
    """Accept or reject each candidate independently; arguments and results as of `associate`."""
    good, rejected = [], []
    for group in segments:
        owners = [items[row] for row in group.rows]
        similarities = reidentifier.compare(owners, group.kept.mask_logits[:, 0], scene)
        for place, (item, seen) in enumerate(
            zip(owners, observe(group.kept, similarities=similarities), strict=True)
        ):
            kept, similarity = group.kept.rows(torch.tensor([place])), seen.similarity
            limit = max(settings.max_coverage, item.reference.prompted_coverage)
            if not 0.0 < seen.coverage <= limit:
                rejected.append(f'{item.object_id!r}: the mask covers {seen.coverage:.0%}')
            elif settings.reacquire.verify and similarity < min_similarity:
                rejected.append(f'{item.object_id!r}: similarity {similarity:.2f}')
            else:
                spatial, misfit = group.spatial[place : place + 1], [group.misfit[place]]
                segment = Segments([group.rows[place]], kept, spatial, misfit)
                good.append(Candidate(item, segment, similarity))
    return good, rejected


def _max_covered(mask: torch.Tensor, taken: torch.Tensor) -> float:
    """Return the largest share of a mask's area that one of (N, h, w) others covers.

    Masks that are much larger are ignored: the mask lies in front of them.
    """
    inside = mask > 0
    area = inside.float().sum()
    behind = much_smaller(area[None], (taken > 0).float().sum(dim=(1, 2)))[0]
    covered = ((taken > 0) & inside).float().sum(dim=(1, 2))[~behind]
    return float(covered.max() / area) if len(covered) else 0.0
