"""The memory update policy: selects and writes the frames that enter memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from robust_vos_ros.core.confidence.evidence import Observation
from robust_vos_ros.core.confidence.states import covers_image
from robust_vos_ros.core.masks import much_smaller
from robust_vos_ros.core.memory.hypotheses import KeptHypotheses
from robust_vos_ros.core.memory.object_memory import Entries, ObjectMemory
from robust_vos_ros.core.network.mask_decoder import ABSENT_LOGIT
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Features
from robust_vos_ros.core.objects import MEAN_RATE, LiveObject, slots_of
from robust_vos_ros.core.tracking_sections import MemorySettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.zoom.window import Record

# Below `min_confidence`, this share of the object's mean confidence suffices.
_MEAN_SHARE = 0.9
# No frame enters memory for this time after a jump of the mask's area.
_AREA_JUMP_HOLD_S = 0.3
# An anchor is a good mask in a frame with a distractor: the IoU of the box of the mask and the box
# of mask and alternative is at most this (DAM4SAM, arXiv 2411.17576).
_ANCHOR_MIN_IOU, _ANCHOR_MAX_AGREEMENT = 0.8, 0.7
_ANCHOR_INTERVAL_S = 0.5  # minimum time between anchors of an object
_SIMILAR_AREA = 0.2  # maximum relative difference of an anchor's area to the mean area
# Logit written for pixels of another object.
_OTHER_LOGIT = -10.0


def may_update(
    item: LiveObject, seen: Observation, stamp_ns: int, settings: MemorySettings
) -> bool:
    """Whether the newest frame enters the memory of an object with one hypothesis.

    Args:
        item: The object, after `confidence.states.update` for this frame.
        seen: Observation of the object.
        stamp_ns: Time of the frame.
        settings: Thresholds; with `min_confidence`, `min_quality` and `min_iou` 0 every unchanged
            mask enters.
    """
    if item.track.changed or not _is_present(seen, settings) or seen.iou < settings.min_quality:
        return False
    if not settings.min_confidence:
        return True
    if _jumped(item, stamp_ns):
        return False
    mean = _MEAN_SHARE * item.memory.mean_confidence
    return item.track.visible and item.track.confidence >= min(settings.min_confidence, mean)


def may_update_hypothesis(
    item: LiveObject, seen: Observation, stamp_ns: int, settings: TrackerSettings
) -> bool:
    """Whether a frame enters the memory of one hypothesis among several (SAM2Long, section 3.3).

    Confidence is not checked: pruning decides which hypothesis is right.
    """
    if item.track.changed or not _is_present(seen, settings.memory):
        return False
    if not settings.memory.min_confidence:
        return True
    return not covers_image(item, seen, settings) and not _jumped(item, stamp_ns)


def _is_present(seen: Observation, settings: MemorySettings) -> bool:
    """Whether predicted IoU and object score reach `min_iou` and 0."""
    if not settings.min_iou:
        return True
    return seen.object_score > 0.0 and seen.iou >= settings.min_iou


def _jumped(item: LiveObject, stamp_ns: int) -> bool:
    """Whether the area of the mask jumped recently."""
    return 0 <= (stamp_ns - item.memory.jumped_ns) / 1e9 < _AREA_JUMP_HOLD_S


def is_anchor(
    item: LiveObject, seen: Observation, stamp_ns: int, settings: MemorySettings
) -> bool:
    """Whether an admitted frame shows the object well beside a distractor."""
    return (
        settings.anchors > 0
        and settings.min_confidence > 0.0
        and seen.iou >= _ANCHOR_MIN_IOU
        and seen.agreement <= _ANCHOR_MAX_AGREEMENT
        and abs(seen.coverage - item.memory.mean_coverage)
        <= _SIMILAR_AREA * item.memory.mean_coverage
        and abs(stamp_ns - item.memory.anchored_ns) / 1e9 >= _ANCHOR_INTERVAL_S
    )


def update_mean_coverage(item: LiveObject, seen: Observation) -> None:
    """Update the running mean of the mask's area by a frame that entered memory."""
    item.memory.mean_coverage += MEAN_RATE * (seen.coverage - item.memory.mean_coverage)


