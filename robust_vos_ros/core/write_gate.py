"""Which frames an object remembers: those that show it well, and a few beside look-alikes."""

from __future__ import annotations

import torch

from robust_vos_ros.core.confidence import covers_image
from robust_vos_ros.core.masks import much_smaller
from robust_vos_ros.core.objects import USUAL_RATE, LiveObject
from robust_vos_ros.core.observation import Observation
from robust_vos_ros.core.tracking_config import GateSettings, TrackerSettings

_SIMILAR_AREA = 0.2  # of an anchor's mask to the usual one
# What is written in place of another object's pixels: surely not this object.
_OTHER_LOGIT = -10.0


def admits(item: LiveObject, seen: Observation, stamp_ns: int, settings: GateSettings) -> bool:
    """Whether the frame just judged enters the memory of an object that has one pathway.

    Args:
        item: The object, brought to this frame by `confidence.update`.
        seen: What the network said of it.
        stamp_ns: Time of the frame.
        settings: When to admit; with `min_confidence`, `min_quality` and `min_iou` 0 everything
            is admitted.
    """
    if item.changed or not _shows(seen, settings) or seen.iou < settings.min_quality:
        return False
    if not settings.min_confidence:
        return True
    if _jumped(item, stamp_ns, settings):
        return False
    usual = settings.relative * item.usual_confidence
    return item.visible and item.confidence >= min(settings.min_confidence, usual)


def admits_branch(
    item: LiveObject, seen: Observation, stamp_ns: int, settings: TrackerSettings
) -> bool:
    """Whether a frame enters the memory of one pathway among several (SAM2Long, section 3.3).

    How sure the object is does not matter here: that is what the pathways are to find out.
    """
    if item.changed or not _shows(seen, settings.gate):
        return False
    if not settings.gate.min_confidence:
        return True
    return not covers_image(item, seen, settings) and not _jumped(item, stamp_ns, settings.gate)


def _shows(seen: Observation, settings: GateSettings) -> bool:
    """Whether the network says that a frame shows the object."""
    if not settings.min_iou:
        return True
    return seen.object_score > 0.0 and seen.iou >= settings.min_iou


def _jumped(item: LiveObject, stamp_ns: int, settings: GateSettings) -> bool:
    """Whether the area of the mask jumped a moment ago."""
    return 0 <= (stamp_ns - item.jumped_ns) / 1e9 < settings.area_jump_hold_s


def is_anchor(item: LiveObject, seen: Observation, stamp_ns: int, settings: GateSettings) -> bool:
    """Whether an admitted frame shows the object well while something alike is in view."""
    return (
        settings.anchors > 0
        and settings.min_confidence > 0.0
        and seen.iou >= settings.anchor_min_iou
        and seen.agreement <= settings.anchor_max_agreement
        and abs(seen.coverage - item.usual_coverage) <= _SIMILAR_AREA * item.usual_coverage
        and abs(stamp_ns - item.anchored_ns) / 1e9 >= settings.anchor_interval_s
    )


def learn_usual(item: LiveObject, seen: Observation) -> None:
    """Let an admitted frame move what is usual for an object."""
    item.usual_coverage += USUAL_RATE * (seen.coverage - item.usual_coverage)


def exclude_others(logits: torch.Tensor, owners: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """Take from each mask the pixels that another object of its size claims more strongly.

    Of what lies in front of something much larger neither loses pixels.

    Args:
        logits: (B, h, w) float32 masks of pathways.
        owners: (B,) int64 object of each.
        best: (N, h, w) float32 masks of the objects, as published.
    """
    areas = (best > 0).float().sum(dim=(1, 2))
    smaller = much_smaller(areas, areas)
    competes = ~(smaller | smaller.T)
    competes.fill_diagonal_(False)
    cut = logits.clone()
    for row, owner in enumerate(owners.tolist()):
        rivals = best[competes[owner]]
        if len(rivals):
            lost = (logits[row] > 0) & (rivals.amax(dim=0) > logits[row])
            cut[row] = torch.where(lost, _OTHER_LOGIT, logits[row])
    return cut
