"""Which frames an object remembers: those that show it well, and a few beside look-alikes."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from robust_vos_ros.core.confidence.evidence import Observation, much_smaller
from robust_vos_ros.core.confidence.states import covers_image
from robust_vos_ros.core.frames import Record
from robust_vos_ros.core.memory.bank import Entries, ObjectMemory
from robust_vos_ros.core.memory.hypotheses import Survivors
from robust_vos_ros.core.network.model import ABSENT_LOGIT, Model
from robust_vos_ros.core.objects import USUAL_RATE, LiveObject, slots_of
from robust_vos_ros.core.tracking_settings import GateSettings, TrackerSettings
from robust_vos_ros.core.types import Features

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


def write(
    memory: ObjectMemory,
    model: Model,
    items: Sequence[LiveObject],
    alive: Survivors,
    seen: list[Observation],
    *,
    features: Features,
    record: Record,
    settings: TrackerSettings,
) -> None:
    """Remember a frame.

    Args:
        memory: What is written to.
        model: Encodes masks.
        items: The objects, brought to this frame.
        alive: What their pathways see in it.
        seen: What was observed of each pathway.
        features: Of the frame.
        record: The frame.
        settings: Which frames enter.
    """
    admitted, anchored = _admit(items, alive, seen, record.stamp_ns, settings)
    if not admitted:
        return
    entries = _remember(
        model, items, alive, admitted, features=features, exclusive=settings.gate.exclusive
    )
    at = slots_of(items)[alive.owners[admitted]]
    memory.write_recent(at, alive.paths[admitted], record.frame_index, entries)
    if anchored:
        memory.write_anchors(at[anchored], record.frame_index, entries.rows(anchored))


def _admit(
    items: Sequence[LiveObject],
    alive: Survivors,
    seen: list[Observation],
    stamp_ns: int,
    settings: TrackerSettings,
) -> tuple[list[int], list[int]]:
    """Return which survivors enter memory, and which of these are anchors as well."""
    rule = settings.gate
    admitted: list[int] = []
    anchored: list[int] = []  # places in `admitted`
    for row, (owner, path) in enumerate(zip(alive.owners, alive.paths, strict=True)):
        item = items[owner]
        if len(alive.branches[owner]) > 1:
            enters = admits_branch(item, seen[row], stamp_ns, settings)
        else:
            enters = admits(item, seen[row], stamp_ns, rule)
        if path == 0:
            item.memory_updated = enters
        if not enters:
            continue
        if path == 0 and item.visible:
            if is_anchor(item, seen[row], stamp_ns, rule):
                anchored.append(len(admitted))
                item.anchored_ns = stamp_ns
            learn_usual(item, seen[row])
            item.remembered_ns = stamp_ns
        admitted.append(row)
    return admitted, anchored


def _remember(
    model: Model,
    items: Sequence[LiveObject],
    alive: Survivors,
    admitted: list[int],
    *,
    features: Features,
    exclusive: bool,
) -> Entries:
    """Encode the masks that enter memory."""
    kept = alive.kept.rows(torch.tensor(admitted))
    logits = kept.mask_logits
    if exclusive and len(items) > 1:
        best = alive.kept.mask_logits[torch.from_numpy(alive.paths == 0), 0]
        shown = torch.tensor([item.visible for item in items], device=best.device)
        best = torch.where(shown[:, None, None], best, ABSENT_LOGIT)
        owner_of = torch.from_numpy(alive.owners[admitted]).to(best.device)
        logits = exclude_others(logits[:, 0], owner_of, best).unsqueeze(1)
    spatial = model.remember(features, logits, kept.object_scores, prompted=False)
    return Entries(spatial, kept.pointers[:, 0], kept.object_scores.numpy(force=True))
