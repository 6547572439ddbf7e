"""Messages for viewers, derived from those of the node: label info and annotations.

Their types, vision_msgs/LabelInfo and foxglove_msgs/ImageAnnotations, need not be installed: a bag
has the definitions inside.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import cv2
from rosbags.typesys.store import Typestore

from robust_vos_ros.bags.reader import COMPRESSED_IMAGE, RawMessage, header_stamp_ns
from robust_vos_ros.bags.results import OBJECTS_TYPE, ResultTopics
from robust_vos_ros.ros_types.annotations import (
    ANNOTATIONS,
    LABEL_INFO,
    label_names,
    make_annotations,
    make_label_info,
)

_MAX_UNPAIRED = 30  # frames without their objects or their mask
_MAX_WAITING = 64  # messages


class DerivedTopics:
    """Adds label info and annotations to a recording, in its own thread.

    If messages arrive faster than the thread works, some are skipped, so that the recording never
    waits.

    Args:
        typestore: Of `bags.definitions`.
        topics: Of the node.
        put: Records a message.

    Attributes:
        sources: Topics of the messages that are needed.
    """

    def __init__(
        self, typestore: Typestore, topics: ResultTopics, put: Callable[[RawMessage], None]
    ) -> None:
        self.sources = (topics.objects, topics.label_png)
        self._topics = topics
        self._typestore = typestore
        self._put = put
        self._frames: dict[int, dict[str, Any]] = {}
        self._names: dict[int, str] | None = None  # of the last recorded label info
        self._queue: queue.Queue[RawMessage | None] = queue.Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name='derived topics', daemon=True)
        self._thread.start()

    def add(self, message: RawMessage) -> None:
        """Take a message of one of the sources."""
        if not self._queue.full():
            self._queue.put(message)

    def stop(self) -> None:
        """Process the waiting messages, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                if message.msgtype == OBJECTS_TYPE:
                    self._add_objects(message)
                elif message.msgtype == COMPRESSED_IMAGE:
                    self._add_mask(message)
            except Exception:  # noqa: S112  damaged bytes may raise anything in the libraries
                continue  # the message itself is recorded all the same

    def _add_objects(self, message: RawMessage) -> None:
        array: Any = self._typestore.deserialize_cdr(message.cdr, OBJECTS_TYPE)
        names = label_names(array.objects)
        if names != self._names:
            self._names = names
            made = make_label_info(self._typestore.types, names, array.header)
            self._record(self._topics.label_info, LABEL_INFO, made, message.stamp_ns)
        self._pair(message, OBJECTS_TYPE, array)

    def _add_mask(self, message: RawMessage) -> None:
        image: Any = self._typestore.deserialize_cdr(message.cdr, COMPRESSED_IMAGE)
        mask = cv2.imdecode(image.data, cv2.IMREAD_UNCHANGED)
        if mask is not None:
            self._pair(message, COMPRESSED_IMAGE, mask)

    def _pair(self, message: RawMessage, kind: str, content: Any) -> None:
        """Annotate a frame once both its objects and its mask have arrived."""
        frame = self._frames.setdefault(header_stamp_ns(message.cdr), {})
        frame[kind] = content
        if len(frame) == 2:
            del self._frames[header_stamp_ns(message.cdr)]
            array, types = frame[OBJECTS_TYPE], self._typestore.types
            made = make_annotations(types, array.objects, frame[COMPRESSED_IMAGE], array.header)
            self._record(self._topics.annotations, ANNOTATIONS, made, message.stamp_ns)
        while len(self._frames) > _MAX_UNPAIRED:
            del self._frames[next(iter(self._frames))]

    def _record(self, topic: str, msgtype: str, message: Any, stamp_ns: int) -> None:
        cdr = bytes(self._typestore.serialize_cdr(message, msgtype))
        self._put(RawMessage(topic, msgtype, cdr, stamp_ns))
