"""Association of candidates (segmented prompts) with unseen objects, by appearance."""

from __future__ import annotations

import dataclasses
import math

import torch

from robust_vos_ros.core.confidence.evidence import observe
from robust_vos_ros.core.masks import much_smaller
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.prompting.segmentation import Segments
from robust_vos_ros.core.reid.reidentifier import Reidentifier, Scene
from robust_vos_ros.core.tracking_settings import TrackerSettings

# A candidate of whose area this share lies on a visible object is taken to be that object.
_MAX_SHARED = 0.5


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
