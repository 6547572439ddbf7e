"""Requests to find things by words: checked, and answered with a sentence."""

from __future__ import annotations

import dataclasses
import math
import typing
from typing import Any

from std_msgs.msg import Header

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.words.search import Found, Mode, nothing_like

_MODES: tuple[Mode, ...] = typing.get_args(Mode)


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """A checked request; arguments of `VideoTracker.find`."""

    text: str
    max_objects: int
    min_confidence: float | None
    mode: Mode


@dataclasses.dataclass(frozen=True, slots=True)
class AppliedSearch:
    """Result of a request.

    Attributes:
        header: Of the image that was looked at.
        found: What was found.
    """

    header: Header
    found: Found


def to_search(request: Any) -> Asked:
    """Check a robust_vos/Find request.

    Raises:
        PromptError: The mode is unknown, or the confidence is outside [0, 1].
    """
    mode = request.mode or 'once'
    if mode not in _MODES:
        raise PromptError(
            f'expected a mode of {", ".join(_MODES)}, got {request.mode[:20]!r}; leave it empty '
            'for once'
        )
    least = float(request.min_confidence)
    if not math.isfinite(least) or not 0.0 <= least <= 1.0:
        raise PromptError(f'expected min_confidence from 0 to 1, got {least:g}')
    return Asked(request.text, max(1, request.max_objects), least or None, mode)


def describe_found(asked: Asked, found: Found) -> str:
    """Return the answer to a search as a sentence."""
    if asked.mode == 'stop':
        return f'not searching for {asked.text!r}'
    if not found.sightings:
        sentence = nothing_like(asked.text)
    else:
        things = [f'{one.object_id} ({one.confidence:.2f})' for one in found.sightings]
        sentence = f'found {", ".join(things)}'
    return f'{sentence}; searching goes on' if found.lasts else sentence
