"""Invariants of the node's output, checked on messages as they arrive.

Whatever happens to camera, network or process, every published message has to satisfy them.
Messages are accessed by attribute, and ROS is not imported.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from typing import Any

import cv2
import numpy as np

from robust_vos_ros.ros_types.images import is_compressed, stamp_to_ns

TRACKED, MAX_STATE = 1, 4  # TrackedObject.STATE_TRACKED and STATE_LOST
_MAX_WAITING = 64  # frames whose other message has not come
_MAX_PROBLEMS = 100  # sentences that are kept; all are counted


@dataclasses.dataclass(frozen=True, slots=True)
class _Expected:
    """What the label mask of a frame has to be; `areas` maps the labels to their pixels."""

    size_hw: tuple[int, int]
    frame_id: str
    areas: dict[int, int]


class Invariants:
    """Checks ~/objects and its label masks of one node.

    - confidence and existence_probability are in [0, 1], mask_quality and gate_activity too or NaN
    - object_ids, uuids and labels are unique in a message, states known, boxes in the image
    - an object without pixels has confidence 0 and is not TRACKED
    - a label mask has the size and frame_id of the objects of its stamp, and their pixels exactly
    - stamps on one topic do not go back, unless the images themselves do (`monotone` = False)

    Args:
        monotone: The stamps of the images never go back.

    Attributes:
        num_objects: Number of checked messages of objects; `num_masks` of masks that met theirs.
        num_problems: Number of violations.
        problems: The first sentences about them.
    """

    def __init__(self, *, monotone: bool = True) -> None:
        self.num_objects = self.num_masks = self.num_problems = 0
        self.problems: list[str] = []
        self._monotone = monotone
        self._newest: dict[str, int] = {}
        self._expected: collections.OrderedDict[int, _Expected] = collections.OrderedDict()
        self._masks: collections.OrderedDict[int, Any] = collections.OrderedDict()

    def add_objects(self, msg: Any) -> None:
        """Check a robust_vos/TrackedObjectArray."""
        self.num_objects += 1
        stamp_ns = self._check_stamp('objects', msg.header)
        for item in msg.objects:
            self._check_object(item, msg, stamp_ns)
        for name in ('object_id', 'uuid', 'label'):
            values = [getattr(item, name) for item in msg.objects]
            values = [bytes(value.uuid) if name == 'uuid' else value for value in values]
            if len(set(values)) != len(values):
                self._fail(f'objects at {stamp_ns}: expected different {name}s, got {values}')
        areas = {item.label: item.area_px for item in msg.objects if item.area_px}
        self._expected[stamp_ns] = _Expected((msg.height, msg.width), msg.header.frame_id, areas)
        _trim(self._expected)
        self._compare(stamp_ns)

    def add_mask(self, msg: Any) -> None:
        """Check a label mask, sensor_msgs/Image or CompressedImage."""
        stamp_ns = self._check_stamp('label_mask', msg.header)
        self._masks[stamp_ns] = msg
        _trim(self._masks)
        self._compare(stamp_ns)

    def forget(self) -> None:
        """Begin anew with a node that was restarted, or with images of another time."""
        self._newest.clear()
        self._expected.clear()
        self._masks.clear()

    def _check_stamp(self, topic: str, header: Any) -> int:
        stamp_ns = stamp_to_ns(header.stamp)
        before = self._newest.get(topic)
        if self._monotone and before is not None and stamp_ns < before:
            self._fail(f'{topic}: expected stamps that do not go back, got {stamp_ns} < {before}')
        self._newest[topic] = stamp_ns
        return stamp_ns

    def _check_object(self, item: Any, msg: Any, stamp_ns: int) -> None:
        where = f'{item.object_id!r} at {stamp_ns}'
        for name in ('confidence', 'existence_probability'):
            self._check_share(where, name, getattr(item, name))
        for name in ('mask_quality', 'gate_activity'):
            if not math.isnan(value := getattr(item, name)):
                self._check_share(where, name, value)
        if not item.object_id or not item.label:
            self._fail(f'{where}: expected a name and a label above 0, got label {item.label}')
        if not 0 <= item.state <= MAX_STATE:
            self._fail(f'{where}: expected a state up to {MAX_STATE}, got {item.state}')
        if not item.area_px and item.confidence:
            self._fail(f'{where}: expected confidence 0 without a mask, got {item.confidence}')
        if not item.area_px and item.state == TRACKED:
            self._fail(f'{where}: expected a mask of an object that is TRACKED, got none')
        roi = item.roi
        right, bottom = roi.x_offset + roi.width, roi.y_offset + roi.height
        if right > msg.width or bottom > msg.height or item.area_px > roi.width * roi.height:
            self._fail(
                f'{where}: expected {item.area_px} pixels in a box in {msg.width} x {msg.height}, '
                f'got a box to ({right}, {bottom}) of {roi.width} x {roi.height}'
            )

    def _check_share(self, where: str, name: str, value: float) -> None:
        if not 0.0 <= value <= 1.0:  # also false for NaN
            self._fail(f'{where}: expected {name} in [0, 1], got {value}')

    def _compare(self, stamp_ns: int) -> None:
        """Compare a mask with the objects of its stamp, once both are here."""
        if stamp_ns not in self._expected or stamp_ns not in self._masks:
            return
        want, msg = self._expected[stamp_ns], self._masks.pop(stamp_ns)
        labels = _decode(msg)
        self.num_masks += 1
        if labels is None or labels.shape != want.size_hw:
            got = 'an unreadable one' if labels is None else labels.shape
            self._fail(f'mask at {stamp_ns}: expected a mask of {want.size_hw}, got {got}')
            return
        if msg.header.frame_id != want.frame_id:
            self._fail(
                f'mask at {stamp_ns}: expected frame_id {want.frame_id!r}, got '
                f'{msg.header.frame_id!r}'
            )
        values, counts = np.unique(labels, return_counts=True)
        areas = {int(v): int(n) for v, n in zip(values, counts, strict=True) if v}
        if areas != want.areas:
            self._fail(
                f'mask at {stamp_ns}: expected pixels by label {want.areas}, got {areas}: a mask '
                'of another frame'
            )

    def _fail(self, text: str) -> None:
        self.num_problems += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(text)


def _trim(waiting: collections.OrderedDict[int, Any]) -> None:
    while len(waiting) > _MAX_WAITING:
        waiting.popitem(last=False)


def _decode(msg: Any) -> np.ndarray | None:
    """Return the (H, W) labels of a label mask; None if it cannot be read."""
    data = np.frombuffer(msg.data, np.uint8)
    if is_compressed(msg):
        return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    dtype = {'mono8': np.dtype(np.uint8), '16UC1': np.dtype('<u2')}.get(msg.encoding)
    if dtype is None or data.size != msg.height * msg.width * dtype.itemsize:
        return None
    return data.view(dtype).reshape(msg.height, msg.width)
