"""The engine: point at objects once, then one `VideoTracker.step` per frame."""

from __future__ import annotations

import contextlib
import math
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from robust_vos_ros.core import serialization
from robust_vos_ros.core.adapters.moga import Gates
from robust_vos_ros.core.confidence.calibration import Evidence
from robust_vos_ros.core.confidence.evidence import warn_of_misfit, warn_of_size
from robust_vos_ros.core.errors import SnapshotError
from robust_vos_ros.core.frames import FrameHistory, Record
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.objects import LiveObject, ObjectTable, slots_of
from robust_vos_ros.core.prompts import check_prompt
from robust_vos_ros.core.propagation import Propagator, reset_mask_priors
from robust_vos_ros.core.reference_pictures import ReferencePicture, remember, study
from robust_vos_ros.core.reid.appearance import feature_map
from robust_vos_ros.core.reid.association import Reinitialization, Scene, associate
from robust_vos_ros.core.reid.redetection import redetect
from robust_vos_ros.core.results import make_result
from robust_vos_ros.core.segmentation import Context, Segmenter, Segments
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import (
    UNSEEN_STATES,
    EventType,
    Frame,
    ObjectState,
    Prompt,
    TrackEvent,
    TrackResult,
)
from robust_vos_ros.core.zoom.zoom import Zoom

_DEFAULT_SESSION = uuid.UUID(int=0)


