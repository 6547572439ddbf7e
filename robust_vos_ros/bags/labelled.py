"""Images of a bag with the masks of the same stamps, recorded live or made offline."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from robust_vos_ros.bags.reader import BagReader, RawMessage, header_stamp_ns
from robust_vos_ros.bags.results import OBJECTS_TYPE, ResultTopics
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.core.types import ObjectState

_MAX_PENDING = 100  # incomplete frames


@dataclasses.dataclass(frozen=True, slots=True)
class LabelledObject:
    """One object of one frame, as recorded; fields as in `core.types.TrackedObject`."""

    object_id: str
    class_id: str
    label: int
    state: ObjectState
    confidence: float
    existence_probability: float
    area_px: int
    box_xywh: tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class LabelledFrame:
    """One frame with its masks.

    Attributes:
        index: Of the image on its topic, or of the result if the bag has no images.
        stamp_ns: Stamp of the image in nanoseconds.
        image: The image message, None if the bag has none.
        labels: (H, W) uint8 or uint16, 0 = background, else `LabelledObject.label`.
        objects: All live objects, with or without a mask.
    """

    index: int
    stamp_ns: int
    image: RawMessage | None
    labels: np.ndarray
    objects: tuple[LabelledObject, ...]

    @property
    def shown(self) -> tuple[LabelledObject, ...]:
        """The objects with a mask."""
        return tuple(item for item in self.objects if item.area_px)


@dataclasses.dataclass(slots=True)
class _Parts:
    """The messages of a frame that were read so far."""

    index: int
    image: RawMessage | None = None
    objects: RawMessage | None = None
    png: RawMessage | None = None


def labelled_frames(
    bag: BagReader, topic: str | None, results: ResultTopics, *, min_confidence: float = 0.0
) -> Iterator[LabelledFrame]:
    """Yield the frames that have a result, in order; images without a result are skipped.

    Args:
        bag: An open bag.
        topic: Image topic, None without images.
        results: Topics of its results.
        min_confidence: Masks with a lower confidence are left out.

    Raises:
        BagError: Results are missing or damaged.
    """
    _check_topics(bag, results)
    names = {results.objects: 'objects', results.label_png: 'png'}
    if topic is not None:
        names[topic] = 'image'
    pending: dict[int, _Parts] = {}
    counter = topic or results.objects
    num_seen = 0
    for message in bag.messages(names):
        stamp_ns = header_stamp_ns(message.cdr)
        parts = pending.setdefault(stamp_ns, _Parts(-1))
        setattr(parts, names[message.topic], message)
        if message.topic == counter:
            parts.index = num_seen
            num_seen += 1
        if len(pending) > _MAX_PENDING:  # the oldest one has no results
            del pending[next(iter(pending))]
        if parts.objects and parts.png and (parts.image or topic is None):
            yield _join(bag, stamp_ns, parts, min_confidence)
            # Results are published in order, so the node dropped all frames before this one.
            for old_ns in list(pending):
                del pending[old_ns]
                if old_ns == stamp_ns:
                    break


def _check_topics(bag: BagReader, results: ResultTopics) -> None:
    for name in (results.objects, results.label_png):
        if name not in bag.topics:
            found = [t.name for t in bag.topics.values() if t.msgtype == OBJECTS_TYPE]
            raise BagError(
                f'{bag.path}: expected results on {name}, got none; make them with `robust-vos '
                f'bag process`, or name another --namespace; objects: {", ".join(found) or "none"}'
            )


def _join(bag: BagReader, stamp_ns: int, parts: _Parts, min_confidence: float) -> LabelledFrame:
    assert parts.objects is not None
    assert parts.png is not None
    labels = decode_labels(bag, parts.png)
    try:
        objects = tuple(map(_to_object, bag.decode(parts.objects).objects))
    except ValueError as error:
        raise BagError(f'{bag.path}: the objects at {stamp_ns} ns: {error}') from error
    kept = tuple(item for item in objects if item.confidence >= min_confidence)
    if len(kept) < len(objects):
        labels = np.where(np.isin(labels, [item.label for item in kept]), labels, 0)
    return LabelledFrame(parts.index, stamp_ns, parts.image, labels, kept)


def decode_labels(bag: BagReader, message: RawMessage) -> np.ndarray:
    """Return the label mask of a message as (H, W) uint8 or uint16.

    Raises:
        BagError: It is not a grey PNG.
    """
    data = np.frombuffer(bag.decode(message).data, np.uint8)
    labels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if labels is None or labels.ndim != 2:
        stamp_ns = header_stamp_ns(message.cdr)
        raise BagError(f'{bag.path}: the label mask at {stamp_ns} ns is not a grey PNG')
    return labels


def _to_object(msg: Any) -> LabelledObject:
    roi = msg.roi
    return LabelledObject(
        object_id=msg.object_id,
        class_id=msg.class_id,
        label=msg.label,
        state=ObjectState(msg.state),
        confidence=msg.confidence,
        existence_probability=msg.existence_probability,
        area_px=msg.area_px,
        box_xywh=(roi.x_offset, roi.y_offset, roi.width, roi.height),
    )
