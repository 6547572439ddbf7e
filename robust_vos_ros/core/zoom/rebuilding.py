"""Encode memory again for another window.

Position and size of an object in a spatial memory entry depend on the window. When the window
changes, prompted frames are encoded again around their objects at the new scale, and one frame
replaces the recent memory: the newest one, or for an object that is not visible the last one that
entered its memory. Pointers do not depend on position, and stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch

from robust_vos_ros.core.network.tensors import Features
from robust_vos_ros.core.objects import LiveObject, slots_of
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.reid.appearance import feature_map
from robust_vos_ros.core.zoom.sources import Picture, PromptedMask, Sources, TrackedMasks
from robust_vos_ros.core.zoom.window import Window, box_of, move, resize

# Object score of the frame that replaces the recent memory: certainly present.
_PRESENT_SCORE = 5.0
# Maximum share of the window's side that a prompted object fills.
_MAX_FILL = 0.8
# A rescaled prompt with less than this similarity to all verified exemplars becomes one.
_SAME_SIMILARITY = 0.9


def rebuild(
    items: Sequence[LiveObject],
    propagator: Propagator,
    sources: Sources,
    views: dict[int, TrackedMasks],
    *,
    old: Window,
    new: Window,
) -> None:
    """Convert masks, memory and expected sizes of objects to another window.

    Args:
        items: All live objects.
        propagator: Holds their masks and memory.
        sources: The frames of their prompts.
        views: By slot, the frame that replaces the recent memory; may lack objects.
        old: The present window of masks and memory.
        new: The new window.
    """
    slots = slots_of(items)
    propagator.memory.clear_recent_spatial(slots)
    for item in items:
        _rebuild_prompted(item, propagator, sources.shown.get(item.slot, {}), new)
        if item.slot in views:
            _rebuild_recent(item, propagator, views[item.slot], new)
        resize_object(item, old, new)
    at = torch.from_numpy(slots).to(propagator.logits.device)
    propagator.logits[at] = move(propagator.logits[at], old, new)


def resize_object(item: LiveObject, old: Window, new: Window) -> None:
    """Convert sizes of an object from one window to another."""
    side = old.share / new.share
    track, reference, memory = item.track, item.reference, item.memory
    track.coverage = min(1.0, track.coverage * side**2)
    memory.mean_coverage = min(1.0, memory.mean_coverage * side**2)
    reference.prompted_coverage = min(1.0, reference.prompted_coverage * side**2)
    reference.coverage = min(1.0, reference.coverage * side**2)
    reference.spread = min(1.0, reference.spread * side)


def _rebuild_prompted(
    item: LiveObject, propagator: Propagator, kept: dict[int, PromptedMask], window: Window
) -> None:
    """Encode the prompted frames of one object again."""
    model, memory, slots = propagator.model, propagator.memory, slots_of([item])
    for index in sorted(set(memory.prompted_frames(item.slot).tolist()) & set(kept)):
        shown = kept[index]
        around = window_around(shown.mask, window)
        features = _encode(propagator, shown.picture, around)
        side = (model.image_size, model.image_size)
        part = around.cut(shown.mask).astype(np.float32)
        sized = cv2.resize(part, side, interpolation=_interpolation(part, model.image_size))
        least = min(0.5, max(float(sized.max()) / 2.0, 1e-3))  # a small mask must not vanish
        masks = torch.from_numpy((sized >= least).astype(np.float32))[None, None]
        given = model.decoder.from_masks(features, masks.to(model.device))
        spatial = model.remember(features, given.mask_logits, given.object_scores, prompted=True)
        memory.write_prompted(slots, index, spatial, given.pointers[:, 0])
        propagator.references.start(slots, model.start_references(features, given.mask_logits))
        planes = feature_map(features, resize(around.cut(shown.picture.rgb), model.image_size))
        reidentifier = propagator.reidentifier
        embedding = reidentifier.embedder.embed_masks(planes, given.mask_logits[:, 0])[0]
        gallery = reidentifier.gallery
        if (
            bool(embedding.any())
            and gallery.compare_verified(item.slot, embedding) < _SAME_SIMILARITY
        ):
            gallery.learn(item.slot, embedding, verified=True)


def _rebuild_recent(
    item: LiveObject, propagator: Propagator, view: TrackedMasks, window: Window
) -> None:
    """Replace the recent spatial memory of one object by one frame."""
    model, slots = propagator.model, slots_of([item])
    owners, ranks = propagator.tree.rows(slots)
    logits = move(view.logits, view.window, window)
    logits = logits[torch.from_numpy(np.minimum(ranks, len(logits) - 1))].unsqueeze(1)
    features = _encode(propagator, view.picture, window)
    scores = torch.full((len(ranks),), _PRESENT_SCORE, device=logits.device)
    spatial = model.remember(features, logits, scores, prompted=False)
    propagator.memory.write_recent_spatial(
        slots[owners], ranks, view.picture.frame_index, spatial, scores.numpy(force=True)
    )
    propagator.references.see(slots, model.proxies(features, logits[:1]))


def window_around(mask: np.ndarray, window: Window) -> Window:
    """Return a window of the same size around a mask, enlarged if the mask does not fit.

    Args:
        mask: (h, w) bool, of the camera image at any resolution.
        window: Of the wanted size.
    """
    if window.is_whole or not mask.any():
        return window
    height, width = window.image_hw
    scale = np.array([width / mask.shape[1], height / mask.shape[0]] * 2, np.float32)
    box = box_of(mask) * scale
    share = max((box[2] - box[0]) / width, (box[3] - box[1]) / height) / _MAX_FILL
    if share > window.share:
        sides = min(width, round(share * width)), min(height, round(share * height))
        window = Window(0, 0, *sides, window.image_hw)
    return window.around(box)


def sources_reach(items: Iterable[LiveObject], propagator: Propagator, sources: Sources) -> bool:
    """Whether all prompted frames of some objects are kept."""
    return all(
        set(propagator.memory.prompted_frames(item.slot).tolist())
        <= set(sources.shown.get(item.slot, {}))
        for item in items
    )


def _encode(propagator: Propagator, picture: Picture, window: Window) -> Features:
    model = propagator.model
    return model.encode(resize(window.cut(picture.rgb), model.image_size)[None])


def _interpolation(image: np.ndarray, side: int) -> int:
    return cv2.INTER_AREA if min(image.shape[:2]) > side else cv2.INTER_LINEAR