class VideoTracker:
    """Track up to `settings.max_objects` objects through a stream of frames.

    Not thread-safe: one thread owns a tracker.

    Args:
        model: The network; may be shared by trackers of one thread.
        settings: May be replaced at run time by one that differs in dynamic fields only.
        session: Namespace of the objects' uuids; give each run its own where they must not repeat.
    """

    def __init__(
        self,
        model: Model,
        settings: TrackerSettings,
        *,
        session: uuid.UUID | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.last_result: TrackResult | None = None
        self._objects = ObjectTable(settings.max_objects, session or _DEFAULT_SESSION)
        self._propagator = Propagator(model, settings)
        self._history = FrameHistory(
            settings.prompt_buffer_s, settings.prompt_buffer_mb * 1_000_000, model.image_size
        )
        self._segmenter = Segmenter(model)
        self._zoom = Zoom(self._propagator, settings.zoom) if settings.zoom.enabled else None
        self._seen: Record | None = None  # the newest frame, as the network saw it
        self._restored_ns: int | None = None  # first frame, or first one after `restore`

    @property
    def last_gates(self) -> Gates | None:
        """Gates of the adapter in the newest tracked frame; None without one."""
        return self._propagator.last_gates

    @property
    def uuids(self) -> frozenset[uuid.UUID]:
        """Of the live objects."""
        return frozenset(item.uuid for item in self._objects)

    def evidence(self) -> dict[str, tuple[Evidence, torch.Tensor]]:
        """Return what the confidence of each live object was made of in the newest frame.

        With it comes the (h, w) logits of the mask it is about, also of one that is not believed.
        """
        masks = self._propagator.raw_masks
        to_whole = self._zoom.to_whole if self._zoom is not None else _as_it_is
        return {
            item.object_id: (item.evidence, to_whole(masks[item.slot]))
            for item in self._objects
            if item.evidence and item.slot in masks
        }

    def step(self, frame: Frame) -> TrackResult:
        """Track all objects into the next frame."""
        start_ns = time.perf_counter_ns()
        record = self._history.append(frame)
        if self._restored_ns is None:  # time without a tracker does not count as unseen
            self._restored_ns = record.stamp_ns
        events: list[TrackEvent] = []
        with self.model.inference():
            if self._zoom is not None:
                items = list(self._objects)
                record = self._zoom.look(frame, record, items, self.settings.zoom)
            self._seen = record
            if len(self._objects):
                events += self._track(list(self._objects), record)
                if self.settings.reacquire.redetect and record.window.is_whole:
                    redetect(
                        list(self._objects), self._segmenter, self._propagator, record,
                        self.settings,
                    )  # fmt: skip
        if self._zoom is not None:
            self._zoom.note_tracked(list(self._objects))
        for item in list(self._objects):
            events += self._remove_long_lost(item, record.stamp_ns)
        return self._finish(events, start_ns)

    def add(
        self,
        prompts: Sequence[Prompt],
        *,
        frame: Frame | None = None,
        replace_existing: bool = False,
    ) -> TrackResult:
        """Start tracking objects; all prompts are accepted or none.

        Args:
            prompts: One per object.
            frame: A past frame the prompts were made on, tracked forward to the newest one,
                without regard to the objects that are tracked already; None = the newest frame.
            replace_existing: Replace live objects of the same id.

        Returns:
            The result of the newest frame, with all objects.

        Raises:
            NoFrameError, StampTooOldError, StampInFutureError: The frame is not in the history.
            DuplicateIdError, CapacityError: The objects do not fit in.
            PromptError: A prompt cannot be used.
        """
        start_ns = time.perf_counter_ns()
        record, newer = self._history.locate(frame)
        ids = [prompt.object_id for prompt in prompts]
        self._objects.check_room(ids, replace_existing=replace_existing)
        checked = [check_prompt(prompt, record.size_hw) for prompt in prompts]
        with self.model.inference():
            others = [item for item in self._objects if item.object_id not in ids]
            record = self._look_at(checked, record, newer, others)
            # Segment before anything changes: a failure in the network must leave no trace.
            segments = self._segmenter.segment(checked, record)
            items, events = self._take_places(checked, record.stamp_ns)
            warnings = []
            for segment in segments:
                rows = segment.rows
                warnings += self._start([items[row] for row in rows], segment, record)
                self._note_prompted(items, checked, segment, record, frame)
            events += [_event(EventType.ADDED, item, 'added by a prompt') for item in items]
            for later in newer if items else ():
                events += self._track(items, later)
        return self._finish(events, start_ns, warnings)

    def look_for(
        self, pictures: Sequence[ReferencePicture], *, replace_existing: bool = False
    ) -> TrackResult:
        """Start looking for objects that pictures of another time show; all are accepted or none.

        Each is LOST, without a mask, until it is found (`reacquire` settings).

        Args:
            pictures: One per object.
            replace_existing: As in `add`.

        Returns:
            The result of the newest frame, with all objects.

        Raises:
            NoFrameError: There is no frame yet.
            DuplicateIdError, CapacityError, PromptError: As in `add`.
        """
        start_ns = time.perf_counter_ns()
        newest = self._history.newest()
        ids = [picture.prompt.object_id for picture in pictures]
        self._objects.check_room(ids, replace_existing=replace_existing)
        warnings: list[str] = []
        with self.model.inference():
            looks = study(pictures, self._segmenter, newest)
            if self._zoom is not None:  # who is LOST is looked for in the whole image
                self._zoom.see_all(list(self._objects))
                self._seen = newest
            items, events = self._take_places([look.prompt for look in looks], newest.stamp_ns)
            for item, look in zip(items, looks, strict=True):
                warnings += remember(item, look, self._segmenter, self._propagator)
        events += [_event(EventType.ADDED, item, 'added by a picture, lost') for item in items]
        return self._finish(events, start_ns, warnings)

    def refine(self, prompt: Prompt, *, frame: Frame | None = None) -> TrackResult:
        """Correct a live object with further clicks, a box or a mask.

        The corrected frame is remembered like a prompted one, and the recent memory, which may
        hold the mistake, is dropped. Arguments and errors as in `add`.

        Raises:
            UnknownIdError: No live object has the prompt's id.
        """
        start_ns = time.perf_counter_ns()
        item = self._objects.get(prompt.object_id)
        record, newer = self._history.locate(frame)
        checked = check_prompt(prompt, record.size_hw)
        with self.model.inference():
            record = self._look_at([checked], record, newer, list(self._objects))
            (segment,) = self._segmenter.segment([checked], record, self._context(item, record))
            self._propagator.forget_recent([item])
            warnings = self._start([item], segment, record)
            self._note_prompted([item], [checked], segment, record, frame)
            item.class_id = prompt.class_id or item.class_id
            events = [event for later in newer for event in self._track([item], later)]
        return self._finish(events, start_ns, warnings)

    def reinitialize(
        self, prompts: Sequence[Prompt], *, frame: Frame | None = None
    ) -> Reinitialization:
        """Show where objects that are out of sight may be again, as a detector finds them.

        A candidate is taken if it looks like the object (`reacquire` settings) and is no object in
        view. It is no user's word: as with a search, the frame takes the place of recent memory,
        the next ones are tracked from it, and the object is back when it has looked like itself
        for `reacquire.hold_s`. What a user prompted stays as it was. A rejected candidate changes
        nothing, and neither does one for an object that is not OCCLUDED or LOST.

        Args:
            prompts: Several for an object are alternatives; the one most alike is taken.
            frame: As in `add`.

        Raises:
            UnknownIdError: No live object has the id of a prompt.
            NoFrameError, StampTooOldError, StampInFutureError, PromptError: As in `add`.
        """
        start_ns = time.perf_counter_ns()
        record, newer = self._history.locate(frame)
        checked = [check_prompt(prompt, record.size_hw) for prompt in prompts]
        pairs = [(self._objects.get(prompt.object_id), prompt) for prompt in checked]
        pairs = [(item, prompt) for item, prompt in pairs if item.state in UNSEEN_STATES]
        events: list[TrackEvent] = []
        with self.model.inference():
            if self._zoom is not None:
                self._zoom.see_all(list(self._objects))
                self._seen = self._history.newest()
            accepted, rejected = associate(
                [item for item, _ in pairs],
                self._segmenter.segment([prompt for _, prompt in pairs], record),
                self._propagator.reidentifier,
                Scene(
                    feature_map(self._segmenter.encode(record), record.image), list(self._objects)
                ),
                self.settings,
                shown=self._propagator.masks([item for item in self._objects if item.visible]),
                min_similarity=self.settings.reacquire.min_similarity,
            )
            items = [candidate.item for candidate in accepted]
            for candidate in accepted:
                segment = candidate.segment
                self._propagator.seed(
                    candidate.item, self._segmenter.encode(record), segment.kept, segment.spatial,
                    record.frame_index,
                )  # fmt: skip
            for later in newer if items else ():
                events += self._track(items, later)
        result = self._finish(events, start_ns)
        return Reinitialization(result, tuple(item.object_id for item in items), tuple(rejected))

    def remove(self, object_ids: Sequence[str] = ()) -> tuple[TrackEvent, ...]:
        """Stop tracking objects; without ids, all.

        Raises:
            UnknownIdError: An id is not live; nothing is removed.
        """
        ids = list(dict.fromkeys(object_ids)) or [item.object_id for item in self._objects]
        for object_id in ids:
            self._objects.get(object_id)
        items = [self._objects.remove(object_id) for object_id in ids]
        if len(self._history) and items:
            self._finish([], time.perf_counter_ns())
        return tuple(_event(EventType.REMOVED, item, 'removed by request') for item in items)

    def reset(self) -> tuple[TrackEvent, ...]:
        """Forget all objects and frames."""
        events = self.remove()
        self._forget_frames()
        self._history.num_frames = 0
        return (*events, TrackEvent(EventType.RESET, '', uuid.UUID(int=0), 'tracker was reset'))

    def reset_memory(self) -> None:
        """Keep objects and their prompted frames; forget recent memory and all frames."""
        if self._zoom is not None:
            with self.model.inference():
                self._zoom.see_all(list(self._objects))
        self._propagator.forget_recent(list(self._objects))
        reset_mask_priors(self._propagator.logits)
        self._history.clear()
        self._seen = None
        self._segmenter.forget()

    def state(self) -> dict[str, Any]:
        """Return what the next frames depend on, as plain values and copied tensors.

        Frames of the past are not in it: after `resume`, prompts go to frames from then on.
        """
        state = {
            'num_frames': self._history.num_frames,
            'restored_ns': self._restored_ns,
            'objects': self._objects.state(),
            'propagator': self._propagator.state(),
        }
        return state if self._zoom is None else {**state, 'zoom': self._zoom.state()}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where a tracker with the same model and settings was when it gave its `state`."""
        self._forget_frames()
        self._history.num_frames = state['num_frames']
        self._restored_ns = state['restored_ns']
        self._objects.resume(state['objects'])
        self._propagator.resume(state['propagator'])
        if self._zoom is not None:
            self._zoom.resume(state['zoom'])

    def snapshot(self, notes: Mapping[str, str] | None = None) -> bytes:
        """Return all tracks as bytes: of each object what its best hypothesis remembers.

        Args:
            notes: Texts by name to keep with them, for `serialization.read_notes`.
        """
        items = list(self._objects)
        whole = contextlib.nullcontext(items) if self._zoom is None else self._zoom.as_whole(items)
        with whole as items:
            return serialization.write(
                items,
                self._propagator,
                num_frames=self._history.num_frames,
                num_added=self._objects.num_added,
                session=self._objects.session,
                notes=notes,
            )

    def restore(self, data: bytes) -> None:
        """Go on with the tracks of a snapshot, under the same ids and uuids.

        Each object is LOST, without a mask, until it is seen again (`reacquire` settings).

        Args:
            data: What `snapshot` returned, of a tracker with this model and these sizes.

        Raises:
            SnapshotError: It is damaged or does not fit, or this tracker has objects; nothing
                is changed.
        """
        if len(self._objects):
            raise SnapshotError(
                f'expected a tracker without objects, got one with {len(self._objects)}; remove '
                'them, or restore first'
            )
        header, parts = serialization.read(data, self._propagator)
        items = [
            serialization.load(saved, tensors, self._propagator)
            for saved, tensors in zip(header.objects, parts, strict=True)
        ]
        self._objects.take_over(items, header.num_added, header.session)
        self._history.num_frames = max(self._history.num_frames, header.num_frames)
        self._restored_ns = None
        self._forget_frames()

    def _forget_frames(self) -> None:
        self._history.clear()
        self._segmenter.forget()
        if self._zoom is not None:
            self._zoom.clear()
        self._seen = self.last_result = None

    def _take_places(
        self, prompts: Sequence[Prompt], stamp_ns: int
    ) -> tuple[list[LiveObject], list[TrackEvent]]:
        """Add an object per checked prompt, without memory, in place of those of the same ids."""
        ids = {prompt.object_id for prompt in prompts}
        replaced = [item.object_id for item in self._objects if item.object_id in ids]
        events = list(self.remove(replaced)) if replaced else []
        items = [self._objects.add(p.object_id, p.class_id, stamp_ns) for p in prompts]
        self._propagator.forget(items)
        if self._zoom is not None:
            self._zoom.forget(items)
        return items, events

    def _look_at(
        self, prompts: list[Prompt], record: Record, newer: list[Record], items: list[LiveObject]
    ) -> Record:
        """Return the frame of prompts as the network is to see it.

        Args:
            prompts: Checked.
            record: Their frame, seen as a whole.
            newer: The frames after it, which are kept as a whole.
            items: The objects that stay.
        """
        if self._zoom is None:
            return record
        if newer or record.size_hw != self._history.newest().size_hw:
            self._zoom.see_all(items)
            self._seen = self._history.newest()
            return record
        self._seen = self._zoom.aim(prompts, record, items, self.settings.zoom)
        return self._seen

    def _note_prompted(
        self,
        items: list[LiveObject],
        prompts: list[Prompt],
        segment: Segments,
        record: Record,
        frame: Frame | None,
    ) -> None:
        """Keep what was just pointed at, so that it can be remembered through another window."""
        if self._zoom is not None:
            rows = segment.rows
            self._zoom.note_prompted(
                [items[row] for row in rows], segment.kept.mask_logits[:, 0],
                [prompts[row] for row in rows], record, frame,
            )  # fmt: skip

    def _context(self, item: LiveObject, record: Record) -> Context:
        """Return what a live object is corrected by: its memory, and its mask while it is seen."""
        features = self._segmenter.encode(record)
        slots = slots_of([item])
        modulation = self.settings.memory.modulation
        memory = self._propagator.memory
        view = memory.view(slots, slots * 0, record.frame_index, modulation=modulation)
        previous = None
        if record is self._newest() and item.visible:
            previous = self._propagator.masks([item]).unsqueeze(1)
        gates = self.model.gates(features, view)
        return Context(self.model.attend(features, view, gates), previous)

    def _start(self, items: list[LiveObject], segment: Segments, record: Record) -> list[str]:
        """Begin with prompted masks; returns warnings of misfits and of very small objects."""
        features = self._segmenter.encode(record)
        self._propagator.start(items, features, segment.kept, segment.spatial, record)
        warnings, rule = [], self.settings.guard
        for item, misfit in zip(items, segment.misfit, strict=True):
            warnings += warn_of_misfit(item, misfit, rule) + warn_of_size(item)
        return warnings

    def _track(self, items: list[LiveObject], record: Record) -> list[TrackEvent]:
        """Track some objects into one frame, in one batch."""
        happened = self._propagator.follow(
            items, self._segmenter.encode(record), record, self.settings
        )
        return [_event(kind, item, _detail(item)) for item, kind in happened]

    def _remove_long_lost(self, item: LiveObject, stamp_ns: int) -> list[TrackEvent]:
        limit_s = self.settings.remove_lost_after_s
        since_ns = max(item.last_seen_ns, self._restored_ns or item.last_seen_ns)
        unseen_s = (stamp_ns - since_ns) / 1e9 - self.settings.lost_after_s
        if item.state != ObjectState.LOST or not limit_s or unseen_s < limit_s:
            return []
        self._objects.remove(item.object_id)
        return [_event(EventType.REMOVED, item, f'lost for {unseen_s:.1f} s')]

    def _newest(self) -> Record:
        """Return the newest frame as the network saw it."""
        return self._history.newest() if self._seen is None else self._seen

    def _finish(
        self, events: list[TrackEvent], start_ns: int, warnings: Sequence[str] = ()
    ) -> TrackResult:
        items = list(self._objects)
        self.last_result = make_result(
            items,
            self._propagator.masks(items),
            self._newest(),
            events,
            start_ns=start_ns,
            warnings=warnings,
        )
        return self.last_result


def _as_it_is(logits: torch.Tensor) -> torch.Tensor:
    return logits


def _event(kind: EventType, item: LiveObject, detail: str) -> TrackEvent:
    return TrackEvent(kind, item.object_id, item.uuid, detail)


def _detail(item: LiveObject) -> str:
    detail = f'{item.state.name.lower()} at confidence {item.confidence:.2f}'
    similarity = math.nan if item.evidence is None else item.evidence.similarity
    if item.returned_ns != item.updated_ns or math.isnan(similarity):
        return detail
    return f'{detail}, similarity {similarity:.2f}'
