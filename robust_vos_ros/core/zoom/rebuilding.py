"""Make memory again, as another window shows it.

A spatial memory lies where the object was in the network's image, as large as it was there. With
another window both change. The prompted frames are encoded again around their objects, at the new
scale, and one frame takes the place of recent memory: the newest one, or the last that was
remembered of an object out of sight. Pointers tell no place, and stay.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import torch

from robust_vos_ros.core.objects import LiveObject, slots_of
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.reid.appearance import feature_map
from robust_vos_ros.core.types import Features
from robust_vos_ros.core.zoom.sources import Picture, Shown, Sources, View
from robust_vos_ros.core.zoom.window import Window, box_of, move, resize

# Object score of the frame that takes the place of recent memory: surely there.
_SEEN_SCORE = 5.0
# A prompted object may fill this share of the side of its window.
_ROOM = 0.8
# What looks less like a trusted look than this is learned: a scale of its own.
_SAME_LOOK = 0.9


def rebuild(
    items: Sequence[LiveObject],
    propagator: Propagator,
    sources: Sources,
    views: dict[int, View],
    *,
    old: Window,
    new: Window,
) -> None:
    """Bring all that is known of objects from one window to another.

    Args:
        items: All live objects.
        propagator: Knows them.
        sources: The frames of their prompts.
        views: By slot, what takes the place of recent memory; none of an object without one.
        old: Where their masks and memories are.
        new: Where they are to be.
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
    """Bring the sizes that are expected of an object to another window."""
    side = old.share / new.share
    track, reference, memory = item.track, item.reference, item.memory
    track.coverage = min(1.0, track.coverage * side**2)
    memory.mean_coverage = min(1.0, memory.mean_coverage * side**2)
    reference.prompted_coverage = min(1.0, reference.prompted_coverage * side**2)
    reference.coverage = min(1.0, reference.coverage * side**2)
    reference.spread = min(1.0, reference.spread * side)


def _rebuild_prompted(
    item: LiveObject, propagator: Propagator, kept: dict[int, Shown], window: Window
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
        least = min(0.5, max(float(sized.max()) / 2.0, 1e-3))  # what is small must not vanish
        masks = torch.from_numpy((sized >= least).astype(np.float32))[None, None]
        given = model.from_masks(features, masks.to(model.device))
        spatial = model.remember(features, given.mask_logits, given.object_scores, prompted=True)
        memory.write_prompted(slots, index, spatial, given.pointers[:, 0])
        propagator.references.start(slots, model.proxies(features, given.mask_logits))
        planes = feature_map(features, resize(around.cut(shown.picture.rgb), model.image_size))
        reidentifier = propagator.reidentifier
        embedding = reidentifier.embedder.embed_masks(planes, given.mask_logits[:, 0])[0]
        gallery = reidentifier.gallery
        if bool(embedding.any()) and gallery.compare_verified(item.slot, embedding) < _SAME_LOOK:
            gallery.learn(item.slot, embedding, verified=True)


def _rebuild_recent(item: LiveObject, propagator: Propagator, view: View, window: Window) -> None:
    """Let one frame take the place of the recent memory of one object."""
    model, slots = propagator.model, slots_of([item])
    owners, ranks = propagator.tree.rows(slots)
    logits = move(view.logits, view.window, window)
    logits = logits[torch.from_numpy(np.minimum(ranks, len(logits) - 1))].unsqueeze(1)
    features = _encode(propagator, view.picture, window)
    scores = torch.full((len(ranks),), _SEEN_SCORE, device=logits.device)
    spatial = model.remember(features, logits, scores, prompted=False)
    propagator.memory.write_recent_spatial(
        slots[owners], ranks, view.picture.frame_index, spatial, scores.numpy(force=True)
    )
    propagator.references.see(slots, model.proxies(features, logits[:1]))


def window_around(mask: np.ndarray, window: Window) -> Window:
    """Return a window of the same size around a mask of the image, or one that shows all of it.

    Args:
        mask: (h, w) bool, of the camera image brought to any size.
        window: Its size is meant.
    """
    if window.is_whole or not mask.any():
        return window
    height, width = window.image_hw
    scale = np.array([width / mask.shape[1], height / mask.shape[0]] * 2, np.float32)
    box = box_of(mask) * scale
    share = max((box[2] - box[0]) / width, (box[3] - box[1]) / height) / _ROOM
    if share > window.share:
        sides = min(width, round(share * width)), min(height, round(share * height))
        window = dataclasses.replace(window, width=sides[0], height=sides[1])
    return window.around(box)


def sources_reach(items: Iterable[LiveObject], propagator: Propagator, sources: Sources) -> bool:
    """Whether the memory of all prompts of some objects can be made again."""
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
