"""Re-detect unseen objects in the whole image by their appearance.

Memory attention favours the last position and view, and may miss an object that reappears
elsewhere or turned. Re-detection proposes the most similar position, segments it, and seeds the
memory of the object with the mask if it is similar enough. As for every other mask, the next
frames decide whether the object is visible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from robust_vos_ros.core.masks import much_smaller
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.prompting.prompts import check_prompt
from robust_vos_ros.core.prompting.segmentation import Segmenter
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.reid.appearance import AppearanceEmbedder, Gallery, feature_map
from robust_vos_ros.core.reid.association import associate
from robust_vos_ros.core.reid.reidentifier import Reidentifier, Scene
from robust_vos_ros.core.stages import stage
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import UNSEEN_STATES, Prompt
from robust_vos_ros.core.zoom.window import Record

_INTERVAL_S = 0.1  # minimum time between re-detections of an object


@stage('search')
def redetect(
    live: list[LiveObject],
    segmenter: Segmenter,
    propagator: Propagator,
    record: Record,
    settings: TrackerSettings,
) -> None:
    """Run re-detection for the unseen objects that are due.

    Args:
        live: All objects, tracked into this frame.
        segmenter: Segments prompts.
        propagator: Holds the objects' memory, which is seeded with accepted masks.
        record: The newest frame.
        settings: Number of objects per frame, and minimum similarity of a mask.
    """
    rule = settings.reacquire
    due = [item for item in live if _is_due(item, record.stamp_ns)]
    due = sorted(due, key=lambda item: item.reid.searched_ns)[: rule.redetections_per_frame]
    if not due:
        return
    scene = Scene(feature_map(segmenter.encode(record), record.image), live)
    shown = propagator.masks([item for item in live if item.track.visible])
    boxes = propose_boxes(propagator.reidentifier, due, scene, shown, rule.min_similarity)
    for item in due:
        item.reid.searched_ns = record.stamp_ns
    pairs = [
        (item, _to_prompt(item, box, record))
        for item, box in zip(due, boxes, strict=True)
        if box is not None
    ]
    found, _ = associate(
        [item for item, _ in pairs],
        segmenter.segment([prompt for _, prompt in pairs], record),
        propagator.reidentifier,
        scene,
        settings,
        shown=shown,
        min_similarity=rule.redetect_similarity,
    )
    for candidate in found:
        segment = candidate.segment
        propagator.seed(
            candidate.item, segmenter.encode(record), segment.kept, segment.spatial,
            record.frame_index,
        )  # fmt: skip


def _is_due(item: LiveObject, stamp_ns: int) -> bool:
    unseen = item.track.state in UNSEEN_STATES and not item.track.visible
    return unseen and abs(stamp_ns - item.reid.searched_ns) / 1e9 >= _INTERVAL_S


def _to_prompt(item: LiveObject, box: Box, record: Record) -> Prompt:
    height, width = record.size_hw
    corners = np.array(box, np.float32) * [width, height, width, height]
    return check_prompt(Prompt(item.object_id, box=corners.astype(np.float32)), record.size_hw)


Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the image


def propose_box(
    embedder: AppearanceEmbedder,
    gallery: Gallery,
    slot: int,
    planes: torch.Tensor,
    *,
    coverage: float,
    taken: torch.Tensor,
    min_similarity: float,
) -> Box | None:
    """Return a box around the most similar position; None if none is similar enough.

    Args:
        embedder: Embeds positions of the image.
        gallery: Holds the embeddings of the object.
        slot: Its row.
        planes: Of the image, (D, h, w) from `feature_map`.
        coverage: Share of the image that the object used to cover.
        taken: (h, w) bool, cells of other objects, which are excluded.
        min_similarity: Minimum similarity (cosine) of the position.

    Returns:
        (4,) x0, y0, x1, y1 within the image.
    """
    if not gallery.counts[slot] or not coverage:
        return None
    height, width = taken.shape
    radius = math.sqrt(coverage * height * width / math.pi)
    embeddings = embedder.embed_places(planes, radius)
    with torch.autocast(embeddings.device.type, enabled=False):
        similarity = (embeddings @ gallery.centers[slot].T).amax(dim=2)
    free = F.max_pool2d(taken[None].float(), 2)[0] == 0.0
    similarity = torch.where(free, similarity, -1.0)
    best = int(similarity.argmax())
    row, column = divmod(best, similarity.shape[1])
    if float(similarity[row, column]) < min_similarity:
        return None
    x, y = (2.0 * column + 0.5) / width, (2.0 * row + 0.5) / height
    across, down = radius / width, radius / height
    return max(0.0, x - across), max(0.0, y - down), min(1.0, x + across), min(1.0, y + down)


def propose_boxes(
    reidentifier: Reidentifier,
    items: Sequence[LiveObject],
    scene: Scene,
    shown: torch.Tensor,
    min_similarity: float,
) -> list[Box | None]:
    """Return a box or None for each of some unseen objects, see `propose_box`.

    Args:
        reidentifier: Holds their galleries.
        items: The objects.
        scene: The frame.
        shown: (K, h, w) logits of the visible objects; positions on one of them are excluded
            unless it is much larger than the object.
        min_similarity: Minimum similarity (cosine) of the position.
    """
    areas = (shown > 0).float().mean(dim=(1, 2))
    mean = torch.tensor([item.memory.mean_coverage for item in items], device=areas.device)
    smaller = much_smaller(mean, areas)
    return [
        propose_box(
            reidentifier.embedder,
            reidentifier.gallery,
            item.slot,
            scene.planes,
            coverage=item.memory.mean_coverage,
            taken=(shown[~lies_on] > 0).any(dim=0),
            min_similarity=min_similarity,
        )
        for item, lies_on in zip(items, smaller, strict=True)
    ]
