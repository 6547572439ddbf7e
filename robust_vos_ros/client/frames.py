"""Objects and label masks of the node, joined by the stamp of the image."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from robust_vos.msg import TrackedObject, TrackedObjectArray
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

_MAX_PENDING = 100  # incomplete frames


@dataclasses.dataclass(frozen=True, slots=True)
class MaskedFrame:
    """One processed frame with its masks.

    Attributes:
        array: The objects, as published.
        labels: (H, W) uint8 or uint16, 0 = background, else `TrackedObject.label`.
    """

    array: TrackedObjectArray
    labels: np.ndarray

    @property
    def header(self) -> Header:
        """Header of the image; `refine` takes the frame as `on`."""
        return self.array.header

    @property
    def objects(self) -> dict[str, TrackedObject]:
        """All live objects by object_id."""
        return {item.object_id: item for item in self.array.objects}

    def mask(self, object_id: str) -> np.ndarray:
        """Return the (H, W) bool mask of an object; all False while it is not visible.

        Raises:
            KeyError: No object of this frame has that id.
        """
        return self.labels == self.objects[object_id].label


class FrameJoiner:
    """Joins the objects and the label mask of each frame, in any order of arrival.

    Attributes:
        counts: Number of messages received of each type.
    """

    def __init__(self) -> None:
        self.counts: collections.Counter[type] = collections.Counter()
        self._pending: dict[tuple[int, int], dict[type, Any]] = {}  # by stamp, oldest first

    def add(self, msg: TrackedObjectArray | CompressedImage) -> dict[type, Any] | None:
        """Take one message; return both messages of its frame, by type, once they are there.

        Incomplete frames before a complete one are dropped, as the node publishes in order.
        """
        self.counts[type(msg)] += 1
        stamp = msg.header.stamp.sec, msg.header.stamp.nanosec
        parts = self._pending.setdefault(stamp, {})
        parts[type(msg)] = msg
        if len(parts) == 1:
            if len(self._pending) > _MAX_PENDING:
                del self._pending[next(iter(self._pending))]
            return None
        for old in list(self._pending):
            del self._pending[old]
            if old == stamp:
                break
        return parts


def explain_missing(came: Mapping[type, int]) -> str:
    """Say why there is no frame, from how many messages came of each type."""
    objects, masks = came[TrackedObjectArray], came[CompressedImage]
    if not objects and not masks:
        return 'nothing came: does it get images? Look at received and processed in /diagnostics'
    if objects and not masks:
        return f'{objects} lists of objects came but no mask: is publish.label_mask_compressed on?'
    return f'{objects} lists of objects and {masks} masks came, none of the same image'


def decode(parts: dict[type, Any]) -> MaskedFrame:
    """Return the frame of an objects message and a label mask, which is a PNG."""
    data = np.frombuffer(parts[CompressedImage].data, np.uint8)
    return MaskedFrame(parts[TrackedObjectArray], cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
