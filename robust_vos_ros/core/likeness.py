"""What is known of how objects look: learned, compared, and searched for in an image."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch

from robust_vos_ros.core.looks import Looks
from robust_vos_ros.core.masks import much_smaller
from robust_vos_ros.core.model import Model
from robust_vos_ros.core.objects import LiveObject, slots_of
from robust_vos_ros.core.places import Box, guess_box
from robust_vos_ros.core.prototypes import Likenesses, Prototypes
from robust_vos_ros.core.types import ObjectState

_LEARN_EVERY_S = 0.5  # between frames that prototypes are learned from
_LEARN_MIN_CONFIDENCE = 0.75
_LEARN_AFTER_S = 3.0  # of being seen again: a look-alike has gone by then, mostly
_SHOWN_S = 1.75  # after a prompt a mask is believed to be on what was pointed at
_USUAL_RATE = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Scene:
    """A frame, and all objects there are.

    Attributes:
        planes: Of the image, from `core.looks.measure`.
        live: All objects, brought to this frame.
    """

    planes: torch.Tensor
    live: list[LiveObject]


class Likeness:
    """How all objects look.

    Args:
        model: The network, with the map that looks are compared in.
        capacity: Number of slots.
    """

    def __init__(self, model: Model, capacity: int) -> None:
        self.looks = Looks(model.hidden_dim, model.device, model.looks)
        self.prototypes = Prototypes(capacity, self.looks.dim, model.device)

    def start(self, item: LiveObject, look: torch.Tensor, stamp_ns: int) -> None:
        """Learn a look that the user has pointed at."""
        self.prototypes.learn(item.slot, look, trusted=True)
        item.learned_ns = item.shown_ns = stamp_ns

    def learn(
        self,
        items: Sequence[LiveObject],
        looks: torch.Tensor,
        stamp_ns: int,
        min_similarity: float,
    ) -> None:
        """Learn how objects look from frames that surely show them, now and then.

        Args:
            items: N objects.
            looks: (N, E) of their masks.
            stamp_ns: Of the frame.
            min_similarity: To a look that was pointed at, or seen just after that: else a mask
                that slid to another thing would make that thing the most alike one.
        """
        for item, look in zip(items, looks, strict=True):
            if not _shows_surely(item, stamp_ns):
                continue
            shown = item.shown_ns is not None and stamp_ns - item.shown_ns <= _SHOWN_S * 1e9
            if not shown and self.prototypes.trust(item.slot, look) < min_similarity:
                continue
            _learn_usual(item)
            self.prototypes.learn(item.slot, look, trusted=shown)
            item.learned_ns = stamp_ns

    def compare(
        self, items: Sequence[LiveObject], mask_logits: torch.Tensor, scene: Scene
    ) -> Likenesses:
        """Return how much (N, h, w) masks look like N objects, see `Prototypes.compare`."""
        looks = self.looks.describe(scene.planes, mask_logits)
        return self.compare_looks(slots_of(items), looks, mask_logits, scene.live)

    def compare_looks(
        self,
        slots: np.ndarray,
        looks: torch.Tensor,
        mask_logits: torch.Tensor,
        live: Sequence[LiveObject],
    ) -> Likenesses:
        """Compare (N, E) looks of (N, h, w) masks with the objects in N slots, as `compare`."""
        areas = (mask_logits > 0).float().mean(dim=(1, 2))
        usual = torch.tensor([item.usual_coverage for item in live], device=areas.device)
        could_be = ~(much_smaller(areas, usual) | much_smaller(usual, areas).T)
        own, rivals = torch.from_numpy(slots), torch.from_numpy(slots_of(live))
        return self.prototypes.compare(own, looks, rivals, could_be)

    def guess_boxes(
        self,
        items: Sequence[LiveObject],
        scene: Scene,
        shown: torch.Tensor,
        min_similarity: float,
    ) -> list[Box | None]:
        """Return where objects out of sight may be, see `core.places.guess_box`.

        Args:
            items: The objects.
            scene: The frame.
            shown: (K, h, w) logits of the objects in view; where one is that is not much larger
                than the object, it is not looked for.
            min_similarity: What is less alike is nothing.
        """
        areas = (shown > 0).float().mean(dim=(1, 2))
        usual = torch.tensor([item.usual_coverage for item in items], device=areas.device)
        smaller = much_smaller(usual, areas)
        return [
            guess_box(
                self.looks,
                self.prototypes,
                item.slot,
                scene.planes,
                coverage=item.usual_coverage,
                taken=(shown[~lies_on] > 0).any(dim=0),
                min_similarity=min_similarity,
            )
            for item, lies_on in zip(items, smaller, strict=True)
        ]


def _shows_surely(item: LiveObject, stamp_ns: int) -> bool:
    """Whether a frame surely shows an object, and some time after the last such frame."""
    back = item.returned_ns is None or (stamp_ns - item.returned_ns) / 1e9 >= _LEARN_AFTER_S
    return (
        back
        and not item.changed
        and item.state == ObjectState.TRACKED
        and item.memory_updated
        and item.confidence >= _LEARN_MIN_CONFIDENCE
        and abs(stamp_ns - item.learned_ns) / 1e9 >= _LEARN_EVERY_S
    )


def _learn_usual(item: LiveObject) -> None:
    """Let the newest frame move what the similarity of an object usually is."""
    similarity = item.evidence.similarity if item.evidence else math.nan
    if math.isnan(similarity):
        return
    known = not math.isnan(item.usual_similarity)
    usual = item.usual_similarity if known else similarity
    usual += _USUAL_RATE * (similarity - usual)
    item.usual_similarity = max(-1.0, min(1.0, usual))  # a cosine is rounded
