"""Objects that are out of sight, and candidates for them: which belong together."""

from __future__ import annotations

import dataclasses
import math

import torch

from robust_vos_ros.core.likeness import Scene
from robust_vos_ros.core.masks import much_smaller
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.observation import observe
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.segmenter import Segments
from robust_vos_ros.core.tracking_config import TrackerSettings
from robust_vos_ros.core.types import TrackResult

# A candidate that shares this much of its area with an object in view is that object.
_MAX_SHARED = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Reseeded:
    """What came of candidates.

    Attributes:
        result: Of the newest frame, with all objects.
        accepted: Ids of the objects that were started again.
        rejected: Why each of the other candidates was not believed, in a sentence.
    """

    result: TrackResult
    accepted: tuple[str, ...]
    rejected: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A segmented prompt for an object that is out of sight.

    Attributes:
        segment: Its one mask.
        similarity: How much it looks like the object, see `Observation`.
    """

    item: LiveObject
    segment: Segments
    similarity: float


def judge(
    items: list[LiveObject],
    segments: list[Segments],
    propagator: Propagator,
    scene: Scene,
    settings: TrackerSettings,
    *,
    min_similarity: float,
) -> tuple[list[Candidate], list[str]]:
    """Choose at most one candidate per object, and one object per candidate, by likeness.

    Args:
        items: Object that each prompt is meant for.
        segments: The segmented prompts.
        propagator: Knows the objects.
        scene: The frame they were segmented in.
        settings: Whether looks are verified, and how large a mask may be.
        min_similarity: How alike a candidate has to be.

    Returns:
        The accepted candidates, and why the others are not.
    """
    good, rejected = [], []
    for group in segments:
        owners = [items[row] for row in group.rows]
        alike = propagator.likeness.compare(owners, group.kept.mask_logits[:, 0], scene)
        for place, (item, seen) in enumerate(
            zip(owners, observe(group.kept, alike=alike), strict=True)
        ):
            kept, likeness = group.kept.rows(torch.tensor([place])), seen.similarity
            limit = max(settings.max_coverage, item.prompted_coverage)
            if not 0.0 < seen.coverage <= limit:
                rejected.append(f'{item.object_id!r}: a mask of {seen.coverage:.0%} of the image')
            elif settings.reacquire.verify and likeness < min_similarity:
                rejected.append(f'{item.object_id!r}: likeness {likeness:.2f}')
            else:
                spatial, misfit = group.spatial[place : place + 1], [group.misfit[place]]
                segment = Segments([group.rows[place]], kept, spatial, misfit)
                good.append(Candidate(item, segment, likeness))
    # What is not known to differ counts as just alike enough.
    unknown = min_similarity
    good.sort(key=lambda c: -(unknown if math.isnan(c.similarity) else c.similarity))
    accepted: list[Candidate] = []
    taken = propagator.masks([item for item in scene.live if item.visible])
    for candidate in good:
        mask = candidate.segment.kept.mask_logits[:, 0]
        if any(candidate.item is other.item for other in accepted):
            rejected.append(f'{candidate.item.object_id!r}: another candidate is more alike')
        elif _shared(mask[0], taken) > _MAX_SHARED:
            rejected.append(f'{candidate.item.object_id!r}: this is another object')
        else:
            accepted.append(candidate)
            taken = torch.cat([taken, mask])
    return accepted, rejected


def _shared(mask: torch.Tensor, taken: torch.Tensor) -> float:
    """Return the largest share of a mask's area that one of (N, h, w) others covers.

    Others that are much larger do not count: it lies in front of them.
    """
    inside = mask > 0
    area = inside.float().sum()
    behind = much_smaller(area[None], (taken > 0).float().sum(dim=(1, 2)))[0]
    covered = ((taken > 0) & inside).float().sum(dim=(1, 2))[~behind]
    return float(covered.max() / area) if len(covered) else 0.0
