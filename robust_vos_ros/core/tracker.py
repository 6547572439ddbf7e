"""The engine: prompt objects once, then call `VideoTracker.step` for each frame."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Mapping, Sequence

import torch

from robust_vos_ros.core.adapters.gates import Gates
from robust_vos_ros.core.confidence.calibration import Evidence
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.prompting.prompts import check_names
from robust_vos_ros.core.prompting.reference_pictures import ReferencePicture, add_pictures
from robust_vos_ros.core.prompting.starting import (
    PromptedFrame,
    add_objects,
    refine_object,
    rename,
)
from robust_vos_ros.core.reduction import Reduction
from robust_vos_ros.core.reid.redetection import redetect
from robust_vos_ros.core.reid.reinitialization import Reinitialization, reinitialize
from robust_vos_ros.core.saving.saved_tracks import restore_tracks, save_tracks
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.tracks import Tracks
from robust_vos_ros.core.types import EventType, Frame, Prompt, TrackEvent, TrackResult
from robust_vos_ros.core.words.search import Found, Mode
from robust_vos_ros.core.words.tracking import WordTracking

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
        self._tracks = Tracks(model, settings, session or _DEFAULT_SESSION)
        self._words = WordTracking(self._tracks)

    @property
    def last_gates(self) -> Gates | None:
        """Gates of the adapter in the newest tracked frame; None without one."""
        return self._tracks.propagator.last_gates

    @property
    def ids(self) -> list[str]:
        """The ids of the live objects."""
        return [item.object_id for item in self._tracks.objects]

    @property
    def last_encoder_gates(self) -> Gates | None:
        """Gates of the image encoder in the newest tracked frame; None without any."""
        return self._tracks.propagator.last_encoder_gates

    @property
    def uuids(self) -> frozenset[uuid.UUID]:
        """The uuids of the live objects."""
        return frozenset(item.uuid for item in self._tracks.objects)

    def evidence(self) -> dict[str, tuple[Evidence, torch.Tensor]]:
        """Return confidence evidence and mask of each live object in the newest frame, by id.

        The masks are (h, w) logits, also of objects that are not visible.
        """
        tracks = self._tracks
        masks = tracks.propagator.raw_masks
        return {
            item.object_id: (item.track.evidence, tracks.frames.to_whole(masks[item.slot]))
            for item in tracks.objects
            if item.track.evidence and item.slot in masks
        }

    def step(self, frame: Frame) -> TrackResult:
        """Track all objects into the next frame."""
        start_ns = time.perf_counter_ns()
        tracks, settings = self._tracks, self._present_settings()
        items = list(tracks.objects)
        events: list[TrackEvent] = []
        with self.model.inference():
            record = tracks.take(frame, settings)
            if items:
                turn, resting = self.reduction.take_turns(items, record.frame_index)
                events += tracks.follow(turn, record, settings, resting)
                may_search = self.reduction.permits_search(items, record.stamp_ns)
                if settings.reacquire.redetect and record.window.is_whole and may_search:
                    redetect(items, tracks.segmenter, tracks.propagator, record, settings)
        tracks.frames.note_tracked(items)
        events += self._words.step(items, settings, self.reduction.search_interval_s)
        events += tracks.remove_long_lost(items, record.stamp_ns, settings)
        return self._show(events, start_ns)

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
        record, newer = self._tracks.frames.history.locate(frame)
        ids = [prompt.object_id for prompt in prompts]
        self._tracks.objects.check_room(ids, replace_existing=replace_existing)
        least = self.settings.word_search.min_confidence
        prompts, waiting = self._words.resolve(prompts, record, least)
        given = PromptedFrame.check(prompts, record, newer, frame)
        warnings = [self._words.searches.keep(search) for search in waiting]
        if waiting and not given.prompts:
            return self._show([], start_ns, warnings)
        change = add_objects(self._tracks, given, self._present_settings())
        self._words.searches.end_for(prompt.object_id for prompt in given.prompts)
        return self._show(change.events, start_ns, warnings + change.warnings)

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
        least = self.settings.word_search.min_confidence
        found = self._words.find(
            text,
            max_objects=max_objects,
            min_confidence=least if min_confidence is None else min_confidence,
            mode=mode,
            settings=self._present_settings(),
            start_ns=start_ns,
        )
        self.last_result = found.result
        return found

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
        self._tracks.frames.history.newest()  # there must be one
        ids = [picture.prompt.object_id for picture in pictures]
        self._tracks.objects.check_room(ids, replace_existing=replace_existing)
        change = add_pictures(self._tracks, pictures)
        self._words.searches.end_for(ids)
        return self._show(change.events, start_ns, change.warnings)

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
        item = self._tracks.objects.get(prompt.object_id)
        if prompt.text:
            prompt = dataclasses.replace(prompt, text=self._words.check(prompt.text))
        if (prompt.class_id or prompt.text) and not prompt.has_place:
            check_names(prompt.object_id, prompt.class_id)
            rename(item, prompt)
            return self._show([], start_ns)
        record, newer = self._tracks.frames.history.locate(frame)
        given = PromptedFrame.check([prompt], record, newer, frame)
        change = refine_object(self._tracks, item, given, self._present_settings())
        return self._show(change.events, start_ns, change.warnings)

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
        record, newer = self._tracks.frames.history.locate(frame)
        candidates = PromptedFrame.check(prompts, record, newer, frame)
        done = reinitialize(self._tracks, candidates, self._present_settings(), start_ns)
        self.last_result = done.result
        return done

    def remove(self, object_ids: Sequence[str] = ()) -> tuple[TrackEvent, ...]:
        """Stop tracking objects; without ids, all.

        Raises:
            UnknownIdError: An id is not live; no object is removed.
        """
        live = self.ids
        if object_ids:
            ids = self._words.searches.stop_for(list(dict.fromkeys(object_ids)), live)
        else:
            self._words.searches.clear()
            ids = live
        events = self._tracks.remove(ids)
        if len(self._tracks.frames.history) and ids:
            self._show([], time.perf_counter_ns())
        return tuple(events)

    def reset(self) -> tuple[TrackEvent, ...]:
        """Forget all objects and frames."""
        events = self._tracks.reset()
        self._words.reset()
        self.last_result = None
        return (*events, TrackEvent(EventType.RESET, '', uuid.UUID(int=0), 'tracker was reset'))

    def reset_memory(self) -> None:
        """Keep objects and their prompted frames; clear recent memory and the frame history."""
        with self.model.inference():
            self._tracks.forget_recent()

    def save(self, notes: Mapping[str, str] | None = None) -> bytes:
        """Return all tracks as bytes for `restore`; changes no state.

        Past frames are not included, so later prompts cannot refer to them.

        Args:
            notes: Texts by name to save with the tracks, for `saving.format.read_notes`.
        """
        return save_tracks(self._tracks, self._words.searches.lasting, notes)

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
        searches = restore_tracks(self._tracks, data, self.settings, lost=lost)
        self._words.searches.restore(searches)
        self.last_result = None

    def _present_settings(self) -> TrackerSettings:
        return self.reduction.limit(self.settings)

    def _show(
        self, events: list[TrackEvent], start_ns: int, warnings: Sequence[str] = ()
    ) -> TrackResult:
        """Return the result of the newest frame, and keep it."""
        self.last_result = self._tracks.show(events, start_ns, warnings)
        return self.last_result
