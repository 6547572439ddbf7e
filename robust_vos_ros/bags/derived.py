"""Messages made from those of the node for viewers: what a label means, and outlines.

Their types, vision_msgs/LabelInfo and foxglove_msgs/ImageAnnotations, are not installed
everywhere. In a bag they need not be: it carries the definitions.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import cv2
from rosbags.typesys.store import Typestore

from robust_vos_ros.bags.definitions import PACKAGE
from robust_vos_ros.bags.reader import RawMessage, header_stamp_ns
from robust_vos_ros.ros_types.annotations import (
    ANNOTATIONS,
    LABEL_INFO,
    label_names,
    make_annotations,
    make_label_info,
)

_ARRAY = f'{PACKAGE}/msg/TrackedObjectArray'
_PNG = 'sensor_msgs/msg/CompressedImage'
_MAX_UNPAIRED = 30  # frames of which the objects or the mask are still missing
_MAX_WAITING = 64


class DerivedTopics:
    """Adds label info and annotations to a recording, in a thread of its own.

    What comes faster than that thread works is left out, so that nothing recorded ever waits.

    Args:
        typestore: Of `bags.definitions`.
        prefix: Of the node's topics, as in `/robust_vos`.
        put: Records a message.
    """

    def __init__(
        self, typestore: Typestore, prefix: str, put: Callable[[RawMessage], None]
    ) -> None:
        self.sources = (f'{prefix}/objects', f'{prefix}/label_mask/compressed')
        self._label_info, self._annotations = f'{prefix}/label_info', f'{prefix}/annotations'
        self._typestore = typestore
        self._put = put
        self._frames: dict[int, dict[str, Any]] = {}
        self._names: dict[int, str] | None = None  # of the labels, as last recorded
        self._queue: queue.Queue[RawMessage | None] = queue.Queue(_MAX_WAITING)
        self._thread = threading.Thread(target=self._run, name='derived topics', daemon=True)
        self._thread.start()

    def add(self, message: RawMessage) -> None:
        """Take a message of one of the sources."""
        if not self._queue.full():
            self._queue.put(message)

    def stop(self) -> None:
        """Finish what waits."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (message := self._queue.get()) is not None:
            try:
                if message.msgtype == _ARRAY:
                    self._add_objects(message)
                elif message.msgtype == _PNG:
                    self._add_mask(message)
            except Exception:  # noqa: S112  whatever a library makes of damaged bytes
                continue  # the message itself is recorded as it came

    def _add_objects(self, message: RawMessage) -> None:
        array: Any = self._typestore.deserialize_cdr(message.cdr, _ARRAY)
        names = label_names(array.objects)
        if names != self._names:
            self._names = names
            made = make_label_info(self._typestore.types, names, array.header)
            self._record(self._label_info, LABEL_INFO, made, message.stamp_ns)
        self._pair(message, _ARRAY, array)

    def _add_mask(self, message: RawMessage) -> None:
        image: Any = self._typestore.deserialize_cdr(message.cdr, _PNG)
        mask = cv2.imdecode(image.data, cv2.IMREAD_UNCHANGED)
        if mask is not None:
            self._pair(message, _PNG, mask)

    def _pair(self, message: RawMessage, kind: str, content: Any) -> None:
        """Annotate a frame when both its objects and its mask are there."""
        frame = self._frames.setdefault(header_stamp_ns(message.cdr), {})
        frame[kind] = content
        if len(frame) == 2:
            del self._frames[header_stamp_ns(message.cdr)]
            array, types = frame[_ARRAY], self._typestore.types
            made = make_annotations(types, array.objects, frame[_PNG], array.header)
            self._record(self._annotations, ANNOTATIONS, made, message.stamp_ns)
        while len(self._frames) > _MAX_UNPAIRED:
            del self._frames[next(iter(self._frames))]

    def _record(self, topic: str, msgtype: str, message: Any, stamp_ns: int) -> None:
        cdr = bytes(self._typestore.serialize_cdr(message, msgtype))
        self._put(RawMessage(topic, msgtype, cdr, stamp_ns))
