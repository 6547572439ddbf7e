"""The live objects: who they are (`object_id`) and where they sit in the batch (`slot`)."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated
from uuid import UUID, uuid5

import numpy as np
import pydantic

from robust_vos_ros.core.confidence.calibration import Evidence
from robust_vos_ros.core.errors import CapacityError, DuplicateIdError, UnknownIdError
from robust_vos_ros.core.prompts import MAX_NAME
from robust_vos_ros.core.types import ObjectFlag, ObjectState

MEAN_RATE = 0.05  # of the running means of an object


_MAX_NS = 2**31 * 10**9 - 1  # what a stamp of ROS can hold


def _nan_or(low: float, high: float) -> pydantic.AfterValidator:
    def check(value: float) -> float:
        if not (math.isnan(value) or low <= value <= high):
            raise ValueError(f'expected {low} to {high}, or NaN, got {value}')
        return value

    return pydantic.AfterValidator(check)


# Ranges are checked where an object comes out of saved tracks.
TimeNs = Annotated[int, pydantic.Field(ge=-_MAX_NS, le=_MAX_NS)]
Count = Annotated[int, pydantic.Field(ge=0, le=2**62)]
Share = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]
ShareOrNan = Annotated[float, _nan_or(0.0, 1.0)]


_SAVED = pydantic.ConfigDict(extra='forbid', ser_json_inf_nan='constants')


@dataclasses.dataclass(slots=True)
class TrackState:
    """What is believed of an object in the newest frame.

    Attributes:
        visible: Whether its mask is shown.
        confirmed: Whether it was TRACKED before.
        confidence: P(IoU > 0.5) of the mask; 0 without one.
        existence: P(the mask is on the object); halves while unseen.
        seen_existence: The same when it was last seen.
        mask_quality: Predicted IoU of the mask.
        gate_activity: Share of open gates of the adapter.
        coverage: Share of the image of the mask when it was last seen.
        changed: Whether the mask is something else than what was pointed at.
        path_switched: Whether the mask comes from another hypothesis than the one before.
        prompted_ns: When a user last pointed at it.
        updated_ns: Newest frame it was brought to.
        evidence: What the confidence was made of; not saved.
    """

    __pydantic_config__ = _SAVED

    prompted_ns: TimeNs
    last_seen_ns: TimeNs
    state: ObjectState = ObjectState.INITIALIZING
    visible: bool = True
    confirmed: bool = False
    confidence: Share = 0.0
    existence: Share = 1.0
    seen_existence: Share = 1.0
    mask_quality: ShareOrNan = math.nan
    gate_activity: ShareOrNan = math.nan
    coverage: Share = 0.0
    flags: ObjectFlag = ObjectFlag.NONE
    changed: bool = False
    path_switched: bool = False
    frames_since_seen: Count = 0
    updated_ns: TimeNs = 0
    evidence: Annotated[Evidence | None, pydantic.Field(exclude=True)] = None


@dataclasses.dataclass(slots=True)
class SizeReference:
    """How large the mask of an object is expected to be.

    Attributes:
        prompted_coverage: Share of the image of the prompted mask.
        prompt_misfit: How far the prompted mask went beyond its box and clicks.
        coverage: Share of the image: of the prompted mask, slowly following; 0 = not known yet.
        spread: Radius of gyration in sides of the image, likewise.
    """

    __pydantic_config__ = _SAVED

    prompted_coverage: Share = 0.0
    prompt_misfit: Share = 0.0
    coverage: Share = 0.0
    spread: Share = 0.0


@dataclasses.dataclass(slots=True)
class MemoryState:
    """What decides whether a frame enters the memory of an object.

    Attributes:
        updated: Whether the newest frame did.
        remembered_ns: Newest frame that did.
        anchored_ns: Newest anchor.
        jumped_ns: Newest jump of the area.
        mean_confidence: Running mean over the frames in which it was seen.
        mean_coverage: Running mean over the frames that entered memory.
    """

    __pydantic_config__ = _SAVED

    updated: bool = True
    remembered_ns: TimeNs = 0
    anchored_ns: TimeNs = 0
    jumped_ns: TimeNs = 0
    mean_confidence: Share = 1.0
    mean_coverage: Share = 0.0


@dataclasses.dataclass(slots=True)
class ReidState:
    """What re-identification knows of an object besides its gallery.

    Attributes:
        evidence_s: How long an unseen object has looked like itself, less the time in which it
            has not; None = not yet.
        searched_ns: When the whole image was searched for it.
        reacquired_ns: When it was seen again after it was OCCLUDED or LOST.
        verified_ns: When a user last pointed at it.
        learned_ns: Newest frame that its gallery was learned from.
        mean_similarity: Running mean of the similarity of learned frames; NaN before the first.
    """

    __pydantic_config__ = _SAVED

    evidence_s: Annotated[float, pydantic.Field(ge=0.0, le=1e9)] | None = None
    searched_ns: TimeNs = 0
    reacquired_ns: TimeNs | None = None
    verified_ns: TimeNs | None = None
    learned_ns: TimeNs = 0
    mean_similarity: Annotated[float, _nan_or(-1.0, 1.0)] = math.nan


@dataclasses.dataclass(slots=True)
class LiveObject:
    """Who an object is, and what is known of it besides what the network remembers."""

    __pydantic_config__ = _SAVED

    object_id: Annotated[str, pydantic.Field(min_length=1, max_length=MAX_NAME)]
    uuid: UUID
    class_id: Annotated[str, pydantic.Field(max_length=MAX_NAME)]
    slot: Count
    added_ns: TimeNs
    track: TrackState
    reference: SizeReference = dataclasses.field(default_factory=SizeReference)
    memory: MemoryState = dataclasses.field(default_factory=MemoryState)
    reid: ReidState = dataclasses.field(default_factory=ReidState)

    @property
    def label(self) -> int:
        """Pixel value in the label mask."""
        return self.slot + 1


class ObjectTable:
    """Live objects by id, each with a slot of its own below `capacity`."""

    def __init__(self, capacity: int, session: UUID) -> None:
        self._capacity = capacity
        self._session = session
        self._num_added = 0
        self._objects: dict[str, LiveObject] = {}

    @property
    def session(self) -> UUID:
        """Namespace of the uuids."""
        return self._session

    @property
    def num_added(self) -> int:
        """Objects added so far."""
        return self._num_added

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[LiveObject]:
        return iter(self._objects.values())

    def get(self, object_id: str) -> LiveObject:
        """Return a live object.

        Raises:
            UnknownIdError: No live object has that id.
        """
        try:
            return self._objects[object_id]
        except KeyError:
            live = ', '.join(map(repr, self._objects)) or 'none'
            raise UnknownIdError(
                f'no live object is called {object_id[:MAX_NAME]!r}; live objects: {live}'
            ) from None

    def check_room(self, object_ids: list[str], *, replace_existing: bool) -> None:
        """Check that objects could be added.

        Raises:
            DuplicateIdError: An id is named twice, or is live and may not be replaced.
            CapacityError: There would be more objects than slots.
        """
        if len(object_ids) > self._capacity:
            raise CapacityError(
                f'{len(object_ids)} prompts would exceed max_objects = {self._capacity}; '
                'send fewer'
            )
        repeated = [name for name, count in Counter(object_ids).items() if count > 1]
        if repeated:
            names = ', '.join(map(repr, repeated))
            raise DuplicateIdError(f'expected one prompt per object, got several for {names}')
        live = [name for name in object_ids if name in self._objects]
        if live and not replace_existing:
            raise DuplicateIdError(
                f'already tracked: {", ".join(map(repr, live))}; choose other ids, refine them, '
                'or set replace_existing'
            )
        total = len(self._objects) + len(object_ids) - len(live)
        if total > self._capacity:
            raise CapacityError(
                f'{total} objects would exceed max_objects = {self._capacity}; remove some'
            )

    def add(self, object_id: str, class_id: str, stamp_ns: int) -> LiveObject:
        """Add an object; `check_room` was asked before."""
        taken = {item.slot for item in self}
        slot = next(i for i in range(self._capacity) if i not in taken)
        self._num_added += 1
        # Derived, not random, so that the same input gives the same bits.
        identity = uuid5(self._session, f'{self._num_added}/{object_id}')
        track = TrackState(prompted_ns=stamp_ns, last_seen_ns=stamp_ns)
        item = LiveObject(object_id, identity, class_id, slot, stamp_ns, track)
        self._objects[object_id] = item
        return item

    def take_over(
        self, items: list[LiveObject], num_added: int, session: UUID, *, same_run: bool
    ) -> None:
        """Take the objects of another table into an empty one.

        Args:
            items: Its objects, in their order.
            num_added: As it was there; `session` likewise.
            same_run: Whether uuids go on as they would have there; else a uuid given from now on
                was given by neither table, also not after the other one was looked at.
        """
        self._objects = {item.object_id: item for item in items}
        self._num_added = max(self._num_added, num_added)
        self._session = session if same_run else uuid5(self._session, str(session))

    def remove(self, object_id: str) -> LiveObject:
        """Remove a live object.

        Raises:
            UnknownIdError: No live object has that id.
        """
        item = self.get(object_id)
        del self._objects[object_id]
        return item


def slots_of(items: Sequence[LiveObject]) -> np.ndarray:
    """Return the (N,) int64 slots of objects."""
    return np.array([item.slot for item in items], np.int64)
