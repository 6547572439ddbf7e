"""The stage `refine`: the refiner of prompted masks alone, on single pictures."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.network.mask_decoder import DecoderPrompts
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Candidates, Clicks, Features
from robust_vos_ros.core.prompting.prompts import to_coarse_masks
from robust_vos_ros.data.mixture import DataSettings, open_pictures
from robust_vos_ros.data.prompted_pictures import draw_picture
from robust_vos_ros.train import prompting
from robust_vos_ros.train.losses import dice_loss, focal_loss, shrink_truth
from robust_vos_ros.train.unroll import Batch

_FOCAL_WEIGHT = 20.0
_FIRST_ROUNDS = 0.5  # weight of all rounds but the last


class PromptedPictureSource:
    """Batches of clips of one frame.

    Args:
        settings: Which pictures are drawn, and how many objects of each.
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
        settings = self._settings
        pictures = [
            draw_picture(
                rng, self._sources, self._size,
                max_objects=settings.max_objects, min_area=settings.min_area,
            )
            for _ in range(settings.batch_size)
        ]  # fmt: skip
        images = torch.from_numpy(np.stack([picture.image for picture in pictures]))[:, None]
        owner = [row for row, picture in enumerate(pictures) for _ in picture.masks]
        masks = np.concatenate([picture.masks for picture in pictures])
        return Batch(images, torch.from_numpy(masks)[:, None], torch.tensor(owner), images)


class Refinement(nn.Module):
    """Loss of the refined masks of a batch of pictures, each object prompted in one form.

    Args:
        model: The network in training form; all but its refiner is frozen.
        correction_share: Share of the steps in which clicks also correct the refined masks.

    Raises:
        ConfigError: The model has no refiner.
    """

    def __init__(self, model: Model, correction_share: float) -> None:
        super().__init__()
        if model.prompt_refiner is None:
            raise ConfigError(
                f'stage refine: expected a model with prompt_refiner, got {model.name}; add the '
                'section to its file in config/models'
            )
        self.model = model
        self._correction_share = correction_share
        model.net.requires_grad_(False)
        model.prompt_refiner.requires_grad_(True)
        self.net = model.net

    def forward(
        self, batch: Batch, rng: np.random.Generator, progress: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the scalar loss and statistics; arguments as for `Rollout`."""
        del progress
        truth = batch.truth[:, 0]
        with torch.no_grad():
            encoded = self.model.encode(batch.images[:, 0])
        forms = rng.integers(len(prompting.CLICK_FORMS), size=len(truth))
        losses, stats = [], {}
        for number, form in enumerate(prompting.CLICK_FORMS):
            rows = torch.from_numpy(np.flatnonzero(forms == number)).to(truth.device)
            if not len(rows):
                continue
            features = encoded.take(batch.clip[rows])
            clicks = prompting.make_clicks(rng, truth[rows].numpy(force=True), form)
            loss, logits, before = self._refine(features, clicks, None, truth[rows])
            losses.append(loss * len(rows))
            stats[f'J_{form}_before'], stats[f'J_{form}'] = before, _iou(logits, truth[rows])
            if rng.random() < self._correction_share:
                found = prompting.correction_clicks(
                    rng, logits[:, 0], truth[rows].numpy(force=True)
                )
                loss, logits, _ = self._refine(features, found, logits.detach(), truth[rows])
                losses.append(loss * len(rows))
                stats['J_corrected'] = _iou(logits, truth[rows])
        return torch.stack(losses).sum() / len(truth), stats

    def _refine(
        self,
        features: Features,
        clicks: Clicks,
        previous: torch.Tensor | None,
        truth: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Return the loss, the refined logits, and the mean IoU before refinement."""
        model = self.model
        clicks = clicks.to(truth.device)
        coarse = to_coarse_masks(clicks, model.image_size, model.mask_size, previous)
        with torch.no_grad():
            pix = model.attend(features, None)
            found = model.decoder.predict(features, pix, DecoderPrompts(clicks, coarse))
        rounds = model.refinements(features, coarse, found)
        losses = torch.stack([_mask_loss(logits, truth) for logits in rounds])
        total = losses[-1] + _FIRST_ROUNDS * losses[:-1].sum() / max(1, len(losses) - 1)
        return total, rounds[-1], _iou(_best(found), truth)


def _best(candidates: Candidates) -> torch.Tensor:
    return candidates.best().mask_logits


def _mask_loss(logits: torch.Tensor, truth_BHW: torch.Tensor) -> torch.Tensor:
    """Return the scalar loss of (B, 1, h, w) masks, compared at twice their resolution."""
    size = 2 * logits.shape[-1]
    truth = shrink_truth(truth_BHW, size)
    large = F.interpolate(logits, (size, size), mode='bilinear', align_corners=False)
    return (_FOCAL_WEIGHT * focal_loss(large, truth) + dice_loss(large, truth)).mean()


def _iou(logits: torch.Tensor, truth_BHW: torch.Tensor) -> float:
    truth = shrink_truth(truth_BHW, logits.shape[-1])
    return float(mask_iou(logits.detach()[:, 0] > 0, truth > 0.5).mean())
