"""The engine: prompt objects once, then call `VideoTracker.step` for each frame."""

from __future__ import annotations

import dataclasses
import math
import time
import uuid
from collections.abc import Mapping, Sequence

import torch

from robust_vos_ros.core.adapters.gates import Gates
from robust_vos_ros.core.confidence import states
from robust_vos_ros.core.confidence.calibration import Evidence
from robust_vos_ros.core.confidence.evidence import warn_of_misfit, warn_of_size
from robust_vos_ros.core.errors import SavedTracksError
from robust_vos_ros.core.frames import Frames
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.objects import LiveObject, ObjectTable, slots_of
from robust_vos_ros.core.prompting.prompts import check_names, check_prompt
from robust_vos_ros.core.prompting.reference_pictures import (
    ReferencePicture,
    segment_pictures,
    start_lost,
)
from robust_vos_ros.core.prompting.segmentation import Context, Segmenter, Segments
from robust_vos_ros.core.propagation import Propagator, reset_mask_priors
from robust_vos_ros.core.reduction import Reduction
from robust_vos_ros.core.reid.appearance import feature_map
from robust_vos_ros.core.reid.association import Reinitialization, associate
from robust_vos_ros.core.reid.redetection import redetect
from robust_vos_ros.core.reid.reidentifier import Scene
from robust_vos_ros.core.results import make_result
from robust_vos_ros.core.saving.saved_tracks import read_tracks, save_tracks
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
from robust_vos_ros.core.words.searching import Found, Mode, Search, Searches, describe
from robust_vos_ros.core.zoom.window import Record
from robust_vos_ros.core.zoom.zoom import Zoom

_DEFAULT_SESSION = uuid.UUID(int=0)


