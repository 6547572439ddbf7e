"""A teacher for adapters: the frozen model on the same clip before it was corrupted.

What the memory attention of the teacher sees is what an adapter should bring back in bad weather.
Where nothing was corrupted the two agree, and the adapter is taught to change nothing.
"""

from __future__ import annotations

import copy

import torch

from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.types import MemoryView


class Teacher:
    """The model as it was before training, tracking clean clips without gradients.

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
            T - 1 tensors (B, C, h, w): features of the frames after the first, conditioned on
            what the teacher remembers.
        """
        model, num_frames = self._model, images.shape[1]
        features = model.encode(images[:, 0]).take(clip)
        kept = model.from_masks(features, truth[:, :1].float())
        pointed_at = recent = model.proxies(features, kept.mask_logits)
        spatial, pointers, conditioned = [], [], []
        for t in range(num_frames):
            if t > 0:
                features = model.encode(images[:, t]).take(clip)
                pix = model.attend(features, self._view(spatial, pointers, t))
                conditioned.append(pix)
                previous = kept.mask_logits if model.previous_mask else None
                dense = None
                if pointed_at is not None and recent is not None:
                    dense = model.calibrate(
                        features, pix, (pointed_at, recent), kept.mask_logits, group=clip
                    )
                kept = model.decode(features, pix, None, previous, dense=dense).best()
                newest = model.proxies(features, kept.mask_logits)
                recent = newest.or_else(recent) if newest and recent else None
            if t + 1 < num_frames:
                pointers.append(kept.pointers[:, 0])
                spatial.append(
                    model.remember(features, kept.mask_logits, kept.object_scores, prompted=t == 0)
                )
        return conditioned

    def _view(
        self, spatial: list[torch.Tensor], pointers: list[torch.Tensor], t: int
    ) -> MemoryView:
        """View the first and the newest frames, like an engine that remembers every frame."""
        recent = self._model.num_recent
        frames = [0, *range(max(1, t - recent), t)]
        pointed = [0, *range(max(1, t - self._model.num_pointers + 1), t)]
        rows = [recent] + [min(t - k, recent) - 1 for k in frames[1:]]
        device, count = spatial[0].device, len(spatial[0])
        return MemoryView(
            torch.stack([spatial[k] for k in frames], dim=1),
            torch.tensor([rows], device=device).expand(count, -1),
            torch.stack([pointers[k] for k in pointed], dim=1),
            torch.tensor([[float(t - k) for k in pointed]], device=device).expand(count, -1),
            None,
        )


def imitation(pix: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the squared distance of (B, C, h, w) features, relative to the target's size."""
    target = target.float()
    return (pix.float() - target).square().mean() / target.square().mean().clamp(min=1e-6)
