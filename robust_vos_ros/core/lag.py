"""Fixed lag: a frame is judged by the pathway that is best some frames later.

SAM2Long (arXiv 2410.16268, section 3.2) picks the best pathway at the end of the video and takes
the masks along it. Here the end is `tree.lag_frames` later: what each pathway saw is kept for that
long, and the best one then is followed back from parent to parent.
"""

from __future__ import annotations

import collections
import dataclasses
import time
import uuid

import torch

from robust_vos_ros.core import confidence
from robust_vos_ros.core.calibration import Calibration
from robust_vos_ros.core.history import Record
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.observation import Observation
from robust_vos_ros.core.results import make_result
from robust_vos_ros.core.tracking_config import TrackerSettings
from robust_vos_ros.core.types import TrackResult


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
    """What one object was in one frame, in each of its P pathways, the best one first.

    Attributes:
        before: The object before the frame; `after` likewise.
        parents: Pathway of the frame before that each one continues.
        seen: What the network said of each.
        logits: (P, h, w) their masks.
    """

    before: LiveObject
    after: LiveObject
    parents: tuple[int, ...]
    seen: tuple[Observation, ...]
    logits: torch.Tensor


@dataclasses.dataclass(slots=True)
class _Frame:
    """One frame of the window; `result` is what was known at the time."""

    record: Record
    traces: dict[uuid.UUID, Trace]
    result: TrackResult | None = None


class LagWindow:
    """The frames that are not final yet.

    Args:
        num_frames: How many frames later a frame is final.
    """

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames
        self._frames: collections.deque[_Frame] = collections.deque()
        self._paths: dict[uuid.UUID, int] = {}  # in the newest final frame

    def open(self, record: Record) -> None:
        """Begin a frame."""
        self._frames.append(_Frame(record, {}))

    def note(self, record: Record, trace: Trace) -> None:
        """Note what an object was in a frame; in one that is final already, nothing happens."""
        new = trace.after
        for frame in self._frames:
            same = frame.record.frame_index == record.frame_index
            if not same or frame.record.stamp_ns != record.stamp_ns:
                continue
            frame.traces = {
                identity: old
                for identity, old in frame.traces.items()
                # An object that was replaced, or whose slot was given away.
                if identity == new.uuid
                or (old.after.object_id != new.object_id and old.after.slot != new.slot)
            }
            frame.traces[new.uuid] = trace

    def close(self, result: TrackResult) -> None:
        """End the newest frame with the result that was returned for it."""
        frame, live = self._frames[-1], {item.uuid for item in result.objects}
        frame.traces = {k: trace for k, trace in frame.traces.items() if k in live}
        # Its images are made again: only the small parts are kept.
        frame.result = dataclasses.replace(
            result,
            label_mask=result.label_mask[:0].copy(),
            mask_logits=result.mask_logits[:0].clone(),
        )

    def clear(self) -> None:
        """Forget all frames."""
        self._frames.clear()
        self._paths.clear()

    def take(
        self, settings: TrackerSettings, calibration: Calibration | None, *, flush: bool
    ) -> list[TrackResult]:
        """Return the results that are final now, oldest first, each once.

        Args:
            settings: How masks are judged.
            calibration: Of the model.
            flush: Whether no more frames come: all are final.
        """
        results = []
        while len(self._frames) > (0 if flush else self._num_frames):
            result = self._finish(settings, calibration)
            results += [] if result is None else [result]
        return results

    def _finish(
        self, settings: TrackerSettings, calibration: Calibration | None
    ) -> TrackResult | None:
        """Take the oldest frame out of the window; None if its processing failed."""
        start_ns = time.perf_counter_ns()
        paths = {identity: self._path(identity) for identity in self._frames[0].traces}
        frame = self._frames.popleft()
        items, logits = [], []
        for identity, trace in frame.traces.items():
            item = _along(trace, paths[identity], frame.record.stamp_ns, settings, calibration)
            parent = trace.parents[paths[identity]]
            item.path_switched = self._paths.get(identity, parent) != parent
            items.append(item)
            logits.append(trace.logits[paths[identity]])
        self._paths = paths
        if frame.result is None:
            return None
        masks = torch.stack(logits) if logits else frame.result.mask_logits
        events = list(frame.result.events)
        result = make_result(items, masks, frame.record, events, start_ns=start_ns)
        return dataclasses.replace(result, engine_ns=frame.result.engine_ns + result.engine_ns)

    def _path(self, identity: uuid.UUID) -> int:
        """Follow the best pathway of an object back to the oldest frame."""
        path = 0
        for index in range(len(self._frames) - 1, 0, -1):
            trace = self._frames[index].traces.get(identity)
            if trace is not None:
                path = trace.parents[path] if path < len(trace.parents) else 0
        # A frame whose processing failed may have cut the line.
        return path if path < len(self._frames[0].traces[identity].parents) else 0


def _along(
    trace: Trace,
    path: int,
    stamp_ns: int,
    settings: TrackerSettings,
    calibration: Calibration | None,
) -> LiveObject:
    """Return the object as it was if a pathway was the best one in that frame."""
    if path == 0:
        return dataclasses.replace(trace.after)
    item = dataclasses.replace(trace.before, memory_updated=trace.after.memory_updated)
    confidence.update(item, trace.seen[path], stamp_ns, settings, calibration)
    return item
