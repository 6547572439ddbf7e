"""The live objects: identity (`object_id`), state, and row in the preallocated tables (`slot`)."""

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
from robust_vos_ros.core.prompting.prompts import MAX_NAME
from robust_vos_ros.core.types import ObjectFlag, ObjectState

MEAN_RATE = 0.05  # weight of a new value in the running means of an object


_MAX_NS = 2**31 * 10**9 - 1  # largest stamp that builtin_interfaces/Time can hold


def _nan_or(low: float, high: float) -> pydantic.AfterValidator:
    def check(value: float) -> float:
        if not (math.isnan(value) or low <= value <= high):
            raise ValueError(f'expected {low} to {high}, or NaN, got {value}')
        return value

    return pydantic.AfterValidator(check)


# The ranges are checked when an object is loaded from saved tracks.
TimeNs = Annotated[int, pydantic.Field(ge=-_MAX_NS, le=_MAX_NS)]
Count = Annotated[int, pydantic.Field(ge=0, le=2**62)]
Share = Annotated[float, pydantic.Field(ge=0.0, le=1.0)]
ShareOrNan = Annotated[float, _nan_or(0.0, 1.0)]


_SAVED = pydantic.ConfigDict(extra='forbid', ser_json_inf_nan='constants')


@dataclasses.dataclass(slots=True)
class TrackState:
    """Estimated state of an object in the newest frame.

    Attributes:
        visible: Whether its mask is published.
        confirmed: Whether it has been TRACKED before.
        confidence: P(IoU > 0.5) of the mask; 0 without one.
        existence: P(the mask is on the object); decays exponentially while unseen.
        seen_existence: `existence` when the object was last visible.
        tracked_confidence: `confidence` in the newest frame it was tracked into.
        mask_quality: Predicted IoU of the mask.
        gate_activity: Share of open gates of the adapter.
        coverage: Share of the image that the mask covered when it was last visible.
        changed: Whether the mask no longer shows the prompted object (`evidence.has_changed`).
        path_switched: Whether the best hypothesis is not a child of the previous best one.
        prompted_ns: Stamp of the newest prompt.
        updated_ns: Stamp of the newest frame it was tracked into.
        evidence: Inputs of the confidence estimate; not saved.
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
    tracked_confidence: Share = 0.0
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
    """Expected size of the mask of an object.

    Attributes:
        prompted_coverage: Share of the image that the prompted mask covers.
        prompt_misfit: Misfit of the prompted mask in [0, 1], see `prompts.hold_to_prompts`.
        coverage: Expected share of the image: that of the prompted mask, slowly updated; 0 = not
            known yet.
        spread: Expected radius of gyration in sides of the image, updated in the same way.
    """

    __pydantic_config__ = _SAVED

    prompted_coverage: Share = 0.0
    prompt_misfit: Share = 0.0
    coverage: Share = 0.0
    spread: Share = 0.0


@dataclasses.dataclass(slots=True)
class MemoryState:
    """State of an object that the memory update policy uses.

    Attributes:
        updated: Whether the newest frame entered memory.
        remembered_ns: Stamp of the newest frame that entered memory.
        anchored_ns: Stamp of the newest anchor frame.
        jumped_ns: Stamp of the newest jump of the mask's area.
        mean_confidence: Running mean of the confidence over visible frames.
        mean_coverage: Running mean of the coverage over the frames that entered memory.
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
    """State of an object that re-identification uses besides its gallery.

    Attributes:
        evidence_s: Time in which the masks of an unseen object matched its appearance, minus the
            time in which they did not; None = no match yet.
        searched_ns: Stamp of the newest re-detection attempt.
        worded_ns: Stamp of the newest search for it by its words.
        reacquired_ns: Stamp of the newest change from OCCLUDED or LOST to visible.
        verified_ns: Stamp of the newest user prompt.
        learned_ns: Stamp of the newest frame in its gallery.
        mean_similarity: Running mean of the similarity of learned frames; NaN before the first.
    """

    __pydantic_config__ = _SAVED

    evidence_s: Annotated[float, pydantic.Field(ge=0.0, le=1e9)] | None = None
    searched_ns: TimeNs = 0
    worded_ns: TimeNs = 0
    reacquired_ns: TimeNs | None = None
    verified_ns: TimeNs | None = None
    learned_ns: TimeNs = 0
    mean_similarity: Annotated[float, _nan_or(-1.0, 1.0)] = math.nan


@dataclasses.dataclass(slots=True)
class LiveObject:
    """Identity and state of an object; its memory is in `Propagator`."""

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
    text: Annotated[str, pydantic.Field(max_length=MAX_NAME)] = ''  # what to find again

    @property
    def label(self) -> int:
        """Pixel value in the label mask."""
        return self.slot + 1


class ObjectTable:
    """Live objects by id, each with a unique slot below `capacity`."""

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
        """Number of objects added so far."""
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
        """Check that objects can be added.

        Raises:
            DuplicateIdError: An id occurs twice, or is live and may not be replaced.
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
        """Add an object; call `check_room` first."""
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
        """Load the objects of another table into this empty one.

        Args:
            items: The objects of the other table, in their order.
            num_added: Of the other table; `session` likewise.
            same_run: Whether to continue the uuid sequence of the other table. If not, new uuids
                differ from those of both tables, including those that the other one gives later.
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
