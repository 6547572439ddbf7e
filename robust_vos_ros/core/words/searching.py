"""Prompts that are words, and searches by words that last."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Annotated, Literal

import pydantic
import torch
import torch.nn.functional as F

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.frames import Frames
from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.objects import Count, LiveObject, ObjectTable, TimeNs, slots_of
from robust_vos_ros.core.prompting.prompts import MAX_NAME, check_names
from robust_vos_ros.core.prompting.segmentation import Segmenter
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.tracking_sections import WordSearchSettings
from robust_vos_ros.core.types import UNSEEN_STATES, Prompt, TrackResult
from robust_vos_ros.core.words.adapter import blend
from robust_vos_ros.core.words.finder import Recent, WordFinder
from robust_vos_ros.core.words.finding import Match
from robust_vos_ros.core.words.text import MAX_TEXT
from robust_vos_ros.core.zoom.window import Record

Mode = Literal['once', 'until_found', 'keep_looking', 'stop']
# A match that overlaps a live object this much is that object.
_LIVE_IOU = 0.5
# Probability from which words correct a memory.
_BETTER = 0.5


@dataclasses.dataclass(slots=True)
class Search:
    """A search for things that fit an expression.

    Attributes:
        text: The expression, normalized.
        room: Number of things that may still be added.
        min_confidence: Least confidence of a match.
        keep: Whether it goes on when something was found.
        looked_ns: Stamp of the newest frame it looked at.
        object_id: Id of the one thing that is searched for; empty = ids are made of the text.
        class_id: Of the things.
    """

    __pydantic_config__ = pydantic.ConfigDict(extra='forbid')

    text: Annotated[str, pydantic.Field(max_length=MAX_TEXT)]
    room: Count
    min_confidence: Annotated[float, pydantic.Field(ge=0.0, le=1.0)]
    keep: bool
    looked_ns: TimeNs
    object_id: Annotated[str, pydantic.Field(max_length=MAX_NAME)] = ''
    class_id: Annotated[str, pydantic.Field(max_length=MAX_NAME)] = ''


@dataclasses.dataclass(frozen=True, slots=True)
class Sighting:
    """A match: a live object, or the mask prompt of a new one.

    Attributes:
        object_id: Of the object.
        confidence: Of the match.
        prompt: None for a live object.
    """

    object_id: str
    confidence: float
    prompt: Prompt | None


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """Result of a search.

    Attributes:
        result: Of the newest frame, with all objects.
        sightings: What was found, the most probable first.
        lasts: Whether the search goes on in later frames.
    """

    result: TrackResult
    sightings: tuple[Sighting, ...]
    lasts: bool


class Searches:
    """Searches in the stream of a tracker; those that last are kept by object id or expression.

    Args:
        segmenter: Encodes frames; its model has the finder.
        propagator: Holds masks and memory of the objects.
        frames: The frames of the stream.
        objects: The live objects.
    """

    def __init__(
        self, segmenter: Segmenter, propagator: Propagator, frames: Frames, objects: ObjectTable
    ) -> None:
        self._segmenter, self._propagator = segmenter, propagator
        self._frames, self._objects = frames, objects
        self._lasting: dict[str, Search] = {}
        self._recent = Recent()
        self._disabled = False  # words cannot be used, so frames go on without them

    @property
    def lasting(self) -> tuple[Search, ...]:
        """The searches that last."""
        return tuple(self._lasting.values())

    def check(self, text: str) -> str:
        """Return a normalized expression; raises PromptError if it cannot be searched for."""
        text = self._finder().check(text)
        self._disabled = False
        return text

    def keep(self, search: Search) -> str:
        """Keep a search, in place of one for the same object or expression; returns a sentence."""
        self._lasting[search.object_id or f'"{search.text}"'] = search
        what = repr(search.object_id) if search.object_id else 'it'
        return f'{nothing_like(search.text)}; {what} is added when it is found'

    def restore(self, searches: Sequence[Search]) -> None:
        """Keep saved searches in place of the present ones."""
        self._lasting = {}
        for search in searches:
            self.keep(search)

    def stop(self, name: str) -> None:
        """End the search for an object id or an expression, if there is one."""
        for key in (name, f'"{name}"'):
            self._lasting.pop(key, None)

    def stop_all(self, names: Sequence[str] | None) -> list[str]:
        """End the searches of some ids, or all; returns the ids that are those of objects."""
        live = {item.object_id: None for item in self._objects}
        if names is None:
            self._lasting.clear()
            return list(live)
        searched = {name for name in names if name in self._lasting and name not in live}
        if any(name not in live and name not in searched for name in names):
            return list(names)  # the caller refuses all of them
        for name in searched:
            del self._lasting[name]
        return [name for name in names if name in live]

    def clear(self) -> None:
        """End all searches, and forget the images looked at."""
        self._lasting.clear()
        self._recent.clear()

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
            found = [sighting.prompt for sighting in self.look(search, record)]
            ready += [one for one in found if one is not None]
            if not found:
                waiting.append(search)
        return ready, waiting

    def look(self, search: Search, record: Record) -> list[Sighting]:
        """Look for things in a whole frame; the most probable ones first."""
        search.looked_ns = record.stamp_ns
        visible = [item for item in self._objects if item.track.visible]
        with self._segmenter.model.inference():
            shown = self._frames.to_whole(self._propagator.masks(visible))
        used = {item.object_id for item in self._objects}
        found: list[Sighting] = []
        for match in self._matches(search.text, record, search.min_confidence)[: search.room]:
            mine = _overlapping(match, [item.object_id for item in visible], shown)
            if mine is None:
                name = search.object_id or new_id(search.text, used)
                used.add(name)
                prompt = to_prompt(match, name, search, record)
                found.append(Sighting(name, match.confidence, prompt))
            elif not search.object_id:
                found.append(Sighting(mine, match.confidence, None))
        return found

    def look_again(self, record: Record, interval_s: float) -> list[tuple[Search, list[Sighting]]]:
        """Let the lasting search that waited longest look at a frame, if it waited long enough.

        Returns:
            The search and what is new of what it found; empty if none looked.
        """
        due = [
            search
            for search in self._lasting.values()
            if abs(record.stamp_ns - search.looked_ns) >= interval_s * 1e9
        ]
        if not due or self._disabled:
            return []
        search = min(due, key=lambda one: one.looked_ns)
        try:
            seen = self.look(search, record)
        except PromptError:  # without its weights a stream goes on
            self._disabled = True
            return []
        return [(search, [sighting for sighting in seen if sighting.prompt is not None])]

    def note(self, search: Search, num_added: int) -> None:
        """Note the number of objects that a search added; it ends when it wants no more."""
        search.room -= num_added
        if search.room <= 0 or (num_added and not search.keep):
            self.stop(search.object_id or search.text)

    def attend(
        self,
        items: Sequence[LiveObject],
        record: Record,
        rule: WordSearchSettings,
        interval_s: float,
    ) -> list[list[Prompt]]:
        """Let the words of one object look at a frame: where it is, or what memory should store.

        Args:
            items: Objects tracked into the frame.
            record: The whole frame.
            rule: Minimum confidence, and whether memory is corrected.
            interval_s: Minimum time between two looks for an object.

        Returns:
            Candidates for an unseen object; empty if there are none.
        """
        for item in () if self._disabled else items:
            waited = abs(record.stamp_ns - item.reid.worded_ns) >= interval_s * 1e9
            unseen = item.track.state in UNSEEN_STATES and not item.track.visible
            corrects = rule.correct_memory and item.track.visible
            if not item.text or not waited or not (unseen or corrects):
                continue
            item.reid.worded_ns = record.stamp_ns
            try:
                matches = self._matches(item.text, record, rule.min_confidence)
            except PromptError:  # without its weights a stream goes on
                self._disabled = True
                return []
            if corrects:
                self._correct_memory(item, record, matches[:1])
                return []
            search = Search(item.text, 1, 0.0, False, 0, class_id=item.class_id)
            found = [to_prompt(match, item.object_id, search, record) for match in matches]
            return [found] if found else []
        return []

    def _correct_memory(self, item: LiveObject, record: Record, matches: list[Match]) -> None:
        """Blend a better match into what memory stores of a visible object."""
        if not matches or not self._frames.newest().window.is_whole:
            return
        model, features = self._segmenter.model, self._segmenter.encode(record)
        with model.inference():
            followed = self._propagator.masks([item])
            probability = self._finder().compare(features, matches[0], followed[0])
            if probability < _BETTER:
                return
            share = torch.tensor([probability], device=followed.device)
            mask = blend(followed[:, None], matches[0].logits[None, None], share)
            score = torch.ones_like(share)
            spatial = model.remember(features, mask, score, prompted=False)
        slots = slots_of([item])
        self._propagator.memory.write_recent_spatial(
            slots, slots * 0, record.frame_index, spatial, score.numpy(force=True)
        )

    def _matches(self, text: str, record: Record, least: float) -> list[Match]:
        """Return the matches of an expression in a whole frame, the most probable first."""
        with self._segmenter.model.inference():
            features = self._segmenter.encode(record)
            found = self._finder().find(features, text, self._recent, record.frame_index)
        return [match for match in found if match.confidence >= least]

    def _finder(self) -> WordFinder:
        finder = self._segmenter.model.finder
        if finder is None:
            raise PromptError(
                'words need a model with a finder, got one without; make it with load_model'
            )
        return finder


def nothing_like(text: str) -> str:
    """Return the sentence for an expression that nothing in view fits."""
    return f'nothing like {text!r} in view'


def describe(text: str, confidence: float) -> str:
    """Return the detail of the event of an object that was found."""
    return f'found by {text!r} at confidence {confidence:.2f}'


def to_prompt(match: Match, object_id: str, search: Search, record: Record) -> Prompt:
    """Return the mask of a match as a prompt in pixels of the image."""
    logits = match.logits[None, None].float()
    mask = F.interpolate(logits, record.size_hw, mode='bilinear', align_corners=False)[0, 0] > 0
    return Prompt(
        object_id,
        mask=mask.numpy(force=True),
        class_id=search.class_id or search.text[:MAX_NAME],
        text=search.text,
    )


def _overlapping(match: Match, live: Sequence[str], shown: torch.Tensor) -> str | None:
    """Return the id of the visible object that a match shows; None if it shows none."""
    if not live:
        return None
    overlap = mask_iou((match.logits > 0)[None], shown > 0)
    best = int(overlap.argmax())
    return live[best] if float(overlap[best]) >= _LIVE_IOU else None


def new_id(text: str, taken: Collection[str]) -> str:
    """Return the expression, with a number if that id is taken."""
    name, number = text[: MAX_NAME - 8], 1
    while name in taken:
        number += 1
        name = f'{text[: MAX_NAME - 8]} {number}'
    return name
