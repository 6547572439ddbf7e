"""What a tracker does by words: find things, search on in later frames, help its objects."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.objects import LiveObject, slots_of
from robust_vos_ros.core.prompting.prompts import check_names
from robust_vos_ros.core.prompting.starting import Change, PromptedFrame, add_objects
from robust_vos_ros.core.reid.reinitialization import reinitialize
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.tracks import Tracks
from robust_vos_ros.core.types import UNSEEN_STATES, Prompt, TrackEvent
from robust_vos_ros.core.words.adapter import blend
from robust_vos_ros.core.words.finding import Match
from robust_vos_ros.core.words.looking import Looker, to_prompt
from robust_vos_ros.core.words.search import Found, Mode, Search, Sighting, describe
from robust_vos_ros.core.words.searching import Searches
from robust_vos_ros.core.zoom.window import Record

_T = TypeVar('_T')
# Probability from which words correct a memory.
_BETTER = 0.5


class WordTracking:
    """Searches by words in the stream of a tracker, and the words of its objects.

    Args:
        tracks: Of the stream.

    Attributes:
        searches: Those that last.
    """

    def __init__(self, tracks: Tracks) -> None:
        self.searches = Searches()
        self._tracks = tracks
        self._looker = Looker(tracks)
        self._disabled = False  # words cannot be used, so frames go on without them

    def check(self, text: str) -> str:
        """Return a normalized expression; raises PromptError if it cannot be searched for."""
        text = self._looker.finder.check(text)
        self._disabled = False
        return text

    def reset(self) -> None:
        """End all searches, and forget the frames looked at."""
        self.searches.clear()
        self._looker.forget()

    def resolve(
        self, prompts: Sequence[Prompt], record: Record, least: float
    ) -> tuple[list[Prompt], list[Search]]:
        """Replace prompts of words alone by masks.

        Args:
            prompts: The prompts.
            record: Their whole frame.
            least: Minimum confidence of a match.

        Returns:
            The prompts that say where their object is, and searches for the others.
        """
        ready, waiting = [], []
        for given in prompts:
            check_names(given.object_id, given.class_id)
            text = self.check(given.text) if given.text else ''
            prompt = dataclasses.replace(given, text=text)
            if not prompt.is_text_alone:
                ready.append(prompt)
                continue
            named = prompt.object_id, prompt.class_id
            search = Search(text, 1, least, False, record.stamp_ns, *named)
            found = _new(self._looker.look(search, record))
            ready += [prompt for _, prompt in found]
            if not found:
                waiting.append(search)
        return ready, waiting

    def find(
        self,
        text: str,
        *,
        max_objects: int,
        min_confidence: float,
        mode: Mode,
        settings: TrackerSettings,
        start_ns: int,
    ) -> Found:
        """Find things in the newest frame; see `VideoTracker.find`.

        Args:
            text: As there; `max_objects`, `min_confidence` and `mode` as well.
            settings: Of tracking.
            start_ns: As for `make_result`.
        """
        tracks = self._tracks
        record = tracks.frames.history.newest()
        text = self.check(text)
        if mode == 'stop':
            self.searches.stop(text)
            return Found(tracks.show([], start_ns), (), lasts=False)
        search = Search(text, max_objects, min_confidence, mode == 'keep_looking', record.stamp_ns)
        seen = self._looker.look(search, record)
        prompts = [prompt for _, prompt in _new(seen)]
        tracks.objects.check_room([one.object_id for one in prompts], replace_existing=False)
        change = self._add(prompts, record, settings)
        search.room -= len(prompts)
        lasts = search.room > 0 and (search.keep or (mode == 'until_found' and not seen))
        if lasts:
            self.searches.keep(search)
        return Found(tracks.show(change.events, start_ns, change.warnings), tuple(seen), lasts)

    def step(
        self, items: Sequence[LiveObject], settings: TrackerSettings, min_interval_s: float
    ) -> list[TrackEvent]:
        """Let the search that waited longest and the words of one object look at the newest frame.

        Args:
            items: Objects tracked into the frame.
            settings: Of tracking.
            min_interval_s: Minimum time between two looks, beside that of the settings.
        """
        record = self._tracks.frames.history.newest()
        interval_s = max(settings.word_search.interval_s, min_interval_s)
        events = [] if self._disabled else self._search(record, settings, interval_s)
        if not self._disabled:
            events += self._help(items, record, settings, interval_s)
        return events

    def _search(
        self, record: Record, settings: TrackerSettings, interval_s: float
    ) -> list[TrackEvent]:
        """Let a lasting search look at a frame, and add what it finds."""
        search = self.searches.longest_waiting(record.stamp_ns, interval_s)
        if search is None:
            return []
        free = settings.max_objects - len(self._tracks.objects)
        new = _new(self._try(partial(self._looker.look, search, record)))[:free]
        events = []
        for sighting, prompt in new:
            change = self._add([prompt], record, settings)
            detail = describe(search.text, sighting.confidence)
            events += [dataclasses.replace(event, detail=detail) for event in change.events]
        self.searches.note(search, len(new))
        return events

    def _try(self, look: Callable[[], list[_T]]) -> list[_T]:
        """Look at a frame; without the weights of words, a stream goes on and nothing is seen."""
        try:
            return look()
        except PromptError:
            self._disabled = True
            return []

    def _add(self, prompts: list[Prompt], record: Record, settings: TrackerSettings) -> Change:
        """Add what was found in the newest frame, if anything."""
        if not prompts:
            return Change([], [])
        change = add_objects(self._tracks, PromptedFrame.check(prompts, record), settings)
        self.searches.end_for(prompt.object_id for prompt in prompts)
        return change

    def _help(
        self,
        items: Sequence[LiveObject],
        record: Record,
        settings: TrackerSettings,
        interval_s: float,
    ) -> list[TrackEvent]:
        """Let the words of one object look: where it is, or what memory should store."""
        rule = settings.word_search
        for item in items:
            waited = abs(record.stamp_ns - item.reid.worded_ns) >= interval_s * 1e9
            unseen = item.track.state in UNSEEN_STATES and not item.track.visible
            corrects = rule.correct_memory and item.track.visible
            if not item.text or not waited or not (unseen or corrects):
                continue
            item.reid.worded_ns = record.stamp_ns
            matches = self._try(
                partial(self._looker.match, item.text, record, rule.min_confidence)
            )
            if corrects:
                self._correct_memory(item, record, matches[:1])
            elif matches:
                name, class_id = item.object_id, item.class_id
                found = [to_prompt(one, name, item.text, class_id, record) for one in matches]
                given = PromptedFrame.check(found, record)
                start_ns = time.perf_counter_ns()
                done = reinitialize(self._tracks, given, settings, start_ns)
                return list(done.result.events)
            break
        return []

    def _correct_memory(self, item: LiveObject, record: Record, matches: list[Match]) -> None:
        """Blend a better match into what memory stores of a visible object."""
        tracks = self._tracks
        if not matches or not tracks.frames.newest().window.is_whole:
            return
        model, features = tracks.model, tracks.segmenter.encode(record)
        with model.inference():
            followed = tracks.propagator.masks([item])
            probability = self._looker.finder.compare(features, matches[0], followed[0])
            if probability < _BETTER:
                return
            share = torch.tensor([probability], device=followed.device)
            mask = blend(followed[:, None], matches[0].logits[None, None], share)
            score = torch.ones_like(share)
            spatial = model.remember(features, mask, score, prompted=False)
        slots = slots_of([item])
        tracks.propagator.memory.write_recent_spatial(
            slots, slots * 0, record.frame_index, spatial, score.numpy(force=True)
        )


def _new(seen: Sequence[Sighting]) -> list[tuple[Sighting, Prompt]]:
    """Return what was seen that is no live object, with its prompts."""
    return [(one, one.prompt) for one in seen if one.prompt is not None]
