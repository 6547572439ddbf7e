"""Look for objects that are out of sight in the whole image, by what they look like.

The network looks for an object where its memory leads it. What came back elsewhere, or turned, it
may miss. A search points at the most alike place as a detector would; what is segmented there is
remembered if it is alike, and the next frame is tracked from it. Whether that is believed is
decided as for every other mask.
"""

from __future__ import annotations

import numpy as np

from robust_vos_ros.core.history import Record
from robust_vos_ros.core.likeness import Scene
from robust_vos_ros.core.looks import measure
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.places import Box
from robust_vos_ros.core.prompts import check_prompt
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.reseeding import judge
from robust_vos_ros.core.segmenter import Segmenter
from robust_vos_ros.core.tracking_config import TrackerSettings
from robust_vos_ros.core.types import UNSEEN_STATES, Prompt


def search(
    live: list[LiveObject],
    segmenter: Segmenter,
    propagator: Propagator,
    record: Record,
    settings: TrackerSettings,
) -> None:
    """Search for the objects out of sight whose turn it is.

    Args:
        live: All objects, brought to this frame.
        segmenter: Segments what is pointed at.
        propagator: Knows the objects, and remembers what is found.
        record: The newest frame.
        settings: How often, and how alike a find must be.
    """
    rule = settings.reacquire
    due = [item for item in live if _is_due(item, record.stamp_ns, rule.search_every_s)]
    due = sorted(due, key=lambda item: item.searched_ns)[: rule.searches_per_frame]
    if not due:
        return
    scene = Scene(measure(segmenter.encode(record), record.image), live)
    shown = propagator.masks([item for item in live if item.visible])
    boxes = propagator.likeness.guess_boxes(due, scene, shown, rule.min_similarity)
    for item in due:
        item.searched_ns = record.stamp_ns
    pairs = [
        (item, _point_at(item, box, record))
        for item, box in zip(due, boxes, strict=True)
        if box is not None
    ]
    found, _ = judge(
        [item for item, _ in pairs],
        segmenter.segment([prompt for _, prompt in pairs], record),
        propagator,
        scene,
        settings,
        min_similarity=rule.search_similarity,
    )
    for candidate in found:
        segment = candidate.segment
        propagator.plant(
            candidate.item, segmenter.encode(record), segment.kept, segment.spatial,
            record.frame_index,
        )  # fmt: skip


def _is_due(item: LiveObject, stamp_ns: int, every_s: float) -> bool:
    unseen = item.state in UNSEEN_STATES and not item.visible
    return unseen and abs(stamp_ns - item.searched_ns) / 1e9 >= every_s


def _point_at(item: LiveObject, box: Box, record: Record) -> Prompt:
    height, width = record.size_hw
    corners = np.array(box, np.float32) * [width, height, width, height]
    return check_prompt(Prompt(item.object_id, box=corners.astype(np.float32)), record.size_hw)
