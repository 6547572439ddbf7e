"""Results as serialized messages, the same as the node publishes, made without ROS."""

from __future__ import annotations

from typing import Any

import numpy as np

from robust_vos_ros.bags.definitions import message_typestore
from robust_vos_ros.bags.reader import COMPRESSED_IMAGE, BagReader, RawMessage
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.core.types import EventType, TrackResult
from robust_vos_ros.ros_types.annotations import (
    ANNOTATIONS,
    LABEL_INFO,
    label_names,
    make_annotations,
    make_label_info,
)
from robust_vos_ros.ros_types.messages import MessageMaker

OBJECTS_TYPE, EVENT_TYPE = 'robust_vos/msg/TrackedObjectArray', 'robust_vos/msg/TrackEvent'
DEFAULT_NAMESPACE = '/robust_vos'
_PNG_LEVEL = 1
# Events after which the meaning of labels changes.
_NEW_LABELS = {EventType.ADDED, EventType.REMOVED, EventType.RESET}


class ResultTopics:
    """The topics of results below a namespace.

    Attributes:
        prefix: Prefix of all of them.
    """

    def __init__(self, namespace: str) -> None:
        self.prefix = f'{namespace}/'
        self.objects = f'{namespace}/objects'
        self.events = f'{namespace}/events'
        self.label_png = f'{namespace}/label_mask/compressed'
        self.label_info = f'{namespace}/label_info'
        self.annotations = f'{namespace}/annotations'

    @property
    def types(self) -> dict[str, str]:
        """Message type of each topic."""
        return {
            self.objects: OBJECTS_TYPE,
            self.events: EVENT_TYPE,
            self.label_png: COMPRESSED_IMAGE,
            self.label_info: LABEL_INFO,
            self.annotations: ANNOTATIONS,
        }

    def find_images(self, bag: BagReader, topic: str, *, required: bool) -> str | None:
        """Return the topic of the images that results are about.

        Args:
            bag: An open bag.
            topic: Name of the topic; empty = the only image topic besides results.
            required: Whether there must be one; otherwise None is returned if there is none.

        Raises:
            BagError: The topic does not exist, or there is not exactly one.
        """
        images = (item.name for item in bag.topics.values() if item.is_image)
        topics = [name for name in images if not name.startswith(self.prefix)]
        if topic in topics or (not topic and len(topics) == 1):
            return topic or topics[0]
        if not topic and not topics and not required:
            return None
        wanted = f'images on {topic}' if topic else 'one image topic'
        raise BagError(
            f'{bag.path}: expected {wanted}, got {", ".join(topics) or "none"}; choose with '
            '--topic'
        )


class ResultSerializer:
    """Make serialized messages of results; fields that depend on the clock (latency) are zero."""

    def __init__(self, topics: ResultTopics) -> None:
        self._topics = topics
        self._store = message_typestore()
        self._maker = MessageMaker(self._store.types, _to_uint8)

    def serialize(self, result: TrackResult, stamp_ns: int) -> list[RawMessage]:
        """Return the messages of one frame: objects, events, label mask, label info, annotations.

        Args:
            result: Of the engine.
            stamp_ns: Time of recording of the image, also used for the messages.
        """
        make, topics = self._maker, self._topics
        header = make.to_header(result)
        objects = make.to_object_array(
            result, header, latency_ns=0, engine_ns=0, frames_dropped=0, rle=False
        )
        png = make.to_label_png(result, header, level=_PNG_LEVEL)
        rows: list[tuple[str, Any]] = [(topics.objects, objects)]
        rows += [(topics.events, event) for event in make.to_events(result.events, header)]
        rows.append((topics.label_png, png))
        if any(event.type in _NEW_LABELS for event in result.events):
            names = label_names(result.objects)
            info = make_label_info(self._store.types, names, header)
            rows.append((topics.label_info, info))
        drawn = make_annotations(self._store.types, result.objects, result.label_mask, header)
        rows.append((topics.annotations, drawn))
        return [self._to_raw(topic, message, stamp_ns) for topic, message in rows]

    def _to_raw(self, topic: str, message: Any, stamp_ns: int) -> RawMessage:
        msgtype = self._topics.types[topic]
        cdr = bytes(self._store.serialize_cdr(message, msgtype))
        return RawMessage(topic, msgtype, cdr, stamp_ns)


def _to_uint8(values: np.ndarray | bytes) -> np.ndarray:
    return np.frombuffer(values, np.uint8) if isinstance(values, bytes) else values.reshape(-1)
