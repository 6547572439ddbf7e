"""The mask decoder of SAM 2, with all its candidates.

`SAM2Base._track_step` gives the pointer of the best mask only and no IoU; the decoder is called
here so that every candidate has its own.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base

from robust_vos_ros.core.network.object_calibration import DensePrompt
from robust_vos_ros.core.network.tensors import Candidates, Clicks, Features

# Mask logits of an absent object.
ABSENT_LOGIT: float = NO_OBJ_SCORE
# SAM 2 clamps a mask fed back to the decoder to this logit.
_MAX_FEEDBACK_LOGIT = 32.0


@dataclasses.dataclass(frozen=True, slots=True)
class DecoderPrompts:
    """What the decoder gets for B objects besides features; None = nothing.

    Attributes:
        clicks: Of a user.
        previous: (B, 1, 4h, 4w) mask prompt: the mask that clicks correct, a coarse mask, or that
            of the previous frame. Clamped as in SAM 2.
        dense: From `Model.calibrate`.
        words: (B, P, C) sparse prompts made of expressions.
        multimask: Three candidates or one; None = three for at most one click, as SAM 2 does.
    """

    clicks: Clicks | None = None
    previous: torch.Tensor | None = None
    dense: DensePrompt | None = None
    words: torch.Tensor | None = None
    multimask: bool | None = None


NO_PROMPTS = DecoderPrompts()


class MaskDecoder:
    """Predicts masks.

    Args:
        net: The network.
        device: Of the network.
    """

    def __init__(self, net: SAM2Base, device: torch.device) -> None:
        self._net = net
        self._pos = net.sam_prompt_encoder.get_dense_pe().to(device)

    def decode(
        self, features: Features, pix: torch.Tensor, prompts: DecoderPrompts = NO_PROMPTS
    ) -> Candidates:
        """Predict candidate masks; those of absent objects are empty. Arguments as `predict`."""
        raw = self.predict(features, pix, prompts)
        return self.suppress_absent(raw, raw.object_scores > 0)

    def predict(
        self, features: Features, pix: torch.Tensor, prompts: DecoderPrompts = NO_PROMPTS
    ) -> Candidates:
        """Predict candidate masks, also for absent objects, as training needs them.

        Args:
            features: The encoded image.
            pix: (B, C, h, w) from `Model.attend`.
            prompts: Of the objects.
        """
        net, clicks, previous = self._net, prompts.clicks, prompts.previous
        multimask = prompts.multimask
        if multimask is None:
            num_clicks = 0 if clicks is None else clicks.labels.shape[1]
            low, high = net.multimask_min_pt_num, net.multimask_max_pt_num
            multimask = net.multimask_output_in_sam and low <= num_clicks <= high
        if previous is not None:
            previous = previous.clamp(-_MAX_FEEDBACK_LOGIT, _MAX_FEEDBACK_LOGIT)
        encoder = net.sam_prompt_encoder
        points = None if clicks is None else (clicks.coords, clicks.labels)
        sparse, mask_prompt = encoder(points, None, previous)
        if clicks is None:  # what SAM 2 makes of a click that is none, and its padding
            sparse = encoder.not_a_point_embed.weight.expand(len(pix), 2, -1)
        if prompts.words is not None:
            sparse = torch.cat([sparse, prompts.words.to(sparse)], 1)
        high_res = list(features.high_res)
        if prompts.dense is not None:
            mask_prompt = mask_prompt + prompts.dense.coarse
            high_res[1] = high_res[1] + prompts.dense.fine
        logits, ious, tokens, scores = net.sam_mask_decoder(
            image_embeddings=pix,
            image_pe=self._pos,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=mask_prompt,
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=high_res,
        )
        logits = logits.float()
        if prompts.dense is not None:
            weight = net.object_calibration.settings.classifier_weight
            logits = logits + weight * (2.0 * prompts.dense.scores - 1.0)
        pointers = net.obj_ptr_proj(tokens).float().expand(-1, ious.shape[1], -1)
        return Candidates(logits, ious.float(), scores.float()[:, 0], pointers)

    def suppress_absent(self, raw: Candidates, visible: torch.Tensor) -> Candidates:
        """Replace masks and pointers of absent objects.

        Args:
            raw: From `predict`.
            visible: (B,) bool.
        """
        logits = torch.where(visible[:, None, None, None], raw.mask_logits, ABSENT_LOGIT)
        pointers = torch.where(visible[:, None, None], raw.pointers, self._net.no_obj_ptr)
        return Candidates(logits, raw.ious, raw.object_scores, pointers)

    def from_masks(self, features: Features, masks: torch.Tensor) -> Candidates:
        """Return given masks as candidates, with object pointers from the decoder.

        Args:
            features: The encoded image.
            masks: (B, 1, side, side) float32 of the side of the network's image, 0 or 1.
        """
        net = self._net
        size = (net.image_size // 4, net.image_size // 4)
        logits = F.interpolate(masks * 20.0 - 10.0, size, mode='bilinear', antialias=True)
        pix = features.pix.expand(len(masks), -1, -1, -1)
        prompts = DecoderPrompts(previous=net.mask_downsample(masks), multimask=False)
        decoded = self.decode(features, pix, prompts)
        present = masks.flatten(1).any(dim=1)
        pointers = torch.where(present[:, None, None], decoded.pointers, net.no_obj_ptr)
        scores = torch.where(present, 10.0, -10.0)
        return Candidates(logits, torch.ones_like(scores)[:, None], scores, pointers)