def exclude_others(logits: torch.Tensor, owners: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """Remove from each mask the pixels where another object has a higher logit.

    Pairs of much different size are left as they are (`much_smaller`).

    Args:
        logits: (B, h, w) float32 masks of hypotheses.
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


def update_memory(
    memory: ObjectMemory,
    model: Model,
    items: Sequence[LiveObject],
    alive: KeptHypotheses,
    seen: list[Observation],
    *,
    features: Features,
    record: Record,
    settings: TrackerSettings,
    others: torch.Tensor,
) -> None:
    """Write a frame to memory, as far as the update policy admits it.

    Args:
        memory: Where entries are written.
        model: Encodes masks.
        items: The objects, tracked into this frame.
        alive: Their hypotheses in it.
        seen: Observation of each hypothesis.
        features: Of the frame.
        record: The frame.
        settings: Thresholds of the policy.
        others: (M, h, w) float32 last masks of visible objects that were not tracked into it.
    """
    admitted, anchored = _admit(items, alive, seen, record.stamp_ns, settings)
    if not admitted:
        return
    exclusive = settings.memory.exclusive
    entries = _remember(
        model, items, alive, admitted, features=features, exclusive=exclusive, others=others
    )
    at = slots_of(items)[alive.owners[admitted]]
    memory.write_recent(at, alive.ranks[admitted], record.frame_index, entries)
    if anchored:
        memory.write_anchors(at[anchored], record.frame_index, entries.rows(anchored))


def _admit(
    items: Sequence[LiveObject],
    alive: KeptHypotheses,
    seen: list[Observation],
    stamp_ns: int,
    settings: TrackerSettings,
) -> tuple[list[int], list[int]]:
    """Return the rows of hypotheses that enter memory, and which of these are anchors."""
    rule = settings.memory
    admitted: list[int] = []
    anchored: list[int] = []  # indices into `admitted`
    for row, (owner, rank) in enumerate(zip(alive.owners, alive.ranks, strict=True)):
        item = items[owner]
        if len(alive.per_object[owner]) > 1:
            enters = may_update_hypothesis(item, seen[row], stamp_ns, settings)
        else:
            enters = may_update(item, seen[row], stamp_ns, rule)
        if rank == 0:
            item.memory.updated = enters
        if not enters:
            continue
        if rank == 0 and item.track.visible:
            if is_anchor(item, seen[row], stamp_ns, rule):
                anchored.append(len(admitted))
                item.memory.anchored_ns = stamp_ns
            update_mean_coverage(item, seen[row])
            item.memory.remembered_ns = stamp_ns
        admitted.append(row)
    return admitted, anchored


def _remember(
    model: Model,
    items: Sequence[LiveObject],
    alive: KeptHypotheses,
    admitted: list[int],
    *,
    features: Features,
    exclusive: bool,
    others: torch.Tensor,
) -> Entries:
    """Encode the masks that enter memory."""
    kept = alive.kept.rows(torch.tensor(admitted))
    logits = kept.mask_logits
    if exclusive and len(items) + len(others) > 1:
        best = alive.kept.mask_logits[torch.from_numpy(alive.ranks == 0), 0]
        shown = torch.tensor([item.track.visible for item in items], device=best.device)
        best = torch.where(shown[:, None, None], best, ABSENT_LOGIT)
        owner_of = torch.from_numpy(alive.owners[admitted]).to(best.device)
        logits = exclude_others(logits[:, 0], owner_of, torch.cat([best, others])).unsqueeze(1)
    spatial = model.remember(features, logits, kept.object_scores, prompted=False)
    return Entries(spatial, kept.pointers[:, 0], kept.object_scores.numpy(force=True))
