"""The live objects: who they are (`object_id`) and where they sit in the batch (`slot`)."""

from __future__ import annotations

import dataclasses
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from robust_vos_ros.core.confidence.calibration import Evidence
from robust_vos_ros.core.errors import CapacityError, DuplicateIdError, UnknownIdError
from robust_vos_ros.core.prompts import MAX_NAME
from robust_vos_ros.core.types import ObjectFlag, ObjectState

MEAN_RATE = 0.05  # of the running means of an object


@dataclasses.dataclass(slots=True)
class LiveObject:
    """What is known of one object besides its memory; changes with every frame."""

    object_id: str
    uuid: uuid.UUID
    class_id: str
    slot: int
    added_ns: int
    prompted_ns: int
    last_seen_ns: int
    prompted_coverage: float = 0.0
    remembered_ns: int = 0  # newest frame that entered memory
    jumped_ns: int = 0  # newest jump of the area
    anchored_ns: int = 0  # newest anchor
    updated_ns: int = 0  # newest frame it was brought to
    # How long an unseen object has looked like itself, less the time in which it has not.
    reacquire_evidence_s: float | None = None
    redetection_ns: int = 0  # when the whole image was searched for it
    shown_ns: int | None = None  # when a user last pointed at it
    learned_ns: int = 0  # newest frame its gallery was learned from
    returned_ns: int | None = None  # when it was seen again after it was OCCLUDED or LOST
    mean_similarity: float = float('nan')  # of the embeddings that were learned
    state: ObjectState = ObjectState.INITIALIZING
    visible: bool = True
    confirmed: bool = False
    existence: float = 1.0
    seen_existence: float = 1.0  # when it was last seen
    evidence: Evidence | None = None
    mean_confidence: float = 1.0
    mean_coverage: float = 0.0
    reference_coverage: float = 0.0  # of the prompt, slowly following; 0 = not known
    reference_spread: float = 0.0  # likewise
    prompt_misfit: float = 0.0  # how far the prompted mask went beyond its box and clicks, 0 to 1
    path_switched: bool = False
    quality: float = float('nan')
    gate_activity: float = float('nan')
    confidence: float = 0.0
    coverage: float = 0.0
    flags: ObjectFlag = ObjectFlag.NONE
    frames_since_seen: int = 0
    memory_updated: bool = True
    changed: bool = False  # the mask is something else than what was pointed at

    @property
    def label(self) -> int:
        """Pixel value in the label mask."""
        return self.slot + 1


class ObjectTable:
    """Live objects by id, each with a slot of its own below `capacity`."""

    def __init__(self, capacity: int, session: uuid.UUID) -> None:
        self._capacity = capacity
        self._session = session
        self._num_added = 0
        self._objects: dict[str, LiveObject] = {}

    @property
    def session(self) -> uuid.UUID:
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
        identity = uuid.uuid5(self._session, f'{self._num_added}/{object_id}')
        item = LiveObject(object_id, identity, class_id, slot, stamp_ns, stamp_ns, stamp_ns)
        self._objects[object_id] = item
        return item

    def take_over(self, items: list[LiveObject], num_added: int, session: uuid.UUID) -> None:
        """Take the objects of another table into an empty one.

        A uuid given from now on was given by neither table, also not after the other one was
        looked at.

        Args:
            items: Its objects, in their order.
            num_added: As it was there; `session` likewise.
        """
        self._objects = {item.object_id: item for item in items}
        self._num_added = max(self._num_added, num_added)
        self._session = uuid.uuid5(self._session, str(session))

    def remove(self, object_id: str) -> LiveObject:
        """Remove a live object.

        Raises:
            UnknownIdError: No live object has that id.
        """
        item = self.get(object_id)
        del self._objects[object_id]
        return item

    def state(self) -> dict[str, Any]:
        """Return the table as plain values, which `resume` takes."""
        items = [dataclasses.asdict(item) for item in self]
        for item in items:
            item.update(uuid=str(item['uuid']), state=int(item['state']), flags=int(item['flags']))
            item['evidence'] = None  # of the last frame alone
        return {'num_added': self._num_added, 'objects': items}

    def resume(self, state: dict[str, Any]) -> None:
        """Become the table whose `state` this was; the capacity must be the same."""
        self._num_added = state['num_added']
        self._objects = {}
        for values in state['objects']:
            item = LiveObject(**values)
            item.uuid, item.state = uuid.UUID(values['uuid']), ObjectState(values['state'])
            item.flags = ObjectFlag(values['flags'])
            self._objects[item.object_id] = item


def slots_of(items: Sequence[LiveObject]) -> np.ndarray:
    """Return the (N,) int64 slots of objects."""
    return np.array([item.slot for item in items], np.int64)
