"""Distillation of an image encoder: on corrupted pictures, give the features of the clean ones.

The teacher is the model without adapter on the clean picture. There is no memory and no decoder,
so that a step costs little more than encoding its pictures three times.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.utils.data import IterableDataset

from robust_vos_ros.core.errors import ConfigError, DatasetError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.types import Features
from robust_vos_ros.data.mixture import DataSettings
from robust_vos_ros.data.pictures import draw_pair
from robust_vos_ros.data.sources import Sources
from robust_vos_ros.train.config import DistillSettings
from robust_vos_ros.train.loader import own_steps, step_rng
from robust_vos_ros.train.teacher import imitation
from robust_vos_ros.train.unroll import Batch


class PictureBatches(IterableDataset):
    """Pairs of pictures of the steps from `first_step` to `num_steps`, in order.

    Each is a `Batch` of clips of one frame without objects. Arguments as for `loader.Batches`.

    Raises:
        DatasetError: A data set cannot be used, or there is none.
    """

    def __init__(
        self,
        settings: DataSettings,
        size: int,
        *,
        seed: int,
        rank: int,
        first_step: int,
        num_steps: int,
    ) -> None:
        self._settings, self._size = settings, size
        self._sources = Sources.open(
            settings.sources, held_out=settings.held_out, cache_frames=settings.cache_frames
        )
        if not len(self._sources):
            raise DatasetError('data.sources: expected data sets of pictures, got none')
        self._seed, self._rank = seed, rank
        self._steps = range(first_step, num_steps)

    def __iter__(self) -> Iterator[Batch]:
        """Yield this worker's batches; the loader takes from the workers in turn."""
        for step in own_steps(self._steps):
            yield self.draw(step)

    def draw(self, step: int) -> Batch:
        """Make the batch of one step."""
        settings, size = self._settings, self._size
        rng = step_rng(self._seed, step, self._rank, 0)
        pairs = [
            draw_pair(rng, self._sources, settings.augmentation, size)
            for _ in range(settings.batch_size)
        ]
        clean, images = (torch.from_numpy(np.stack(p)).unsqueeze(1) for p in zip(*pairs, strict=True))
        nothing = torch.zeros(0, 1, size, size, dtype=torch.uint8)
        return Batch(images, nothing, torch.zeros(0, dtype=torch.int64), clean)


class Distillation(nn.Module):
    """Loss of a batch of pictures.

    Args:
        model: The network in training form, with an adapter of its image encoder.
        settings: Weights of the features.

    Raises:
        ConfigError: The image encoder has no adapter.
    """

    def __init__(self, model: Model, settings: DistillSettings) -> None:
        super().__init__()
        if model.adapter is None or model.adapter.encoder is None:
            raise ConfigError(
                'stage distill: expected an adapter with the places neck or trunk, '
                'got none; set adapter.places'
            )
        self.model = model
        self.settings = settings
        self.net = model.net
        self.adapter = model.adapter  # a submodule, so that it is saved and synchronized

    def forward(
        self, batch: Batch, rng: np.random.Generator, progress: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the scalar loss and statistics; arguments as for `Rollout`."""
        del rng, progress
        with torch.no_grad():
            wanted = self.model.encode(batch.clean[:, 0])
        distances = feature_distances(self.model.encode(batch.images[:, 0]), wanted)
        weights = self.settings.model_dump()
        total = torch.stack([weights[name] * d for name, d in distances.items()]).sum()
        return total, {name: float(d.detach()) for name, d in distances.items()}


def feature_distances(have: Features, want: Features) -> dict[str, torch.Tensor]:
    """Return the normalized squared distances of features at strides 16, 8 and 4."""
    fine, middle = want.high_res
    return {
        'coarse': imitation(have.pix, want.pix),
        'middle': imitation(have.high_res[1], middle),
        'fine': imitation(have.high_res[0], fine),
    }
