"""Any frame of a bag by its index, and the states of the objects over all frames."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from robust_vos_ros.bags.labelled import decode_labels
from robust_vos_ros.bags.reader import BagReader, RawMessage, header_stamp_ns
from robust_vos_ros.bags.results import ResultTopics
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.core.types import ObjectState

# object_id, class_id, label and state of each object of a frame.
States = list[tuple[str, str, int, ObjectState]]


@dataclasses.dataclass(frozen=True, slots=True)
class StoredFrame:
    """One frame as recorded.

    Attributes:
        image: Message of the image.
        array: Its robust_vos/TrackedObjectArray; None if the bag has none.
        labels: (H, W) uint8 or uint16 label mask; None if the bag has none.
    """

    image: Any
    array: Any | None
    labels: np.ndarray | None


@dataclasses.dataclass(frozen=True, slots=True)
class StateSpan:
    """Consecutive frames in which an object has one state; `last` is included."""

    first: int
    last: int
    state: ObjectState


@dataclasses.dataclass(slots=True)
class ObjectSpans:
    """The states of one object, in order of time."""

    object_id: str
    class_id: str
    label: int
    spans: list[StateSpan] = dataclasses.field(default_factory=list)

    def extend(self, index: int, state: ObjectState, previous: int) -> None:
        """Add a frame; `previous` is the index of the frame with results before it."""
        last = self.spans[-1] if self.spans else None
        # The state lasts over frames without results, which the node dropped.
        if last is not None and last.last >= previous:
            if last.state == state:
                self.spans[-1] = dataclasses.replace(last, last=index)
                return
            self.spans[-1] = dataclasses.replace(last, last=index - 1)
        self.spans.append(StateSpan(index, index, state))


class SeekableBag:
    """Reads frames of an open bag in any order; thread-safe.

    All messages of its topics are read once to find the frames.

    Args:
        bag: An open bag.
        topic: Image topic; empty = the only one.
        results: Topics of the results.
        on_message: Called after each message.

    Attributes:
        topic: Image topic.
        stamps_ns: Stamps of all images in nanoseconds, in the order of their topic.
        times_ns: Times of their recording in nanoseconds.
        frame_of: Index of the first image with a stamp.
        objects: States by object_id.

    Raises:
        BagError: There is not one such image topic, or a message is damaged.
    """

    def __init__(
        self,
        bag: BagReader,
        topic: str,
        results: ResultTopics,
        *,
        on_message: Callable[[], None] = lambda: None,
    ) -> None:
        found = results.find_images(bag, topic, required=True)
        assert found is not None
        self.topic = found
        self.stamps_ns: list[int] = []
        self.times_ns: list[int] = []
        self.objects: dict[str, ObjectSpans] = {}
        self._bag, self._results = bag, results
        self._lock = threading.Lock()
        self._times_of: dict[str, dict[int, int]] = {results.objects: {}, results.label_png: {}}
        arrays: list[tuple[int, States]] = []
        for message in bag.messages([found, *self._times_of]):
            stamp_ns = header_stamp_ns(message.cdr)
            if message.topic == found:
                self.stamps_ns.append(stamp_ns)
                self.times_ns.append(message.stamp_ns)
            else:
                self._times_of[message.topic].setdefault(stamp_ns, message.stamp_ns)
                if message.topic == results.objects:
                    states = self._states_of(message)
                    # Most frames have the states of the one before: kept once, they need no room.
                    is_new = not arrays or states != arrays[-1][1]
                    arrays.append((stamp_ns, states if is_new else arrays[-1][1]))
            on_message()
        self.frame_of = {stamp: i for i, stamp in reversed(list(enumerate(self.stamps_ns)))}
        self._join(arrays)

    def frame(self, index: int) -> StoredFrame:
        """Return a frame.

        Raises:
            BagError: There is no such frame, or it is damaged.
        """
        if not 0 <= index < len(self.stamps_ns):
            raise BagError(f'expected an image from 0 to {len(self.stamps_ns) - 1}, got {index}')
        stamp_ns = self.stamps_ns[index]
        times = {self.topic: self.times_ns[index]}
        for topic, times_of in self._times_of.items():
            if stamp_ns in times_of:
                times[topic] = times_of[stamp_ns]
        with self._lock:
            found = self._read(stamp_ns, times)
        if self.topic not in found:
            raise BagError(f'{self._bag.path}: image {index} is gone; was the bag changed?')
        array, png = found.get(self._results.objects), found.get(self._results.label_png)
        return StoredFrame(
            image=self._bag.decode(found[self.topic]),
            array=None if array is None else self._bag.decode(array),
            labels=None if png is None else decode_labels(self._bag, png),
        )

    def _read(self, stamp_ns: int, times: dict[str, int]) -> dict[str, RawMessage]:
        """Return the messages with a stamp by topic, at their times of recording."""
        found: dict[str, RawMessage] = {}
        for time_ns in sorted(set(times.values())):
            topics = [topic for topic, value in times.items() if value == time_ns]
            for message in self._bag.messages(topics, start_ns=time_ns, stop_ns=time_ns + 1):
                if header_stamp_ns(message.cdr) == stamp_ns:
                    found.setdefault(message.topic, message)
        return found

    def _states_of(self, message: RawMessage) -> States:
        try:
            return [
                (item.object_id, item.class_id, item.label, ObjectState(item.state))
                for item in self._bag.decode(message).objects
            ]
        except ValueError as error:
            stamp_ns = header_stamp_ns(message.cdr)
            raise BagError(f'{self._bag.path}: the objects at {stamp_ns} ns: {error}') from error

    def _join(self, arrays: list[tuple[int, States]]) -> None:
        """Make spans of the states; results without an image are left out."""
        previous = -1
        for stamp_ns, states in arrays:
            index = self.frame_of.get(stamp_ns)
            if index is None or index <= previous:
                continue
            for object_id, class_id, label, state in states:
                if object_id not in self.objects:
                    self.objects[object_id] = ObjectSpans(object_id, class_id, label)
                self.objects[object_id].extend(index, state, previous)
            previous = index
