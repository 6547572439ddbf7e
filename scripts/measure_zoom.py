"""Scores of small objects with `tracking.zoom` and without.

    python scripts/measure_zoom.py STILLS [NUM_CLIPS [SEED]]

Held-out still images of the folder STILLS are animated at 640 px; the smallest object of each clip
is tracked from its mask in the first frame.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings, parse_settings
from robust_vos_ros.core.tracking_sections import ZoomSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import ObjectState, Prompt
from robust_vos_ros.data.clips import ClipMaker, ClipSettings
from robust_vos_ros.data.sources import held_out_stills
from robust_vos_ros.eval.clip_scores import SIZES, track_prompts
from robust_vos_ros.eval.metrics import score_sequence

_SIDE, _NUM_FRAMES = 640, 12
_SMALLEST, _LARGEST = 0.004, 0.12  # share of the image


def main() -> None:
    """Print a line per clip, then means by size: J&F, and share of TRACKED frames, in percent."""
    torch.set_num_threads(1)
    model = load_model(ModelSettings(device='cpu', num_threads=1))
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 36
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 11
    variants = [TrackerSettings(zoom=ZoomSettings(enabled=on)) for on in (False, True)]
    rows = []
    for name, images, masks in itertools.islice(_small_objects(Path(sys.argv[1]), seed), count):
        scores = [_score(model, images, masks, settings) for settings in variants]
        rows.append((masks[0].mean(), *scores[0], *scores[1]))
        print(name, _percents(rows[-1]), flush=True)
    table = np.array(rows)
    for low, high in itertools.pairwise(SIZES):
        mine = table[(table[:, 0] >= low) & (table[:, 0] < high)]
        if len(mine):
            print(f'{low:.1%} to {high:.1%}, {len(mine)} objects:', _percents(mine.mean(axis=0)))


def _small_objects(root: Path, seed: int) -> Iterator[tuple[str, list[np.ndarray], np.ndarray]]:
    """Yield the name, (H, W, 3) images and (T, H, W) bool masks of clips."""
    sources = held_out_stills(root, 0.1)
    maker = ClipMaker(parse_settings(ClipSettings, {'paste': 1.0}), _SIDE, sources)
    for attempt in itertools.count():
        clip = maker.layered(np.random.default_rng((seed, attempt)), _NUM_FRAMES)
        areas = clip.masks[:, 0].mean(axis=(1, 2))
        small = np.flatnonzero((areas >= _SMALLEST) & (areas <= _LARGEST))
        if len(small):
            row = small[areas[small].argmin()]
            yield clip.name, list(clip.images), clip.masks[row].astype(bool)


def _score(
    model: object, images: list[np.ndarray], masks: np.ndarray, settings: TrackerSettings
) -> tuple[float, float]:
    """Return J&F, and the share of frames after the first in which the object is TRACKED."""
    results = track_prompts(model, images, [Prompt('it', mask=masks[0])], settings)
    score = score_sequence([result.mask('it') for result in results], list(masks))
    states = [result.objects[0].state for result in results[1:]]
    return score.jf, float(np.mean([state == ObjectState.TRACKED for state in states]))


def _percents(row: np.ndarray | tuple[float, ...]) -> str:
    size, off, off_tracked, on, on_tracked = (100.0 * float(value) for value in row)
    return (
        f'{size:.2f}% of the image: J&F {off:.1f}, TRACKED {off_tracked:.0f}%; '
        f'with zoom {on:.1f}, {on_tracked:.0f}%'
    )


if __name__ == '__main__':
    main()
