"""Time of a frame while objects are tracked, and while the same objects are LOST.

    python scripts/measure_lost_cost.py [NUM_OBJECTS ...]

It is the CPU time of the process in milliseconds per frame, which depends less on other processes.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import UNSEEN_STATES, Frame, Prompt

_STEP_NS = 200_000_000  # at 5 Hz every frame has a re-detection
_WARM, _MEASURED = 5, 30
_SIZE = 360


def main() -> None:
    """Print a line per number of objects."""
    torch.set_num_threads(1)
    model = load_model(ModelSettings(device='cpu', num_threads=1))
    for count in [int(text) for text in sys.argv[1:]] or [4, 11]:
        tracked, lost = _measure(model, count)
        print(
            f'{count} objects: tracked {tracked:.0f} ms, lost {lost:.0f} ms, {lost / tracked:.2f}'
        )


def _measure(model: object, count: int) -> tuple[float, float]:
    """Return milliseconds per frame, while tracked and while LOST."""
    image, masks = _discs(count)
    settings = TrackerSettings(max_objects=count, lost_after_s=1.0)
    tracker = VideoTracker(model, settings)
    tracker.step(Frame(image, 0))
    tracker.add([Prompt(str(k), mask=mask) for k, mask in enumerate(masks)])
    tracked = _run(tracker, image, 1)
    assert all(item.state not in UNSEEN_STATES for item in tracker.last_result.objects)
    _run(tracker, np.full_like(image, 90), 1 + _WARM + _MEASURED)
    # The worst case: re-detection finds a candidate in every frame, which is never confirmed.
    tracker.settings = settings.model_copy(update={'visible_on': 1.0})
    lost = _run(tracker, image, 1 + 2 * (_WARM + _MEASURED))
    assert all(item.state in UNSEEN_STATES for item in tracker.last_result.objects)
    return tracked, lost


def _run(tracker: VideoTracker, image: np.ndarray, first: int) -> float:
    for index in range(first, first + _WARM + _MEASURED):
        if index == first + _WARM:
            start = time.process_time()
        tracker.step(Frame(image, index * _STEP_NS))
    return (time.process_time() - start) * 1000.0 / _MEASURED


def _discs(count: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return an image of discs of different colours, and their masks."""
    rng = np.random.default_rng(0)
    image = rng.integers(70, 100, (_SIZE, _SIZE, 3)).astype(np.uint8)
    ys, xs = np.mgrid[:_SIZE, :_SIZE]
    masks = []
    for index in range(count):
        y, x = 50 + 85 * (index // 4), 50 + 85 * (index % 4)
        mask = (xs - x) ** 2 + (ys - y) ** 2 <= 30**2
        image[mask] = rng.integers(0, 255, 3)
        masks.append(mask)
    return image, masks


if __name__ == '__main__':
    main()
