"""Propagate objects into one frame: all objects and hypotheses in one batch.

Shape legend: N objects, B = hypotheses of all of them, K kept hypotheses, h, w of a mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.adapters.gates import Gates
from robust_vos_ros.core.confidence import states
from robust_vos_ros.core.confidence.evidence import Observation, observe
from robust_vos_ros.core.memory.bank import MemoryShape, ReferenceTable
from robust_vos_ros.core.memory.hypotheses import (
    KeptHypotheses,
    MemoryTree,
    observe_hypotheses,
    prune,
)
from robust_vos_ros.core.memory.object_memory import Entries, ObjectMemory
from robust_vos_ros.core.memory.update_policy import update_memory
from robust_vos_ros.core.network.mask_decoder import ABSENT_LOGIT, DecoderPrompts
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Candidates, Features, MemoryView
from robust_vos_ros.core.objects import LiveObject, slots_of
from robust_vos_ros.core.reid.appearance import feature_map
from robust_vos_ros.core.reid.duplicates import suppress_duplicates
from robust_vos_ros.core.reid.reidentifier import Reidentifier
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import UNSEEN_STATES, EventType
from robust_vos_ros.core.zoom.window import Record


class Propagator:
    """Memory, hypotheses and masks of all objects.

    Args:
        model: The network.
        settings: Table sizes; dynamic settings are passed to `follow`.
    """

    def __init__(self, model: Model, settings: TrackerSettings) -> None:
        self.model = model
        self.last_gates: Gates | None = None
        self.last_encoder_gates: Gates | None = None
        # Best mask of each slot in the newest frame, before visibility was decided.
        self.raw_masks: dict[int, torch.Tensor] = {}
        capacity, num_hypotheses = settings.max_objects, settings.tree.max_hypotheses
        shape = MemoryShape(
            capacity=capacity,
            num_hypotheses=num_hypotheses,
            num_prompted=settings.max_prompted_entries,
            num_anchors=settings.memory.anchors,
            num_recent=model.num_recent,
            num_pointers=model.num_pointers,
            entry_shape=(model.grid_size**2, model.memory_dim),
            pointer_dim=model.hidden_dim,
        )
        self.memory = ObjectMemory(shape, model.device)
        self.tree = MemoryTree(capacity, num_hypotheses)
        self.reidentifier = Reidentifier(model, capacity)
        self.references = ReferenceTable(
            capacity, model.object_calibration, model.grid_size, model.device
        )
        mask = (model.mask_size, model.mask_size)
        self.logits = torch.zeros(capacity, num_hypotheses, *mask, device=model.device)

    def start(
        self,
        items: Sequence[LiveObject],
        features: Features,
        kept: Candidates,
        spatial: torch.Tensor,
        record: Record,
    ) -> None:
        """Initialize or re-initialize objects from prompted masks, with one hypothesis each.

        Args:
            items: N objects.
            features: Of the prompted frame.
            kept: N masks.
            spatial: (N, h*w, memory_dim) encoded memory of the masks.
            record: The prompted frame.
        """
        slots = slots_of(items)
        self.memory.write_prompted(slots, record.frame_index, spatial, kept.pointers[:, 0])
        self.tree.collapse(slots)
        self.references.start(slots, self.model.start_references(features, kept.mask_logits))
        self.logits[torch.from_numpy(slots), 0] = kept.mask_logits[:, 0]
        planes = feature_map(features, record.image)
        embeddings = self.reidentifier.embedder.embed_masks(planes, kept.mask_logits[:, 0])
        for row, (item, seen) in enumerate(zip(items, observe(kept), strict=True)):
            states.start(item, seen, record.stamp_ns, self.model.calibration)
            if item.track.visible:
                self.reidentifier.start(item, embeddings[row], record.stamp_ns)

    def keep_best(self, items: Sequence[LiveObject]) -> None:
        """Drop all but the best hypothesis of some objects."""
        for item in items:
            self.memory.fork(item.slot, [0])
        self.tree.collapse(slots_of(items))

    def forget(self, items: Sequence[LiveObject]) -> None:
        """Clear memory and gallery of some objects."""
        self.memory.clear(slots_of(items))
        for item in items:
            self.reidentifier.gallery.clear(item.slot)

    def forget_recent(self, items: Sequence[LiveObject]) -> None:
        """Clear the memory of some objects except for prompted frames; galleries stay."""
        slots = slots_of(items)
        self.memory.clear_recent(slots)
        self.references.forget_recent(slots)
        self.tree.collapse(slots)

    def masks(self, items: Sequence[LiveObject]) -> torch.Tensor:
        """Return the (N, h, w) logits of the best hypothesis of some objects."""
        return self.logits[torch.from_numpy(slots_of(items)), 0]

    def seed(
        self,
        item: LiveObject,
        features: Features,
        kept: Candidates,
        spatial: torch.Tensor,
        frame_index: int,
    ) -> None:
        """Replace the recent memory of an unseen object by a mask that may show it.

        The object becomes visible only when later frames confirm it.

        Args:
            item: The object.
            features: Of the frame.
            kept: The mask.
            spatial: (1, h*w, memory_dim) encoded memory of the mask.
            frame_index: Of the frame.
        """
        self.forget_recent([item])
        slots = slots_of([item])
        entry = Entries(spatial, kept.pointers[:, 0], kept.object_scores.numpy(force=True))
        self.memory.write_recent(slots, slots * 0, frame_index, entry)
        self.references.see(slots, self.model.proxies(features, kept.mask_logits))
        self.logits[item.slot, 0] = kept.mask_logits[0, 0]

    def encoder_gates(self, items: Sequence[LiveObject], record: Record) -> Gates | None:
        """Return the gates of the image encoder for one frame, see `ImageEncoder.gates`."""
        self.last_encoder_gates = None
        if not self.model.image_encoder.has_gates:
            return None
        slots = slots_of(items)
        owners, ranks = self.tree.rows(slots)
        view = self.memory.view(slots[owners], ranks, record.frame_index)
        self.last_encoder_gates = self.model.image_encoder.gates(view, shares=self._shares(owners))
        return self.last_encoder_gates

    def follow(
        self,
        items: Sequence[LiveObject],
        features: Features,
        record: Record,
        settings: TrackerSettings,
        *,
        resting: Sequence[LiveObject] = (),
    ) -> list[tuple[LiveObject, EventType]]:
        """Track some objects into one frame; returns their events.

        Args:
            items: The objects.
            features: Of the frame.
            record: The frame.
            settings: Of tracking.
            resting: Objects that are not tracked into this frame. Their last masks still compete
                with those of `items`.
        """
        slots = slots_of(items)
        owners, ranks = self.tree.rows(slots)
        view = self.memory.view(
            slots[owners], ranks, record.frame_index, modulation=settings.memory.modulation
        )
        planes = feature_map(features, record.image)
        gates, candidates, scores = self._predict(items, owners, ranks, features, view)
        self.last_gates = gates
        unseen = [item.track.state in UNSEEN_STATES for item in items]
        alive = prune(self.tree, slots, owners, candidates, settings.tree, unseen=unseen)
        embeddings = self.reidentifier.embedder.embed_masks(planes, alive.kept.mask_logits[:, 0])
        compared = self.reidentifier.compare_embeddings(
            slots[alive.owners], embeddings, alive.kept.mask_logits[:, 0], [*items, *resting]
        )
        seen = observe_hypotheses(alive, candidates, gates, compared, scores)
        shown = [item for item in resting if item.track.visible]
        seen = suppress_duplicates(
            self.model, alive, seen, settings.duplicate_iou, items,
            resting=shown, resting_logits=self.masks(shown),
        )  # fmt: skip
        self._branch(items, alive)
        best = alive.kept.mask_logits[torch.from_numpy(alive.ranks == 0), 0]
        self.raw_masks = dict(zip(slots.tolist(), best, strict=True))
        best_seen = _best_of_objects(alive.owners, seen)
        events = self._update_states(items, best_seen, record.stamp_ns, settings)
        if settings.memory.reset_mask_prior:
            self._reset_mask_priors(items)
        self._update_references(items, features, best)
        update_memory(
            self.memory, self.model, items, alive, seen,
            features=features, record=record, settings=settings, others=self.masks(shown),
        )  # fmt: skip
        self.reidentifier.learn(
            items,
            embeddings[torch.from_numpy(alive.ranks == 0)],
            record.stamp_ns,
            settings.reacquire.learn_similarity,
        )
        return events

    def _update_states(
        self,
        items: Sequence[LiveObject],
        seen: Sequence[Observation],
        stamp_ns: int,
        settings: TrackerSettings,
    ) -> list[tuple[LiveObject, EventType]]:
        """Update the state of each object from its observation; returns the events."""
        events = []
        for item, one in zip(items, seen, strict=True):
            kinds = states.update(item, one, stamp_ns, settings, self.model.calibration)
            events += [(item, kind) for kind in kinds]
        return events

    def _predict(
        self,
        items: Sequence[LiveObject],
        owners: np.ndarray,
        ranks: np.ndarray,
        features: Features,
        view: MemoryView | None,
    ) -> tuple[Gates | None, Candidates, torch.Tensor | None]:
        """Predict the masks of B hypotheses of some objects.

        Args:
            items: The objects.
            owners: (B,) index of the object of each hypothesis.
            ranks: (B,) rank of each among the hypotheses of its object, 0 = the best.
            features: Of the frame.
            view: Memory of the hypotheses.

        Returns:
            Gates of the adapter, masks, and (B, 1, h, w) scores of the classifiers, if any.
        """
        device = self.logits.device
        slots = slots_of(items)[owners]
        at = torch.from_numpy(slots), torch.from_numpy(ranks)
        changed = torch.tensor([item.track.changed for item in items])[torch.from_numpy(owners)]
        changed = changed[:, None, None].to(device)
        previous = torch.where(changed, ABSENT_LOGIT, self.logits[at]).unsqueeze(1)
        gates = self.model.gates(features, view, shares=self._shares(owners))
        pix = self.model.attend(features, view, gates)
        is_best = torch.from_numpy(ranks == 0).to(device) if ranks.any() else None
        references = self.references.of(slots)
        dense = self.model.calibrate(features, pix, references, previous, is_best=is_best)
        guide = previous if self.model.previous_mask else None
        found = self.model.decode(features, pix, DecoderPrompts(previous=guide, dense=dense))
        own, scores = self.model.object_calibration, None
        if dense is not None and own is not None and own.settings.classifier:
            scores = dense.scores
        return gates, found, scores

    def _shares(self, owners: np.ndarray) -> torch.Tensor:
        """Return (B,) 1 / number of hypotheses of the object of each hypothesis."""
        shares = torch.from_numpy(1.0 / np.bincount(owners)[owners])
        return shares.float().to(self.logits.device)

    def _update_references(
        self, items: Sequence[LiveObject], features: Features, logits: torch.Tensor
    ) -> None:
        """Make this frame the newest reference of the objects visible in it."""
        shown = [
            row for row, item in enumerate(items) if item.track.visible and not item.track.changed
        ]
        if shown:
            proxies = self.model.proxies(features, logits[shown].unsqueeze(1))
            self.references.see(slots_of([items[row] for row in shown]), proxies)

    def _reset_mask_priors(self, items: Sequence[LiveObject]) -> None:
        """Reset the mask prior of objects that are not visible."""
        hidden = [
            item.slot
            for item in items
            if not item.track.visible and len(self.tree.scores(item.slot)) == 1
        ]
        if hidden:
            self.logits[torch.tensor(hidden), 0] = ABSENT_LOGIT

    def _branch(self, items: Sequence[LiveObject], alive: KeptHypotheses) -> None:
        """Give each kept hypothesis the memory of its parent, and store its mask."""
        for item, hypotheses in zip(items, alive.per_object, strict=True):
            parents = [hypothesis.parent for hypothesis in hypotheses]
            item.track.path_switched = parents[0] != 0
            if parents != [0] or len(self.tree.scores(item.slot)) > 1:
                self.memory.fork(item.slot, parents)
            self.tree.keep(item.slot, hypotheses)
        slots = torch.from_numpy(slots_of(items)[alive.owners])
        self.logits[slots, torch.from_numpy(alive.ranks)] = alive.kept.mask_logits[:, 0]


def _best_of_objects(owners: np.ndarray, values: list[Observation]) -> list[Observation]:
    """Return the value of the best hypothesis of each object."""
    return [values[index] for index in np.flatnonzero(np.diff(owners, prepend=-1))]


def reset_mask_priors(logits: torch.Tensor) -> None:
    """Set all mask logits to those of an absent object."""
    logits.fill_(ABSENT_LOGIT)
