"""What is known of how objects look: learned, compared, and searched for in an image."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch

from robust_vos_ros.core.looks import Looks
from robust_vos_ros.core.model import Model
from robust_vos_ros.core.objects import LiveObject, slots_of
from robust_vos_ros.core.places import Box, guess_box
from robust_vos_ros.core.prototypes import Prototypes
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
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return how much (N, h, w) masks look like N objects, see `Prototypes.compare`."""
        looks = self.looks.describe(scene.planes, mask_logits)
        slots, rivals = torch.from_numpy(slots_of(items)), torch.from_numpy(slots_of(scene.live))
        return self.prototypes.compare(slots, looks, rivals)

    def guess_boxes(
        self,
        items: Sequence[LiveObject],
        scene: Scene,
        taken: torch.Tensor,
        min_similarity: float,
    ) -> list[Box | None]:
        """Return where objects out of sight may be, see `core.places.guess_box`."""
        return [
            guess_box(
                self.looks,
                self.prototypes,
                item.slot,
                scene.planes,
                coverage=item.usual_coverage,
                taken=taken,
                min_similarity=min_similarity,
            )
            for item in items
        ]


def _shows_surely(item: LiveObject, stamp_ns: int) -> bool:
    """Whether a frame surely shows an object, and some time after the last such frame."""
    back = item.returned_ns is None or (stamp_ns - item.returned_ns) / 1e9 >= _LEARN_AFTER_S
    return (
        back
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