class VideoTracker:
    """Track up to `settings.max_objects` objects through a stream of frames.

    Not thread-safe: one thread owns a tracker.

    Args:
        model: The network; may be shared by trackers of one thread.
        settings: May be replaced at run time by one that differs in dynamic fields only.
        session: Namespace of the objects' uuids; pass a new one per run for unique uuids.

    Attributes:
        reduction: Work that `step` leaves out; may be replaced between frames.
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
        self.reduction = Reduction()
        self.last_result: TrackResult | None = None
        self._objects = ObjectTable(settings.max_objects, session or _DEFAULT_SESSION)
        self._propagator = Propagator(model, settings)
        self._frames = Frames(self._propagator, settings)
        self._segmenter = Segmenter(model)
        self._searches = Searches(self._segmenter, self._propagator, self._frames, self._objects)
        self._restored_ns: int | None = None  # first frame, or first one after `restore`

    @property
    def last_gates(self) -> Gates | None:
        """Gates of the adapter in the newest tracked frame; None without one."""
        return self._propagator.last_gates

    @property
    def ids(self) -> list[str]:
        """The ids of the live objects."""
        return [item.object_id for item in self._objects]

    @property
    def last_encoder_gates(self) -> Gates | None:
        """Gates of the image encoder in the newest tracked frame; None without any."""
        return self._propagator.last_encoder_gates

    @property
    def uuids(self) -> frozenset[uuid.UUID]:
        """The uuids of the live objects."""
        return frozenset(item.uuid for item in self._objects)

    def evidence(self) -> dict[str, tuple[Evidence, torch.Tensor]]:
        """Return confidence evidence and mask of each live object in the newest frame, by id.

        The masks are (h, w) logits, also of objects that are not visible.
        """
        masks = self._propagator.raw_masks
        return {
            item.object_id: (item.track.evidence, self._frames.to_whole(masks[item.slot]))
            for item in self._objects
            if item.track.evidence and item.slot in masks
        }

    def step(self, frame: Frame) -> TrackResult:
        """Track all objects into the next frame."""
        start_ns = time.perf_counter_ns()
        items = list(self._objects)
        if self._restored_ns is None:  # time without a tracker does not count as unseen
            self._restored_ns = frame.stamp_ns
        events: list[TrackEvent] = []
        with self.model.inference():
            record = self._frames.take(frame, items, self.settings.zoom)
            if items:
                turn, resting = self.reduction.take_turns(items, record.frame_index)
                events += self._track(turn, record, resting)
                may_search = self.reduction.permits_search(items, record.stamp_ns)
                if self.settings.reacquire.redetect and record.window.is_whole and may_search:
                    redetect(items, self._segmenter, self._propagator, record, self.settings)
        self._frames.note_tracked(items)
        events += self._search(items)
        for item in items:
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
            prompts: One per object. What words alone name is added when it is found, in this frame
                or a later one.
            frame: Past frame that the prompts were made on; the new objects are tracked forward to
                the newest frame, independently of the live ones. None = the newest frame.
            replace_existing: Replace live objects of the same id.

        Returns:
            The result of the newest frame, with all objects.

        Raises:
            NoFrameError, StampTooOldError, StampInFutureError: The frame is not in the history.
            DuplicateIdError, CapacityError: An id is taken, or there is no room for the objects.
            PromptError: A prompt cannot be used.
        """
        start_ns = time.perf_counter_ns()
        record, newer = self._frames.history.locate(frame)
        ids = [prompt.object_id for prompt in prompts]
        self._objects.check_room(ids, replace_existing=replace_existing)
        least = self.settings.word_search.min_confidence
        prompts, waiting = self._searches.resolve(prompts, record, least)
        checked = [check_prompt(prompt, record.size_hw) for prompt in prompts]
        warnings = [self._searches.keep(search) for search in waiting]
        if waiting and not checked:
            return self._finish([], start_ns, warnings)
        with self.model.inference():
            others = [item for item in self._objects if item.object_id not in ids]
            record = self._frames.view_prompted(checked, record, newer, others, self.settings.zoom)
            # Segment before any state changes: after an error in the network nothing has changed.
            segments = self._segmenter.segment(checked, record)
            items, events = self._add_objects(checked, record.stamp_ns)
            for segment in segments:
                warnings += self._start([items[row] for row in segment.rows], segment, record)
                self._frames.note_prompted(items, checked, segment, record, frame)
            events += [_event(EventType.ADDED, item, 'added by a prompt') for item in items]
            for later in newer if items else ():
                events += self._track(items, later)
        return self._finish(events, start_ns, warnings)

    def find(
        self,
        text: str,
        *,
        max_objects: int = 1,
        min_confidence: float | None = None,
        mode: Mode = 'once',
    ) -> Found:
        """Find things in the newest frame that fit an expression, and track them.

        Args:
            text: The expression, such as "the red mug".
            max_objects: Maximum number of things.
            min_confidence: Minimum confidence of a match; None = `word_search.min_confidence`.
            mode: once = in this frame alone; until_found = also in later ones until something is
                found; keep_looking = also in later ones until `max_objects` were added; stop = end
                the search for this expression.

        Raises:
            NoFrameError: There is no frame yet.
            CapacityError: There is no room for what was found.
            PromptError: The expression cannot be used, or words are not available.
        """
        start_ns = time.perf_counter_ns()
        record = self._frames.history.newest()
        text = self._searches.check(text)
        if mode == 'stop':
            self._searches.stop(text)
            return Found(self._finish([], start_ns), (), lasts=False)
        least = (
            self.settings.word_search.min_confidence if min_confidence is None else min_confidence
        )
        search = Search(text, max_objects, least, mode == 'keep_looking', record.stamp_ns)
        seen = self._searches.look(search, record)
        prompts = [sighting.prompt for sighting in seen if sighting.prompt is not None]
        self._objects.check_room([prompt.object_id for prompt in prompts], replace_existing=False)
        result = self.add(prompts) if prompts else self._finish([], start_ns)
        search.room -= len(prompts)
        lasts = search.room > 0 and (search.keep or (mode == 'until_found' and not seen))
        if lasts:
            self._searches.keep(search)
        return Found(result, tuple(seen), lasts)

    def look_for(
        self, pictures: Sequence[ReferencePicture], *, replace_existing: bool = False
    ) -> TrackResult:
        """Add objects by reference pictures; all are accepted or none.

        Each is LOST, without a mask, until it is re-detected (`reacquire` settings).

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
        newest = self._frames.history.newest()
        ids = [picture.prompt.object_id for picture in pictures]
        self._objects.check_room(ids, replace_existing=replace_existing)
        warnings: list[str] = []
        with self.model.inference():
            segmented = segment_pictures(pictures, self._segmenter, newest)
            self._frames.reset_window(list(self._objects))  # re-detection needs the whole image
            items, events = self._add_objects(
                [picture.prompt for picture in segmented], newest.stamp_ns
            )
            for item, picture in zip(items, segmented, strict=True):
                warnings += start_lost(item, picture, self._segmenter, self._propagator)
        events += [_event(EventType.ADDED, item, 'added by a reference picture') for item in items]
        return self._finish(events, start_ns, warnings)

    def refine(self, prompt: Prompt, *, frame: Frame | None = None) -> TrackResult:
        """Correct a live object with further clicks, a box or a mask.

        Clicks are decoded with the object's memory and present mask. A box or a mask is decoded
        without either, because a mistake in memory would outweigh it. The frame enters memory as a
        prompted frame, and the recent memory, which may hold the mistake, is dropped. Arguments
        and errors as in `add`.

        A prompt of class or words alone changes these, now, and nothing else.

        Raises:
            UnknownIdError: No live object has the prompt's id.
        """
        start_ns = time.perf_counter_ns()
        item = self._objects.get(prompt.object_id)
        if (prompt.class_id or prompt.text) and not prompt.has_place:
            self._rename(item, prompt)
            return self._finish([], start_ns)
        record, newer = self._frames.history.locate(frame)
        checked = check_prompt(prompt, record.size_hw)
        with self.model.inference():
            items = list(self._objects)
            record = self._frames.view_prompted(
                [checked], record, newer, items, self.settings.zoom
            )
            clicks_only = checked.box is None and checked.mask is None
            context = self._context(item, record) if clicks_only else None
            (segment,) = self._segmenter.segment([checked], record, context)
            self._propagator.forget_recent([item])
            warnings = self._start([item], segment, record)
            self._frames.note_prompted([item], [checked], segment, record, frame)
            self._rename(item, prompt)
            events = [event for later in newer for event in self._track([item], later)]
        return self._finish(events, start_ns, warnings)

    def reinitialize(
        self, prompts: Sequence[Prompt], *, frame: Frame | None = None
    ) -> Reinitialization:
        """Re-initialize unseen objects from candidates, such as the boxes of a detector.

        A candidate is accepted if it is similar to the object (`reacquire` settings) and not a
        visible object. It has less authority than a user's prompt: as in re-detection, it replaces
        the recent memory, and the object becomes visible when its masks have matched its
        appearance for `reacquire.hold_s`. Prompted memory stays. Rejected candidates, and those
        for objects that are neither OCCLUDED nor LOST, change nothing.

        Args:
            prompts: Several for one object are alternatives, of which the most similar one is
                used.
            frame: As in `add`.

        Raises:
            UnknownIdError: No live object has the id of a prompt.
            NoFrameError, StampTooOldError, StampInFutureError, PromptError: As in `add`.
        """
        start_ns = time.perf_counter_ns()
        record, newer = self._frames.history.locate(frame)
        checked = [check_prompt(prompt, record.size_hw) for prompt in prompts]
        pairs = [(self._objects.get(prompt.object_id), prompt) for prompt in checked]
        unseen = [row for row, (item, _) in enumerate(pairs) if item.track.state in UNSEEN_STATES]
        pairs = [pairs[row] for row in unseen]
        events: list[TrackEvent] = []
        with self.model.inference():
            live = list(self._objects)
            self._frames.reset_window(live)
            features = self._segmenter.encode(record)
            accepted, rejected = associate(
                [item for item, _ in pairs],
                self._segmenter.segment([prompt for _, prompt in pairs], record),
                self._propagator.reidentifier,
                Scene(feature_map(features, record.image), live),
                self.settings,
                shown=self._propagator.masks([item for item in live if item.track.visible]),
                min_similarity=self.settings.reacquire.min_similarity,
            )
            items = [candidate.item for candidate in accepted]
            for item, segment in ((candidate.item, candidate.segment) for candidate in accepted):
                kept, spatial = segment.kept, segment.spatial
                self._propagator.seed(item, features, kept, spatial, record.frame_index)
            for later in newer if items else ():
                events += self._track(items, later)
        result = self._finish(events, start_ns)
        rows = tuple(unseen[candidate.segment.rows[0]] for candidate in accepted)
        ids = tuple(item.object_id for item in items)
        return Reinitialization(result, ids, rows, tuple(rejected))

    def remove(self, object_ids: Sequence[str] = ()) -> tuple[TrackEvent, ...]:
        """Stop tracking objects; without ids, all.

        Raises:
            UnknownIdError: An id is not live; no object is removed.
        """
        ids = list(dict.fromkeys(object_ids)) or [item.object_id for item in self._objects]
        ids = self._searches.stop_all(ids if object_ids else None)
        for object_id in ids:
            self._objects.get(object_id)
        items = [self._objects.remove(object_id) for object_id in ids]
        self._frames.forget(items)
        if len(self._frames.history) and items:
            self._finish([], time.perf_counter_ns())
        return tuple(_event(EventType.REMOVED, item, 'removed by request') for item in items)

    def reset(self) -> tuple[TrackEvent, ...]:
        """Forget all objects and frames."""
        events = self.remove()
        self._frames.reset()
        self._segmenter.forget()
        self._searches.clear()
        self.last_result = None
        return (*events, TrackEvent(EventType.RESET, '', uuid.UUID(int=0), 'tracker was reset'))

    def _add_objects(
        self, prompts: Sequence[Prompt], stamp_ns: int
    ) -> tuple[list[LiveObject], list[TrackEvent]]:
        """Add an object without memory per checked prompt; replaces those of the same ids."""
        ids = {prompt.object_id for prompt in prompts}
        replaced = [item.object_id for item in self._objects if item.object_id in ids]
        events = list(self.remove(replaced)) if replaced else []
        items = [self._objects.add(p.object_id, p.class_id, stamp_ns) for p in prompts]
        for item, prompt in zip(items, prompts, strict=True):
            item.text = prompt.text
        self._propagator.forget(items)
        return items, events

    def reset_memory(self) -> None:
        """Keep objects and their prompted frames; clear recent memory and the frame history."""
        items = list(self._objects)
        with self.model.inference():
            self._frames.reset_window(items)
        self._propagator.forget_recent(items)
        reset_mask_priors(self._propagator.logits)
        self._frames.clear()
        self._segmenter.forget()

    def save(self, notes: Mapping[str, str] | None = None) -> bytes:
        """Return all tracks as bytes for `restore`; changes no state.

        Past frames are not included, so later prompts cannot refer to them.

        Args:
            notes: Texts by name to save with the tracks, for `saved_tracks.read_notes`.
        """
        return save_tracks(
            self._objects,
            self._propagator,
            self._frames.zoom,
            num_frames=self._frames.history.num_frames,
            restored_ns=self._restored_ns,
            searches=self._searches.lasting,
            notes=notes,
        )

    def restore(self, data: bytes, *, lost: bool = False) -> None:
        """Load saved tracks, with the same ids and uuids.

        With the same settings and `lost` False, the next results equal those of the tracker that
        saved, bit for bit.

        Args:
            data: Result of `save` of a tracker with the same model and sizes.
            lost: Whether frames were missed since, as after a restart. Each object is then LOST,
                without a mask, until it is re-detected (`reacquire` settings), and only its best
                hypothesis is kept.

        Raises:
            SavedTracksError: The data are damaged, of another version or do not fit, or this
                tracker has objects; no state is changed.
        """
        if len(self._objects):
            raise SavedTracksError(
                f'expected a tracker without objects, got one with {len(self._objects)}; remove '
                'them, or restore first'
            )
        saved = read_tracks(data, self._propagator)
        header = saved.header
        items = saved.load(self._propagator)
        zoom = self._frames.zoom or Zoom(self._propagator, self.settings.zoom)
        saved.load_zoom(zoom)
        if lost or self._frames.zoom is None:
            with self.model.inference():
                zoom.reset_window(items)
        self._objects.take_over(items, header.num_added, header.session, same_run=not lost)
        history = self._frames.history
        history.num_frames = max(history.num_frames, header.num_frames)
        self._restored_ns = None if lost else header.restored_ns
        self._frames.clear()
        self._segmenter.forget()
        self._searches.restore(header.searches)
        self.last_result = None
        if lost:
            self._propagator.keep_best(items)
            for item in items:
                states.lose(item)

    def _search(self, items: Sequence[LiveObject]) -> list[TrackEvent]:
        """Look for what the most urgent search wants, and for unseen objects that have words."""
        record, rule = self._frames.history.newest(), self.settings.word_search
        interval_s = max(rule.interval_s, self.reduction.search_interval_s)
        events: list[TrackEvent] = []
        for search, new in self._searches.look_again(record, interval_s):
            free = self.settings.max_objects - len(self._objects)
            for sighting in new[:free]:
                added = self.add([sighting.prompt]) if sighting.prompt else None
                detail = describe(search.text, sighting.confidence)
                events += [
                    dataclasses.replace(event, detail=detail)
                    for event in (added.events if added else ())
                ]
            self._searches.note(search, len(new[:free]))
        for candidates in self._searches.attend(items, record, rule, interval_s):
            events += self.reinitialize(candidates).result.events
        return events

    def _rename(self, item: LiveObject, prompt: Prompt) -> None:
        """Change class and words of an object to those of a prompt that has any."""
        check_names(prompt.object_id, prompt.class_id)
        text = self._searches.check(prompt.text) if prompt.text else item.text
        item.class_id, item.text = prompt.class_id or item.class_id, text

    def _context(self, item: LiveObject, record: Record) -> Context:
        """Return the decoder inputs for clicks on a live object."""
        features = self._segmenter.encode(record)
        slots = slots_of([item])
        modulation = self.settings.memory.modulation
        memory = self._propagator.memory
        view = memory.view(slots, slots * 0, record.frame_index, modulation=modulation)
        previous = None
        if record is self._frames.newest() and item.track.visible:
            previous = self._propagator.masks([item]).unsqueeze(1)
        gates = self.model.gates(features, view)
        return Context(self.model.attend(features, view, gates), previous)

    def _start(self, items: list[LiveObject], segment: Segments, record: Record) -> list[str]:
        """Initialize objects from prompted masks; returns warnings about the masks."""
        features = self._segmenter.encode(record)
        self._propagator.start(items, features, segment.kept, segment.spatial, record)
        warnings, rule = [], self.settings.guard
        zoomed = self.settings.zoom.enabled
        for item, misfit in zip(items, segment.misfit, strict=True):
            warnings += warn_of_misfit(item, misfit, rule) + warn_of_size(item, zoomed=zoomed)
        return warnings

    def _track(
        self, items: list[LiveObject], record: Record, resting: Sequence[LiveObject] = ()
    ) -> list[TrackEvent]:
        """Track some objects into one frame, in one batch; those that rest only age."""
        settings = self.reduction.limit(self.settings)
        gates = self._propagator.encoder_gates(items, record)
        self._segmenter.gates = None if gates is None else gates.values[0]
        happened = self._propagator.follow(
            items, self._segmenter.encode(record), record, settings, resting=resting
        )
        for item in resting:
            happened += [(item, kind) for kind in states.age(item, record.stamp_ns, settings)]
        return [_event(kind, item, _detail(item)) for item, kind in happened]

    def _remove_long_lost(self, item: LiveObject, stamp_ns: int) -> list[TrackEvent]:
        limit_s = self.settings.remove_lost_after_s
        since_ns = max(item.track.last_seen_ns, self._restored_ns or item.track.last_seen_ns)
        unseen_s = (stamp_ns - since_ns) / 1e9 - self.settings.lost_after_s
        if item.track.state != ObjectState.LOST or not limit_s or unseen_s < limit_s:
            return []
        self._objects.remove(item.object_id)
        self._frames.forget([item])
        return [_event(EventType.REMOVED, item, f'lost for {unseen_s:.1f} s')]

    def _finish(
        self, events: list[TrackEvent], start_ns: int, warnings: Sequence[str] = ()
    ) -> TrackResult:
        items = list(self._objects)
        self.last_result = make_result(
            items,
            self._propagator.masks(items),
            self._frames.newest(),
            events,
            start_ns=start_ns,
            warnings=warnings,
        )
        return self.last_result


def _event(kind: EventType, item: LiveObject, detail: str) -> TrackEvent:
    return TrackEvent(kind, item.object_id, item.uuid, detail)


def _detail(item: LiveObject) -> str:
    detail = f'{item.track.state.name.lower()} at confidence {item.track.confidence:.2f}'
    similarity = math.nan if item.track.evidence is None else item.track.evidence.similarity
    if item.reid.reacquired_ns != item.track.updated_ns or math.isnan(similarity):
        return detail
    return f'{detail}, similarity {similarity:.2f}'
