"""Batches for every step, made in worker processes.

The batch of a step depends only on the seed, the step and the rank: a resumed training gets the
same batches as an uninterrupted one, with any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from robust_vos_ros.data.augmentation import corrupt_clip
from robust_vos_ros.data.mixture import DataSettings, Mixture
from robust_vos_ros.train.unroll import Batch


def step_rng(seed: int, step: int, rank: int, purpose: int) -> np.random.Generator:
    """Return the source of randomness of one step in one process, for one purpose."""
    return np.random.default_rng((seed, step, rank, purpose))


def _own_steps(steps: range) -> range:
    """Return the steps whose batches this worker makes; without workers, all."""
    worker = get_worker_info()
    if worker is None:
        return steps
    cv2.setNumThreads(0)  # threads of OpenCV do not survive a fork
    return steps[worker.id :: worker.num_workers]


class Source(Protocol):
    """Draws what a step trains on."""

    def draw(self, rng: np.random.Generator, step: int, num_steps: int) -> Batch:
        """Make the batch of a step of a training of `num_steps`."""


class ClipSource:
    """Batches of clips, which get longer towards the end of the training.

    Args:
        settings: Which clips are drawn.
        size: Side of the square images in pixels.
    """

    def __init__(self, settings: DataSettings, size: int) -> None:
        self._settings = settings
        self._mixture = Mixture(settings, size)

    def draw(self, rng: np.random.Generator, step: int, num_steps: int) -> Batch:
        """Make the batch of a step."""
        settings = self._settings
        long = step >= (1.0 - settings.long_share) * num_steps
        num_frames = settings.long_frames if long else settings.num_frames
        images, truth, owner, clean = [], [], [], []
        for index in range(settings.batch_size):
            clip, rows = self._mixture.draw(rng, num_frames, step / num_steps)
            images.append(corrupt_clip(clip, rng, settings.augmentation).images)
            clean.append(clip.images)
            truth.append(clip.masks[rows])
            owner += [index] * len(rows)
        return Batch(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.concatenate(truth)),
            torch.tensor(owner),
            torch.from_numpy(np.stack(clean)),
        )


class Batches(IterableDataset):
    """Batches of the steps from `first_step` to `num_steps`, in order.

    Args:
        source: Draws them.
        seed: Seed of the training.
        rank: Index of this process among those that train together.
        first_step: Step to begin with.
        num_steps: Number of steps of the whole training.
    """

    def __init__(
        self, source: Source, *, seed: int, rank: int, first_step: int, num_steps: int
    ) -> None:
        self._source = source
        self._seed, self._rank = seed, rank
        self._steps = range(first_step, num_steps)
        self._num_steps = num_steps

    def __iter__(self) -> Iterator[Batch]:
        """Yield this worker's batches; the loader takes from the workers in turn."""
        for step in _own_steps(self._steps):
            yield self.draw(step)

    def draw(self, step: int) -> Batch:
        """Make the batch of one step."""
        rng = step_rng(self._seed, step, self._rank, 0)
        return self._source.draw(rng, step, self._num_steps)


def load_batches(batches: Batches, num_workers: int) -> Iterator[Batch]:
    """Iterate over batches, made by `num_workers` processes ahead of time."""
    if not num_workers:
        return iter(batches)
    return iter(DataLoader(batches, batch_size=None, num_workers=num_workers, prefetch_factor=8))
