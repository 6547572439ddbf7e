"""Results of the last seconds, for detector boxes with a past stamp."""

from __future__ import annotations

import collections
import dataclasses
import uuid
from collections.abc import Collection

import numpy as np

from robust_vos_ros.core.types import TrackedObject, TrackResult

_MAX_VIEWS = 512
_GRID = 160  # cells along the longer side of the image


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """A compact copy of the result of one frame.

    Attributes:
        objects: By uuid.
        on: (h, w) bool grid over the image, True where an object is.
    """

    stamp_ns: int
    size_hw: tuple[int, ...]
    objects: dict[uuid.UUID, TrackedObject]
    on: np.ndarray

    @classmethod
    def of(cls, result: TrackResult) -> View:
        """Return the view of a result."""
        labels = result.label_mask
        step = -(-max(labels.shape) // _GRID)
        objects = {item.uuid: item for item in result.objects}
        return cls(result.stamp_ns, labels.shape, objects, labels[::step, ::step] > 0)

    def covered(self, corners: np.ndarray) -> float:
        """Return the share of a box, (4,) corners in pixels, that objects cover."""
        scale = np.array(self.on.shape[::-1]) / self.size_hw[::-1]
        low = np.floor(corners[:2] * scale).astype(int)
        high = np.maximum(np.ceil(corners[2:] * scale).astype(int), low + 1)
        cells = self.on[low[1] : high[1], low[0] : high[0]]
        return float(cells.mean()) if cells.size else 0.0


class Views:
    """Views of the last seconds, ordered by stamp. Used by one thread only."""

    def __init__(self) -> None:
        """Start empty."""
        self._views: collections.deque[View] = collections.deque(maxlen=_MAX_VIEWS)

    def append(self, result: TrackResult, span_s: float) -> None:
        """Add the newest result; drop views older than `span_s`, or newer after a time jump."""
        stamp_ns = result.stamp_ns
        while self._views and self._views[-1].stamp_ns >= stamp_ns:
            self._views.pop()
        self._views.append(View.of(result))
        while stamp_ns - self._views[0].stamp_ns > span_s * 1e9:
            self._views.popleft()

    def forget(self, object_ids: Collection[str]) -> None:
        """Remove some objects from all views, after their tracks changed."""
        for place, view in enumerate(self._views):
            kept = {
                key: item for key, item in view.objects.items() if item.object_id not in object_ids
            }
            self._views[place] = dataclasses.replace(view, objects=kept)

    def clear(self) -> None:
        """Drop all views."""
        self._views.clear()

    def nearest(self, stamp_ns: int, newest: TrackResult, tolerance_s: float) -> View | None:
        """Return the view nearest in time; None beyond the tolerance.

        Args:
            stamp_ns: Of the image.
            newest: Result of the newest frame, including later changes by requests.
            tolerance_s: Maximum difference of the stamps.
        """
        views = [View.of(newest), *(v for v in self._views if v.stamp_ns != newest.stamp_ns)]
        best = min(views, key=lambda view: abs(view.stamp_ns - stamp_ns))
        return best if abs(best.stamp_ns - stamp_ns) <= tolerance_s * 1e9 else None
