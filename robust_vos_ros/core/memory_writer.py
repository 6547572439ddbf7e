"""Let the frame just tracked enter the memory of each object and pathway, where it may."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from robust_vos_ros.core import write_gate
from robust_vos_ros.core.history import Record
from robust_vos_ros.core.memory import Entries, ObjectMemory
from robust_vos_ros.core.model import ABSENT_LOGIT, Model
from robust_vos_ros.core.objects import LiveObject, slots_of
from robust_vos_ros.core.observation import Observation
from robust_vos_ros.core.survivors import Survivors
from robust_vos_ros.core.tensors import Features
from robust_vos_ros.core.tracking_config import TrackerSettings


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
            enters = write_gate.admits_branch(item, seen[row], stamp_ns, settings)
        else:
            enters = write_gate.admits(item, seen[row], stamp_ns, rule)
        if path == 0:
            item.memory_updated = enters
        if not enters:
            continue
        if path == 0 and item.visible:
            if write_gate.is_anchor(item, seen[row], stamp_ns, rule):
                anchored.append(len(admitted))
                item.anchored_ns = stamp_ns
            write_gate.learn_usual(item, seen[row])
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
        logits = write_gate.exclude_others(logits[:, 0], owner_of, best).unsqueeze(1)
    spatial = model.remember(features, logits, kept.object_scores, prompted=False)
    return Entries(spatial, kept.pointers[:, 0], kept.object_scores.numpy(force=True))
