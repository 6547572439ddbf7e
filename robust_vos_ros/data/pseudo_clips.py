"""Clips made of still images that were held out of training, for evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.data.clips import ClipMaker, ClipSettings
from robust_vos_ros.data.sources import held_out_stills

_MIN_AREA, _MAX_AREA = 0.003, 0.6  # of an object that is scored, share of the image


def pseudo_clips(
    root: Path,
    *,
    count: int,
    num_frames: int,
    size: int,
    max_objects: int,
    held_out: float = 0.1,
    seed: int = 0,
) -> Iterator[Clip]:
    """Animate held-out still images, as training does with the others.

    Args:
        root: Folder of still images, as for `open_stills`.
        count: Number of clips.
        num_frames: T.
        size: Side of the square images in pixels.
        max_objects: Most objects of a clip; with 1 nothing is pasted.
        held_out: Share of the stills that is held out.
        seed: Of the clips.

    Yields:
        Clips whose objects are all visible in their first frame.

    Raises:
        DatasetError: The stills cannot be read.
    """
    sources = held_out_stills(root, held_out)
    settings = parse_settings(ClipSettings, {'paste': 0.0 if max_objects == 1 else 1.0})
    maker = ClipMaker(settings, size, sources)
    made = attempt = 0
    while made < count:
        rng = np.random.default_rng((seed, attempt))
        attempt += 1
        clip = maker.layered(rng, num_frames)
        areas = clip.masks[:, 0].mean(axis=(1, 2))
        usable = np.flatnonzero((areas >= _MIN_AREA) & (areas <= _MAX_AREA))
        if len(usable) < min(2, max_objects):
            continue
        rows = np.sort(rng.permutation(usable)[:max_objects])
        made += 1
        yield dataclasses.replace(clip, name=f'{clip.name}/{attempt}', masks=clip.masks[rows])
