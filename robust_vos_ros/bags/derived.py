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
import numpy as np
from rosbags.typesys.store import Typestore

from robust_vos_ros.bags.definitions import ANNOTATIONS, LABEL_INFO, PACKAGE
from robust_vos_ros.bags.reader import RawMessage, header_stamp_ns
from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.marks import (
    FILL_OPACITY,
    LINE_PX,
    TEXT_BACKGROUND_OPACITY,
    TEXT_PX,
    find_marks,
)

_ARRAY = f'{PACKAGE}/msg/TrackedObjectArray'
_PNG = 'sensor_msgs/msg/CompressedImage'
_LINE_LOOP = 2
_MAX_UNPAIRED = 30  # frames of which the objects or the mask are still missing
_MAX_WAITING = 64


def make_label_info(typestore: Typestore, array: Any) -> Any:
    """Return a vision_msgs/LabelInfo: the class of every label, else its object_id.

    Args:
        typestore: Of `bags.definitions`.
        array: A TrackedObjectArray.
    """
    kind = typestore.types['vision_msgs/msg/VisionClass']
    classes = [kind(item.label, item.class_id or item.object_id) for item in array.objects]
    return typestore.types[LABEL_INFO](array.header, classes, 0.0)


def make_annotations(typestore: Typestore, array: Any, label_mask: np.ndarray) -> Any:
    """Return a foxglove_msgs/ImageAnnotations: outlines with id, confidence and state.

    Args:
        typestore: Of `bags.definitions`.
        array: A TrackedObjectArray.
        label_mask: (H, W) labels of the same frame.
    """
    types, stamp = typestore.types, array.header.stamp
    color, point = types['foxglove_msgs/msg/Color'], types['foxglove_msgs/msg/Point2']
    make_outline = types['foxglove_msgs/msg/PointsAnnotation']
    make_text = types['foxglove_msgs/msg/TextAnnotation']
    background = color(0.0, 0.0, 0.0, TEXT_BACKGROUND_OPACITY)
    points, texts = [], []
    for mark in find_marks(array.objects, label_mask):
        solid, fill = color(*mark.color, 1.0), color(*mark.color, FILL_OPACITY)
        texts.append(make_text(stamp, point(*mark.text_xy), mark.text, TEXT_PX, solid, background))
        for outline in mark.outlines:
            corners = [point(float(x), float(y)) for x, y in outline]
            points.append(make_outline(stamp, _LINE_LOOP, corners, solid, [], fill, LINE_PX))
    return types[ANNOTATIONS]([], points, texts)


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
        self._classes: list[tuple[int, str]] | None = None
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
            except (RobustVosError, ValueError, IndexError, cv2.error):
                continue  # the message itself is recorded as it came, whatever is wrong with it

    def _add_objects(self, message: RawMessage) -> None:
        array: Any = self._typestore.deserialize_cdr(message.cdr, _ARRAY)
        classes = [(item.label, item.class_id or item.object_id) for item in array.objects]
        if classes != self._classes:
            self._classes = classes
            made = make_label_info(self._typestore, array)
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
            made = make_annotations(self._typestore, frame[_ARRAY], frame[_PNG])
            self._record(self._annotations, ANNOTATIONS, made, message.stamp_ns)
        while len(self._frames) > _MAX_UNPAIRED:
            del self._frames[next(iter(self._frames))]

    def _record(self, topic: str, msgtype: str, message: Any, stamp_ns: int) -> None:
        cdr = bytes(self._typestore.serialize_cdr(message, msgtype))
        self._put(RawMessage(topic, msgtype, cdr, stamp_ns))
