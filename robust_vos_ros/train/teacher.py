"""A teacher for adapters: the frozen model on the same clips before they are corrupted.

An adapter learns to give the memory-conditioned features of clean images on corrupted ones. On
clean clips it learns to change nothing.
"""

from __future__ import annotations

import copy

import torch

from robust_vos_ros.core.network.mask_decoder import DecoderPrompts
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.train.clip_memory import ClipMemory


class Teacher:
    """The model before training; it tracks clean clips without gradients.

    Shape legend: B objects, T frames, S side of the image in pixels, C width.

    Args:
        model: Copied; has no adapter yet, or an untrained one.
    """

    def __init__(self, model: Model) -> None:
        net = copy.deepcopy(model.net).requires_grad_(False)
        self._model = Model(
            net,
            name=model.name,
            weights_hash=model.weights_hash,
            device=model.device,
            precision=model.precision,
            coarse_prompts=model.coarse_prompts,
            previous_mask=model.previous_mask,
        )

    @torch.no_grad()
    def conditioned(
        self, images: torch.Tensor, truth: torch.Tensor, clip: torch.Tensor
    ) -> list[torch.Tensor]:
        """Track a clip from the true masks of its first frame.

        Args:
            images: (N, T, S, S, 3) uint8, RGB, clean.
            truth: (B, T, S, S) uint8, 0 or 1.
            clip: (B,) int64 clip of each object.

        Returns:
            T - 1 tensors (B, C, h, w): memory-conditioned features of all frames but the first.
        """
        model, num_frames = self._model, images.shape[1]
        features = model.encode(images[:, 0]).take(clip)
        kept = model.decoder.from_masks(features, truth[:, :1].float())
        memory = ClipMemory(model, features, kept)
        conditioned = []
        for t in range(1, num_frames):
            features = model.encode(images[:, t]).take(clip)
            pix = model.attend(features, memory.view(t, range(1, t)))
            conditioned.append(pix)
            previous = kept.mask_logits if model.previous_mask else None
            dense = model.calibrate(features, pix, memory.references, kept.mask_logits, group=clip)
            prompts = DecoderPrompts(previous=previous, dense=dense)
            kept = model.decode(features, pix, prompts).best()
            memory.see(features, kept)
            if t + 1 < num_frames:
                memory.remember(features, kept)
        return conditioned


def imitation(pix: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean squared error of (B, C, h, w) features, over the mean square of `target`."""
    target = target.float()
    return (pix.float() - target).square().mean() / target.square().mean().clamp(min=1e-6)
