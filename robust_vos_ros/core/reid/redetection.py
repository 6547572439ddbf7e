"""Look for objects that are out of sight in the whole image, by what they look like.

The network looks for an object where its memory leads it. What came back elsewhere, or turned, it
may miss. A search points at the most alike place as a detector would; what is segmented there is
remembered if it is alike, and the next frame is tracked from it. Whether that is believed is
decided as for every other mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from robust_vos_ros.core.confidence.evidence import much_smaller
from robust_vos_ros.core.frames import Record
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.prompts import check_prompt
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.reid.appearance import Looks, Prototypes, measure
from robust_vos_ros.core.reid.association import Likeness, Scene, judge
from robust_vos_ros.core.segmentation import Segmenter
from robust_vos_ros.core.tracking_settings import TrackerSettings
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
    boxes = guess_boxes(propagator.likeness, due, scene, shown, rule.min_similarity)
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
        propagator.likeness,
        scene,
        settings,
        shown=shown,
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


Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the image


def guess_box(
    looks: Looks,
    prototypes: Prototypes,
    slot: int,
    planes: torch.Tensor,
    *,
    coverage: float,
    taken: torch.Tensor,
    min_similarity: float,
) -> Box | None:
    """Return the box around where an object may be; None if nothing is alike.

    Args:
        looks: Describes places.
        prototypes: Know the object.
        slot: Its row.
        planes: Of the image, (D, h, w) from `core.reid.appearance.measure`.
        coverage: Share of the image the object used to cover.
        taken: (h, w) bool, where other objects are.
        min_similarity: What is less alike is nothing.

    Returns:
        The box, within the image.
    """
    if not prototypes.counts[slot] or not coverage:
        return None
    height, width = taken.shape
    radius = math.sqrt(coverage * height * width / math.pi)
    places = looks.survey(planes, radius)
    with torch.autocast(places.device.type, enabled=False):
        likeness = (places @ prototypes.centers[slot].T).amax(dim=2)
    free = F.max_pool2d(taken[None].float(), 2)[0] == 0.0
    likeness = torch.where(free, likeness, -1.0)
    best = int(likeness.argmax())
    row, column = divmod(best, likeness.shape[1])
    if float(likeness[row, column]) < min_similarity:
        return None
    x, y = (2.0 * column + 0.5) / width, (2.0 * row + 0.5) / height
    across, down = radius / width, radius / height
    return max(0.0, x - across), max(0.0, y - down), min(1.0, x + across), min(1.0, y + down)


def guess_boxes(
    likeness: Likeness,
    items: Sequence[LiveObject],
    scene: Scene,
    shown: torch.Tensor,
    min_similarity: float,
) -> list[Box | None]:
    """Return where objects out of sight may be, see `guess_box`.

    Args:
        likeness: Knows how they look.
        items: The objects.
        scene: The frame.
        shown: (K, h, w) logits of the objects in view; where one is that is not much larger
            than the object, it is not looked for.
        min_similarity: What is less alike is nothing.
    """
    areas = (shown > 0).float().mean(dim=(1, 2))
    usual = torch.tensor([item.usual_coverage for item in items], device=areas.device)
    smaller = much_smaller(usual, areas)
    return [
        guess_box(
            likeness.looks,
            likeness.prototypes,
            item.slot,
            scene.planes,
            coverage=item.usual_coverage,
            taken=(shown[~lies_on] > 0).any(dim=0),
            min_similarity=min_similarity,
        )
        for item, lies_on in zip(items, smaller, strict=True)
    ]
