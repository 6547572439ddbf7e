"""Prompts that are words, and searches by words that last."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Annotated, Literal

import pydantic
import torch
import torch.nn.functional as F

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.objects import Count, LiveObject, TimeNs
from robust_vos_ros.core.prompts import MAX_NAME
from robust_vos_ros.core.segmentation import Segmenter
from robust_vos_ros.core.types import Prompt, TrackResult
from robust_vos_ros.core.words.conditional_memory import blend
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
    """Searches in a stream; those that last are kept by object id, or else by expression.

    Args:
        segmenter: Encodes frames; its model has the finder.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._lasting: dict[str, Search] = {}
        self._recent = Recent()

    def __len__(self) -> int:
        return len(self._lasting)

    @property
    def lasting(self) -> tuple[Search, ...]:
        """The searches that last."""
        return tuple(self._lasting.values())

    def check(self, text: str) -> str:
        """Return a normalized expression; raises PromptError if it cannot be searched for."""
        return self._finder().check(text)

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

    def stop(self, name: str) -> bool:
        """End the search for an object id or an expression; tells whether there was one."""
        ended = [self._lasting.pop(key, None) for key in (name, f'"{name}"')]
        return any(search is not None for search in ended)

    def stop_all(self, names: Sequence[str] | None, live: Collection[str]) -> list[str]:
        """End the searches of some ids, or all; returns the ids that are those of objects."""
        if names is None:
            self._lasting.clear()
            return list(live)
        searched = {name for name in names if name in self._lasting and name not in live}
        if all(name in live or name in searched for name in names):
            for name in searched:
                del self._lasting[name]
            return [name for name in names if name in live]
        return list(names)

    def clear(self) -> None:
        """End all searches, and forget the images looked at."""
        self._lasting.clear()
        self._recent.clear()

    def due(self, stamp_ns: int, interval_s: float) -> list[Search]:
        """Return the lasting searches that did not look for an interval, longest ago first."""
        waiting = [
            search
            for search in self._lasting.values()
            if abs(stamp_ns - search.looked_ns) >= interval_s * 1e9
        ]
        return sorted(waiting, key=lambda search: search.looked_ns)

    def look(
        self,
        search: Search,
        record: Record,
        live: Sequence[str],
        shown: torch.Tensor,
        taken: Collection[str],
    ) -> list[Sighting]:
        """Look for things in a whole frame; notes what was found.

        Args:
            search: What for.
            record: The frame.
            live: Ids of N visible objects.
            shown: (N, h, w) their mask logits in the whole image.
            taken: Ids that new objects may not get.
        """
        search.looked_ns = record.stamp_ns
        features = self._segmenter.encode(record)
        matches = self._finder().find(features, search.text, self._recent, record.frame_index)
        good = [match for match in matches if match.confidence >= search.min_confidence]
        found: list[Sighting] = []
        used = set(taken)
        for match in good[: search.room]:
            mine = _overlapping(match, live, shown)
            if mine is None:
                name = search.object_id or _new_id(search.text, used)
                used.add(name)
                prompt = to_prompt(match, name, search, record)
                found.append(Sighting(name, match.confidence, prompt))
            elif not search.object_id:
                found.append(Sighting(mine, match.confidence, None))
        return found

    def is_due(self, item: LiveObject, stamp_ns: int, interval_s: float) -> bool:
        """Whether an object has words that did not look at it for an interval."""
        waited = abs(stamp_ns - item.reid.worded_ns) >= interval_s * 1e9
        return bool(item.text) and waited

    def candidates(self, item: LiveObject, record: Record, least: float) -> list[Prompt]:
        """Return masks in a whole frame that may show an unseen object, by its words."""
        item.reid.worded_ns = record.stamp_ns
        search = Search(item.text, 1, least, False, record.stamp_ns, class_id=item.class_id)
        model = self._segmenter.model
        with model.inference():
            features = self._segmenter.encode(record)
            matches = self._finder().find(features, item.text, self._recent, record.frame_index)
        return [
            to_prompt(match, item.object_id, search, record)
            for match in matches
            if match.confidence >= least
        ]

    def better_mask(
        self, item: LiveObject, record: Record, followed: torch.Tensor, least: float
    ) -> torch.Tensor | None:
        """Return the (1, 1, 4h, 4w) mask that memory should store of a visible object.

        Args:
            item: The object, which has words.
            record: The frame.
            followed: (4h, 4w) logits of its mask.
            least: Minimum confidence of a match.

        Returns:
            The mask blended with a better match; None if words see no better one.
        """
        item.reid.worded_ns = record.stamp_ns
        finder, features = self._finder(), self._segmenter.encode(record)
        matches = finder.find(features, item.text, self._recent, record.frame_index)[:1]
        if not matches or matches[0].confidence < least:
            return None
        probability = finder.compare(features, matches[0], followed)
        if probability < _BETTER:
            return None
        masks = followed[None, None], matches[0].logits[None, None]
        return blend(*masks, torch.tensor([probability], device=followed.device))

    def _finder(self) -> WordFinder:
        finder = self._segmenter.model.finder
        if finder is None:
            raise PromptError(
                'words need a model with a finder, got one without; make it with load_model'
            )
        return finder

    def note(self, search: Search, num_added: int) -> None:
        """Note the number of objects that a search added; it ends when it wants no more."""
        search.room -= num_added
        if search.room <= 0 or (num_added and not search.keep):
            self.stop(search.object_id or search.text)


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


def _new_id(text: str, taken: Collection[str]) -> str:
    """Return the expression, with a number if that id is taken."""
    name, number = text[: MAX_NAME - 8], 1
    while name in taken:
        number += 1
        name = f'{text[: MAX_NAME - 8]} {number}'
    return name
