"""Refine the masks of prompted frames.

The mask decoder has seen few prompts and many tracked frames, so its mask of a box or of clicks is
the weakest of an object's life, and all later ones follow it. This network corrects it. It runs
once per prompt, not per frame. Its inputs are those of interactive segmentation (Sofiiuk et al.,
"Reviving Iterative Training with Mask Guidance for Interactive Segmentation", ICIP 2022): the
prompt and the present mask as maps, beside the image features; and the score of a linear
classifier that is fitted to the present mask (`object_classifier`), as GrabCut (Rother et al.,
SIGGRAPH 2004) fits its color models to the present cut.

Shape legend: B objects, M candidate masks, h, w cells at stride 16, H, W = 4h, 4w.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from robust_vos_ros.core.network.tensors import Candidates, Features
from robust_vos_ros.core.settings import Settings, setting

_CANDIDATES = 3
_PROMPT_LOGIT = 6.0  # limit of coarse masks, see `prompts.to_coarse_masks`, and of masks to refine
_KERNEL = 7  # of the blocks at stride 16
_GROUPS = 8


class RefinerSettings(Settings):
    """Size of the refiner of a model."""

    width: int = setting(32, 'Channels at stride 4; twice at 8, four times at 16.', ge=8, le=128)
    blocks: int = setting(3, 'Residual blocks at stride 16.', ge=1, le=12)
    rounds: int = setting(2, 'Times a mask is refined.', ge=1, le=4)


class PromptRefiner(nn.Module):
    """A U-Net from features, prompt and present mask to the change of the mask logits.

    Args:
        settings: Its size.
        hidden_dim: Channels of the image features at stride 16; a quarter at 8, an eighth at 4.
    """

    def __init__(self, settings: RefinerSettings, hidden_dim: int) -> None:
        super().__init__()
        self.settings = settings
        fine, middle, coarse = (settings.width * factor for factor in (1, 2, 4))
        self.of_maps = nn.Conv2d(_CANDIDATES + 3, fine, 3, padding=1)
        self.of_fine = nn.Conv2d(hidden_dim // 8, fine, 1)
        self.of_middle = nn.Conv2d(hidden_dim // 4, middle, 1)
        self.of_coarse = nn.Conv2d(hidden_dim, coarse, 1)
        self.down = nn.ModuleList(
            [nn.Conv2d(fine, middle, 2, stride=2), nn.Conv2d(middle, coarse, 2, stride=2)]
        )
        self.fine_in, self.fine_out = _Block(fine, 3), _Block(fine, 3)
        self.middle_in, self.middle_out = _Block(middle, 3), _Block(middle, 3)
        self.coarse = nn.Sequential(*(_Block(coarse, _KERNEL) for _ in range(settings.blocks)))
        self.up = nn.ModuleList([nn.Conv2d(coarse, middle, 1), nn.Conv2d(middle, fine, 1)])
        self.to_change = nn.Conv2d(fine, 1, 3, padding=1)
        for parameter in self.to_change.parameters():
            nn.init.zeros_(parameter)
        # Of the score, -1 to 1, in the sum with the logits. Untrained, it is all that changes.
        self.score_weight = nn.Parameter(torch.ones(1))

    def forward(
        self,
        features: Features,
        candidates: Candidates,
        prompt: torch.Tensor,
        present: torch.Tensor,
        scores: torch.Tensor,
    ) -> torch.Tensor:
        """Return (B, 1, H, W) float32 refined logits.

        Args:
            features: Of the prompted image; a batch of 1 is shared by all objects.
            candidates: All masks of the decoder, M is 1 or 3.
            prompt: (B, 1, H, W) coarse masks of the prompts.
            present: (B, 1, H, W) logits of the mask to refine.
            scores: (B, 1, H, W) of a classifier fitted to `present`, 0 to 1.
        """
        drawn = candidates.mask_logits.expand(-1, _CANDIDATES, -1, -1)
        maps = [torch.tanh(x / _PROMPT_LOGIT) for x in (drawn, prompt, present)]
        signed = 2.0 * scores - 1.0
        maps.append(signed)
        fine_features, middle_features = features.high_res
        fine = self.of_maps(torch.cat(maps, dim=1)) + self.of_fine(fine_features)
        fine = self.fine_in(fine)
        middle = self.middle_in(self.down[0](fine) + self.of_middle(middle_features))
        coarse = self.coarse(self.down[1](middle) + self.of_coarse(features.pix))
        middle = self.middle_out(middle + self.up[0](_enlarge(coarse)))
        fine = self.fine_out(fine + self.up[1](_enlarge(middle)))
        # Wrong masks are often certain ones, whose logits would be too far from 0 to change.
        limited = _PROMPT_LOGIT * torch.tanh(present / _PROMPT_LOGIT)
        return limited + self.score_weight * signed + self.to_change(fine).float()


class _Block(nn.Module):
    """Depth-wise convolution, norm, the mean over the image, two point-wise ones, and residual."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.GroupNorm(_GROUPS, width)
        self.everywhere = nn.Linear(width, 2 * width)
        self.widen = nn.Conv2d(width, 2 * width, 1)
        self.narrow = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (B, C, H, W) to the same shape."""
        inner = self.norm(self.near(x))
        whole = self.everywhere(inner.mean(dim=(2, 3)))[:, :, None, None]
        return x + self.narrow(F.relu(self.widen(inner) + whole))


def _enlarge(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x.float(), scale_factor=2.0, mode='bilinear', align_corners=False)
