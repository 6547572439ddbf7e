"""What a tracker knows of a stream: its objects, their memory and masks, and its frames."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence

from robust_vos_ros.core.confidence import states
from robust_vos_ros.core.frames import Frames
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.objects import LiveObject, ObjectTable
from robust_vos_ros.core.prompting.segmentation import Segmenter
from robust_vos_ros.core.propagation import Propagator, reset_mask_priors
from robust_vos_ros.core.results import make_result
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import (
    EventType,
    Frame,
    ObjectState,
    Prompt,
    TrackEvent,
    TrackResult,
)
from robust_vos_ros.core.zoom.window import Record


class Tracks:
    """The tracks of a stream, and what every way to change them has in common.

    Methods that compute expect the context `Model.inference`. The settings given to them are the
    present ones, as far as `Reduction.limit` permits.

    Args:
        model: The network.
        settings: Sizes of the tables.
        session: Namespace of the objects' uuids.

    Attributes:
        objects: Who is tracked.
        propagator: Their memory and masks.
        frames: History of the frames, and zoom.
        segmenter: Encodes frames and segments prompts.
        restored_ns: Stamp of the first frame, or the first one after tracks were loaded that had
            missed frames; None before it. Time before it does not count as unseen.
    """

    def __init__(self, model: Model, settings: TrackerSettings, session: uuid.UUID) -> None:
        self.model = model
        self.objects = ObjectTable(settings.max_objects, session)
        self.propagator = Propagator(model, settings)
        self.frames = Frames(self.propagator, settings)
        self.segmenter = Segmenter(model)
        self.restored_ns: int | None = None

    def take(self, frame: Frame, settings: TrackerSettings) -> Record:
        """Add the next frame; returns the network's input for it."""
        if self.restored_ns is None:
            self.restored_ns = frame.stamp_ns
        return self.frames.take(frame, list(self.objects), settings.zoom)

    def follow(
        self,
        items: Sequence[LiveObject],
        record: Record,
        settings: TrackerSettings,
        resting: Sequence[LiveObject] = (),
    ) -> list[TrackEvent]:
        """Track some objects into one frame, in one batch; those that rest only age."""
        gates = self.propagator.encoder_gates(items, record)
        self.segmenter.gates = None if gates is None else gates.values[0]
        happened = self.propagator.follow(
            items, self.segmenter.encode(record), record, settings, resting=resting
        )
        for item in resting:
            happened += [(item, kind) for kind in states.age(item, record.stamp_ns, settings)]
        return [make_event(kind, item, _detail(item)) for item, kind in happened]

    def add(
        self, prompts: Sequence[Prompt], stamp_ns: int
    ) -> tuple[list[LiveObject], list[TrackEvent]]:
        """Add an object without memory per checked prompt, in place of those of the same ids.

        Returns:
            The objects, and the events of those that were replaced.
        """
        ids = {prompt.object_id for prompt in prompts}
        events = self.remove([item.object_id for item in self.objects if item.object_id in ids])
        items = [self.objects.add(p.object_id, p.class_id, stamp_ns) for p in prompts]
        for item, prompt in zip(items, prompts, strict=True):
            item.text = prompt.text
        self.propagator.forget(items)
        return items, events

    def remove(self, object_ids: Sequence[str]) -> list[TrackEvent]:
        """Remove objects; returns their events.

        Raises:
            UnknownIdError: An id is not live; no object is removed.
        """
        for object_id in object_ids:
            self.objects.get(object_id)
        items = [self.objects.remove(object_id) for object_id in object_ids]
        self.frames.forget(items)
        return [make_event(EventType.REMOVED, item, 'removed by request') for item in items]

    def remove_long_lost(
        self, items: Sequence[LiveObject], stamp_ns: int, settings: TrackerSettings
    ) -> list[TrackEvent]:
        """Remove those of some objects that are LOST for too long; returns their events."""
        events, limit_s = [], settings.remove_lost_after_s
        for item in items:
            since_ns = max(item.track.last_seen_ns, self.restored_ns or item.track.last_seen_ns)
            unseen_s = (stamp_ns - since_ns) / 1e9 - settings.lost_after_s
            if item.track.state == ObjectState.LOST and limit_s and unseen_s >= limit_s:
                self.objects.remove(item.object_id)
                self.frames.forget([item])
                events.append(make_event(EventType.REMOVED, item, f'lost for {unseen_s:.1f} s'))
        return events

    def forget_recent(self) -> None:
        """Keep objects and their prompted frames; clear recent memory and the history."""
        items = list(self.objects)
        self.frames.reset_window(items)
        self.propagator.forget_recent(items)
        reset_mask_priors(self.propagator.logits)
        self.forget_frames()

    def forget_frames(self) -> None:
        """Clear the history of frames; objects and memory stay."""
        self.frames.clear()
        self.segmenter.forget()

    def reset(self) -> list[TrackEvent]:
        """Forget all objects and frames; returns the events of the objects."""
        events = self.remove([item.object_id for item in self.objects])
        self.frames.reset()
        self.segmenter.forget()
        return events

    def show(
        self, events: list[TrackEvent], start_ns: int, warnings: Sequence[str] = ()
    ) -> TrackResult:
        """Return the result of the newest frame; arguments as for `make_result`."""
        items = list(self.objects)
        return make_result(
            items,
            self.propagator.masks(items),
            self.frames.newest(),
            events,
            start_ns=start_ns,
            warnings=warnings,
        )


def make_event(kind: EventType, item: LiveObject, detail: str) -> TrackEvent:
    """Return an event of an object."""
    return TrackEvent(kind, item.object_id, item.uuid, detail)


def _detail(item: LiveObject) -> str:
    detail = f'{item.track.state.name.lower()} at confidence {item.track.confidence:.2f}'
    similarity = math.nan if item.track.evidence is None else item.track.evidence.similarity
    if item.reid.reacquired_ns != item.track.updated_ns or math.isnan(similarity):
        return detail
    return f'{detail}, similarity {similarity:.2f}'
