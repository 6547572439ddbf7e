"""Work that a tracker may leave out while frames arrive faster than it can process them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.tracking_settings import TrackerSettings


@dataclasses.dataclass(frozen=True, slots=True)
class Reduction:
    """What to leave out; by default nothing, and results are then those without it, bit for bit.

    Attributes:
        one_hypothesis: Keep one memory hypothesis per object, whatever `tree.max_hypotheses`.
        search_interval_s: Minimum time between two searches for unseen objects.
        turns: Objects take turns: each is tracked into at least every `turns`-th frame, and aged
            in the others (`confidence.states.age`).
    """

    one_hypothesis: bool = False
    search_interval_s: float = 0.0
    turns: int = 1

    def limit(self, settings: TrackerSettings) -> TrackerSettings:
        """Return the settings with at most the hypotheses that this permits."""
        if not self.one_hypothesis or settings.tree.max_hypotheses == 1:
            return settings
        tree = settings.tree.model_copy(update={'max_hypotheses': 1})
        return settings.model_copy(update={'tree': tree})

    def take_turns(
        self, items: Sequence[LiveObject], frame_index: int
    ) -> tuple[list[LiveObject], list[LiveObject]]:
        """Divide the objects into those to track into a frame and those that rest.

        Those that have waited longest are tracked. Of those that have waited equally long, others
        come first in each frame. Both lists are in the order of `items`.
        """
        if self.turns <= 1:
            return list(items), []
        number, first = -(-len(items) // self.turns), frame_index % max(1, len(items))
        waited = sorted([*items[first:], *items[:first]], key=lambda item: item.track.updated_ns)
        slots = {item.slot for item in waited[:number]}
        return (
            [item for item in items if item.slot in slots],
            [item for item in items if item.slot not in slots],
        )

    def permits_search(self, items: Sequence[LiveObject], stamp_ns: int) -> bool:
        """Whether unseen objects may be searched for in a frame."""
        newest_ns = max((item.reid.searched_ns for item in items), default=0)
        return abs(stamp_ns - newest_ns) / 1e9 >= self.search_interval_s
