"""Distillation of an image encoder: on corrupted pictures, give the features of the clean ones.

The teacher is the model without adapter on the clean picture. There is no memory and no decoder,
so that a step costs little more than encoding its pictures three times.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from robust_vos_ros.core.adapters.gates import Gates
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Features
from robust_vos_ros.data.mixture import DataSettings, open_pictures
from robust_vos_ros.data.pictures import draw_pair
from robust_vos_ros.train.config import DistillSettings, GateSettings
from robust_vos_ros.train.gating import gate_penalty, make_sampling
from robust_vos_ros.train.teacher import imitation
from robust_vos_ros.train.unroll import Batch

_LEAST_CHANGE = 3.0  # mean change of a corrupted picture, in grey levels


class PictureSource:
    """Batches of clips of two frames, a picture that does not move, with one object.

    Args:
        settings: Which pictures are drawn.
        size: Side of the square images in pixels.

    Raises:
        DatasetError: A data set cannot be used, or there is none.
    """

    def __init__(self, settings: DataSettings, size: int) -> None:
        self._settings, self._size = settings, size
        self._sources = open_pictures(settings)

    def draw(self, rng: np.random.Generator, step: int, num_steps: int) -> Batch:
        """Make the batch of a step."""
        del step, num_steps  # all steps are alike
        settings, size = self._settings, self._size
        pairs = [
            draw_pair(rng, self._sources, settings.augmentation, size)
            for _ in range(settings.batch_size)
        ]
        return Batch(
            torch.from_numpy(np.stack([pair.corrupted for pair in pairs])),
            torch.from_numpy(np.stack([[pair.mask] * 2 for pair in pairs])),
            torch.arange(len(pairs)),
            torch.from_numpy(np.stack([[pair.clean] * 2 for pair in pairs])),
        )


class Distillation(nn.Module):
    """Loss of a batch of pictures.

    Args:
        model: The network in training form, with an adapter of its image encoder.
        settings: Weights of the features.
        penalties: Of gates.

    Raises:
        ConfigError: The image encoder has no adapter.
    """

    def __init__(self, model: Model, settings: DistillSettings, penalties: GateSettings) -> None:
        super().__init__()
        if model.adapter is None or model.adapter.encoder is None:
            raise ConfigError(
                'stage distill: expected an adapter with the places neck or trunk, '
                'got none; set adapter.places'
            )
        self.model = model
        self.settings = settings
        self._penalties = penalties
        self._encoder = model.adapter.encoder
        self.net = model.net
        self.adapter = model.adapter  # a submodule, so that it is saved and synchronized

    def forward(
        self, batch: Batch, rng: np.random.Generator, progress: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the scalar loss and statistics; arguments as for `Rollout`."""
        penalty, stats = self._switch_loss(batch)
        if not any(self.settings.model_dump().values()):
            return penalty, stats
        with torch.no_grad():
            wanted = self.model.encode(batch.clean[:, 1])
        if self._encoder.gate is None:
            have = self.model.encode(batch.images[:, 1])
        else:
            gates = self._gates(batch, rng, progress)
            pairs = zip(batch.images[:, 1], gates.values, strict=True)
            have = _join([self.model.encode(image[None], g) for image, g in pairs])
            loss, more = gate_penalty(gates, self._penalties)
            penalty, stats = penalty + loss, stats | more
        distances = feature_distances(have, wanted)
        weights = self.settings.model_dump()
        total = torch.stack([weights[name] * d for name, d in distances.items()]).sum()
        stats |= {name: float(d.detach()) for name, d in distances.items()}
        return total + penalty, stats

    def _switch_loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the loss of telling corrupted pictures from clean ones, and its statistics."""
        if self._encoder.switch is None:
            return torch.zeros((), device=batch.images.device), {}
        change = (batch.images[:, 1].float() - batch.clean[:, 1].float()).abs().mean(dim=(1, 2, 3))
        label = (change > _LEAST_CHANGE).float()
        logits = self._encoder.switch(batch.images[:, 1])
        loss = nn.functional.binary_cross_entropy_with_logits(logits, label)
        right = ((logits.detach() > 0) == (label > 0)).float().mean()
        return loss, {'switch': float(loss.detach()), 'switch_right': float(right)}

    def _gates(self, batch: Batch, rng: np.random.Generator, progress: float) -> Gates:
        """Return gates from the pointers of the objects in the frame before, one per picture."""
        fold = self.model.image_encoder.fold
        assert fold is not None, 'there is an adapter of the image encoder'
        with torch.no_grad(), fold.for_training():
            before = self.model.encode(batch.images[:, 0])
            pointers = self.model.decoder.from_masks(before, batch.truth[:, :1].float()).pointers
        sampling = make_sampling(self._encoder.settings, pointers.device, rng, progress)
        return self._encoder.gates(pointers, None, sampling=sampling, groups=batch.clip)


def _join(parts: list[Features]) -> Features:
    """Stack the features of single images."""
    fine, middle = (torch.cat([p.high_res[level] for p in parts]) for level in (0, 1))
    return Features(torch.cat([p.pix for p in parts]), parts[0].pos, (fine, middle))


def feature_distances(have: Features, want: Features) -> dict[str, torch.Tensor]:
    """Return the normalized squared distances of features at strides 16, 8 and 4."""
    fine, middle = want.high_res
    return {
        'coarse': imitation(have.pix, want.pix),
        'middle': imitation(have.high_res[1], middle),
        'fine': imitation(have.high_res[0], fine),
    }
