"""Content of a bag: topics, time range, and the objects with their states."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from robust_vos_ros.bags.metadata import read_custom_data
from robust_vos_ros.bags.reader import BagReader, Topic
from robust_vos_ros.bags.results import OBJECTS_TYPE
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.core.types import ObjectState


@dataclasses.dataclass(frozen=True, slots=True)
class Sighting:
    """The state of an object in one frame.

    Attributes:
        time_s: Seconds since the start of the bag.
    """

    time_s: float
    state: ObjectState
    confidence: float


@dataclasses.dataclass(slots=True)
class ObjectHistory:
    """The states of one object on one topic, in order of time."""

    topic: str
    object_id: str
    class_id: str
    sightings: list[Sighting] = dataclasses.field(default_factory=list)

    @property
    def tracked_share(self) -> float:
        """Share of its frames in which it was TRACKED, in [0, 1]."""
        tracked = sum(item.state == ObjectState.TRACKED for item in self.sightings)
        return tracked / len(self.sightings)

    @property
    def mean_confidence(self) -> float:
        """Mean confidence over its frames."""
        return sum(item.confidence for item in self.sightings) / len(self.sightings)


@dataclasses.dataclass(frozen=True, slots=True)
class BagInfo:
    """Content of a bag.

    Attributes:
        start_ns: Time of the first message in nanoseconds.
        num_bytes: Size of its files.
        custom_data: Key-value pairs of the recording; a recording of this package has model,
            weights, adapter and version.
    """

    path: Path
    start_ns: int
    duration_s: float
    num_messages: int
    num_bytes: int
    topics: tuple[Topic, ...]
    objects: tuple[ObjectHistory, ...]
    custom_data: dict[str, str]


def read_info(path: Path) -> BagInfo:
    """Read the content of a bag.

    Raises:
        BagError: It is missing, damaged, truncated or empty, or an object has an unknown state.
    """
    with BagReader(path) as bag:
        return BagInfo(
            path=path,
            start_ns=bag.start_ns,
            duration_s=bag.duration_s,
            num_messages=bag.num_messages,
            num_bytes=sum(file.stat().st_size for file in _files(path)),
            topics=tuple(bag.topics.values()),
            objects=tuple(_histories(bag)),
            custom_data=read_custom_data(path),
        )


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (item for item in path.iterdir() if item.is_file())
    else:
        yield path


def _histories(bag: BagReader) -> list[ObjectHistory]:
    arrays = [topic.name for topic in bag.topics.values() if topic.msgtype == OBJECTS_TYPE]
    found: dict[tuple[str, str], ObjectHistory] = {}
    for message in bag.messages(arrays) if arrays else ():
        time_s = (message.stamp_ns - bag.start_ns) / 1e9
        for item in bag.decode(message).objects:
            key = message.topic, item.object_id
            if key not in found:
                found[key] = ObjectHistory(message.topic, item.object_id, item.class_id)
            try:
                state = ObjectState(item.state)
            except ValueError as error:
                raise BagError(
                    f'{bag.path}: {item.object_id!r} at {time_s:.3f} s: {error}'
                ) from error
            found[key].sightings.append(Sighting(time_s, state, item.confidence))
    return list(found.values())
