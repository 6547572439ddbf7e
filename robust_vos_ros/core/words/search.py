"""Searches by words, what they find, and the sentences about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Annotated, Literal

import pydantic

from robust_vos_ros.core.objects import Count, TimeNs
from robust_vos_ros.core.prompting.prompts import MAX_NAME
from robust_vos_ros.core.types import Prompt, TrackResult
from robust_vos_ros.core.words.text import MAX_TEXT

Mode = Literal['once', 'until_found', 'keep_looking', 'stop']


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


def nothing_like(text: str) -> str:
    """Return the sentence for an expression that nothing in view fits."""
    return f'nothing like {text!r} in view'


def describe(text: str, confidence: float) -> str:
    """Return the detail of the event of an object that was found."""
    return f'found by {text!r} at confidence {confidence:.2f}'


def new_id(text: str, taken: Collection[str]) -> str:
    """Return the expression, with a number if that id is taken."""
    name, number = text[: MAX_NAME - 8], 1
    while name in taken:
        number += 1
        name = f'{text[: MAX_NAME - 8]} {number}'
    return name
