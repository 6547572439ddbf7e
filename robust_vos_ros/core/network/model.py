"""SAM 2 cut into the steps of online tracking.

Internals of sam2 1.1.0 that this folder uses besides the public modules of `SAM2Base`:

- here: the parameters `no_mem_embed`, `no_obj_ptr` and `no_obj_embed_spatial`, the modules
  `obj_ptr_proj` and `mask_downsample`, configuration attributes;
- `memory_attention`: `maskmem_tpos_enc`, `obj_ptr_tpos_proj`, the submodules of `MemoryAttention`
  and its layers, `freqs_cis` and `compute_cis` of `RoPEAttention`;
- `optimize`: the class name `LayerNorm2d`, `image_encoder.neck.position_encoding`.

No other folder uses any of these (test/test_layers.py).

The formulas follow SAM 2 (Ravi et al., 2024). `SAM2Base._track_step` gives the pointer of the best
mask only and no IoU; the decoder is called here so that every candidate has its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import NO_OBJ_SCORE, SAM2Base

from robust_vos_ros.core.adapters.encoder import EncoderFold
from robust_vos_ros.core.adapters.gates import Gates, Sampling
from robust_vos_ros.core.adapters.moga import Moga
from robust_vos_ros.core.confidence.calibration import Calibration
from robust_vos_ros.core.network import memory_attention
from robust_vos_ros.core.network.object_calibration import DensePrompt, ObjectCalibration
from robust_vos_ros.core.network.object_proxies import Proxies
from robust_vos_ros.core.network.tensors import Candidates, Clicks, Features, MemoryView
from robust_vos_ros.core.reid.appearance import Projection
from robust_vos_ros.core.stages import stage

if TYPE_CHECKING:  # it uses this module
    from robust_vos_ros.core.words.finder import WordFinder

# Mask logits of an absent object.
ABSENT_LOGIT: float = NO_OBJ_SCORE
# SAM 2 clamps a mask fed back to the decoder to this logit.
_MAX_FEEDBACK_LOGIT = 32.0
# Mean and standard deviation of ImageNet, RGB, for images in [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class Model:
    """A SAM 2 network cut into the steps of online tracking.

    Attributes:
        image_size: Side of the square input image in pixels.
        mask_size: Side of the mask logits (stride 4).
        grid_size: Side of the feature grid (stride 16).
        coarse_prompts: Whether the decoder gets points and boxes also as a coarse mask.
        previous_mask: Whether the decoder gets the mask of the previous frame.
        object_calibration: Module that separates objects by their proxies; None = not in this
            model.
        adapter: Of memory attention and image encoder; `core/adapters/files.py` attaches it and
            keeps the parameters that it replaces in `adapter_originals` and `encoder_fold`.
        calibration: Maps evidence to probabilities; None = uncalibrated scores.
        projection: Of appearance embeddings; None = no projection.
        encoder_hash: SHA-256 of the image encoder's weights; empty = `load_model` did not make it.
        finder: Finds things by words; None = `load_model` did not make this model.
        adapter_name: Of the file the adapter came from, `none` without one.
    """

    def __init__(
        self,
        net: SAM2Base,
        *,
        name: str,
        weights_hash: str,
        device: torch.device,
        precision: str,
        coarse_prompts: bool = False,
        previous_mask: bool = False,
    ) -> None:
        self.net = net
        self.name = name
        self.weights_hash = weights_hash
        self.device = device
        self.precision = precision
        self.coarse_prompts = coarse_prompts
        self.previous_mask = previous_mask
        self.object_calibration: ObjectCalibration | None = net.object_calibration
        self.adapter: Moga | None = None
        self.calibration: Calibration | None = None
        self.projection: Projection | None = None
        self.encoder_hash = ''
        self.finder: WordFinder | None = None
        self.adapter_originals: dict[str, torch.Tensor] = {}
        self.encoder_fold: EncoderFold | None = None
        self.adapter_name = 'none'
        self._dtype = torch.bfloat16 if precision == 'bf16' else torch.float32
        self.image_size: int = net.image_size
        self.mask_size = self.image_size // 4
        self.grid_size = self.image_size // net.backbone_stride
        self.hidden_dim: int = net.hidden_dim
        self.memory_dim: int = net.mem_dim
        self.num_recent: int = net.num_maskmem - 1
        self.num_pointers: int = net.max_obj_ptrs_in_encoder
        self._mean = torch.tensor(_MEAN, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(_STD, device=device).view(1, 3, 1, 1)
        self._memory_pos = self._memory_position()
        self._dense_pos = net.sam_prompt_encoder.get_dense_pe().to(device)
        self._stages: tuple[torch.Tensor, ...] | None = None
        net.image_encoder.trunk.register_forward_hook(self._keep_stages)

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """Return the context of inference: no gradients, the model's precision."""
        bf16 = self.precision == 'bf16'
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, bf16):
            yield

    @stage('encode')
    def encode(self, images: torch.Tensor, gates: torch.Tensor | None = None) -> Features:
        """Encode images.

        Args:
            images: (B, image_size, image_size, 3) uint8, RGB.
            gates: (M, R) of an adapter of the image encoder, in training; at inference see
                `open_encoder`.
        """
        images = images.to(self.device)
        if self.encoder_fold is not None and not torch.is_grad_enabled():
            self.encoder_fold.see(images)
        x = images.permute(0, 3, 1, 2).float() / 255.0
        x = ((x - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        self._stages = None
        with self._encoder_context(gates):
            out = self.net.forward_image(x)
        fine, middle, coarse = out['backbone_fpn'][-3:]
        pos = out['vision_pos_enc'][-1][:1].flatten(2).transpose(1, 2)
        features = Features(coarse, pos, (fine, middle), stages=self._stages)
        if self.object_calibration is None:
            return features
        return dataclasses.replace(features, embedded=self.object_calibration.embed(features))

    def condition(self, features: Features, updates: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the (E, C, h, w) features at stride 16 of an image that words condition.

        Args:
            features: The encoded image, with its stages.
            updates: (E, c, h, w) added to the trunk's stages at strides 32 and 16.
        """
        assert features.stages is not None, 'the caller checks it'
        stages = list(features.stages)
        for level, update in enumerate(updates, 1):
            stages[-level] = stages[-level] + update
        encoder = self.net.image_encoder
        maps, _ = encoder.neck(stages)
        conditioned: torch.Tensor = maps[len(maps) - encoder.scalp - 1]
        return conditioned

    @property
    def has_encoder_gates(self) -> bool:
        """Whether an adapter of the image encoder has gates."""
        return self.encoder_fold is not None and self.encoder_fold.adapter.gate is not None

    def encoder_gates(
        self, view: MemoryView | None, *, shares: torch.Tensor | None = None
    ) -> Gates | None:
        """Compute the gates of the image encoder for the next frame from the memory.

        Their values are (1, M, R); None without memory. Only for a model with such gates;
        arguments as for `gates`.
        """
        fold = self.encoder_fold
        assert fold is not None, 'has_encoder_gates'
        if view is None:
            return None
        valid = None if view.valid is None else view.valid[1]
        return fold.adapter.gates(view.pointers, valid, shares=shares)

    def open_encoder(self, gates: torch.Tensor | None) -> None:
        """Fold (M, R) gates into the weights of the image encoder; None = all are open."""
        if self.encoder_fold is not None:
            self.encoder_fold.open(gates)

    def _encoder_context(
        self, gates: torch.Tensor | None
    ) -> contextlib.AbstractContextManager[None]:
        """Return the context in which gradients reach an adapter of the image encoder.

        Without gradients its changes are in the weights already. In training they are not, and
        images encoded without gradients are those of the model without adapter.
        """
        if self.encoder_fold is None or not torch.is_grad_enabled():
            return contextlib.nullcontext()
        return self.encoder_fold.for_training(gates)

    def gates(
        self,
        features: Features,
        view: MemoryView | None,
        *,
        sampling: Sampling | None = None,
        groups: torch.Tensor | None = None,
        shares: torch.Tensor | None = None,
    ) -> Gates | None:
        """Compute the adapter's gates; None without memory, or adapter of the attention.

        Args:
            features: The encoded image.
            view: Memory of B objects.
            sampling: In training, see `Moga.gates`; `groups` as well.
            shares: Where objects have several hypotheses, see `Moga.gates`.
        """
        if self.adapter is None or not self.adapter.settings.attention_rank or view is None:
            return None
        valid = None if view.valid is None else view.valid[1]
        return self.adapter.gates(
            view.pointers, valid, features.pix, sampling=sampling, groups=groups, shares=shares
        )

    @stage('attend')
    def attend(
        self, features: Features, view: MemoryView | None, gates: Gates | None = None
    ) -> torch.Tensor:
        """Condition the image features on the memory of each object.

        Args:
            features: The encoded image.
            view: Memory of B objects; None = no memory, as for a first prompt.
            gates: Of the adapter; None = without adapter.

        Returns:
            (B, C, h, w); B = 1 without memory.
        """
        if view is None:
            return features.pix + self.net.no_mem_embed.view(1, -1, 1, 1)
        tokens = features.pix.flatten(2).transpose(1, 2)
        project = memory_attention.project_plainly
        if gates is not None:
            assert self.adapter is not None, 'gates belong to an adapter'
            project = functools.partial(self.adapter.project, gates)
        memory = memory_attention.place(self.net, view, self._memory_pos, self._dtype)
        out = memory_attention.attend(
            self.net.memory_attention, tokens, features.pos, memory, project
        )
        return out.transpose(1, 2).unflatten(2, (self.grid_size, self.grid_size))

    @stage('calibrate')
    def proxies(self, features: Features, mask_logits: torch.Tensor) -> Proxies | None:
        """Compute proxies of objects in a reference frame; None without object calibration.

        Args:
            features: The encoded image.
            mask_logits: (B, 1, 4h, 4w), above 0 is object.
        """
        if self.object_calibration is None:
            return None
        assert features.embedded is not None, '`encode` made it'
        return self.object_calibration.proxies(features.embedded, mask_logits)

    @stage('calibrate')
    def calibrate(
        self,
        features: Features,
        pix: torch.Tensor,
        references: Sequence[Proxies],
        previous_logits: torch.Tensor,
        *,
        group: torch.Tensor | None = None,
        is_best: torch.Tensor | None = None,
    ) -> DensePrompt | None:
        """Compute the dense prompts of object calibration for B objects; None without it.

        Args:
            features: The encoded image.
            pix: (B, C, h, w) from `attend`.
            references: Proxies of the newest prompted and the newest visible frame; empty without
                object calibration.
            previous_logits: (B, 1, 4h, 4w) mask of the previous frame.
            group: (B,) int64 image of each object; None = one image.
            is_best: (B,) bool, the rows that other objects are compared with; None = all.
        """
        if self.object_calibration is None:
            return None
        assert features.embedded is not None, '`encode` made it'
        result: DensePrompt = self.object_calibration(
            features.embedded, pix, references, previous_logits, group=group, is_best=is_best
        )
        return result

    @stage('decode')
    def decode(
        self,
        features: Features,
        pix: torch.Tensor,
        clicks: Clicks | None = None,
        previous_logits: torch.Tensor | None = None,
        *,
        dense: DensePrompt | None = None,
        multimask: bool | None = None,
    ) -> Candidates:
        """Predict candidate masks; those of absent objects are empty.

        Arguments as in `predict`.
        """
        raw = self.predict(
            features, pix, clicks, previous_logits, dense=dense, multimask=multimask
        )
        return self.suppress_absent(raw, raw.object_scores > 0)

    def predict(
        self,
        features: Features,
        pix: torch.Tensor,
        clicks: Clicks | None = None,
        previous_logits: torch.Tensor | None = None,
        *,
        dense: DensePrompt | None = None,
        words: torch.Tensor | None = None,
        multimask: bool | None = None,
    ) -> Candidates:
        """Predict candidate masks, also for absent objects, as training needs them.

        Args:
            features: The encoded image.
            pix: (B, C, h, w) from `attend`.
            clicks: Prompts of the B objects, or None while tracking.
            previous_logits: (B, 1, 4h, 4w) mask prompt or None: the mask that clicks correct, a
                coarse mask, or that of the previous frame. Clamped as in SAM 2.
            dense: From `calibrate`.
            words: (B, P, C) sparse prompts made of expressions.
            multimask: Three candidates or one; None = three for at most one click, as SAM 2 does.
        """
        net = self.net
        num_clicks = 0 if clicks is None else clicks.labels.shape[1]
        if multimask is None:
            low, high = net.multimask_min_pt_num, net.multimask_max_pt_num
            multimask = net.multimask_output_in_sam and low <= num_clicks <= high
        if previous_logits is not None:
            previous_logits = previous_logits.clamp(-_MAX_FEEDBACK_LOGIT, _MAX_FEEDBACK_LOGIT)
        encoder = net.sam_prompt_encoder
        points = None if clicks is None else (clicks.coords, clicks.labels)
        sparse, mask_prompt = encoder(points, None, previous_logits)
        if clicks is None:  # what SAM 2 makes of a click that is none, and its padding
            sparse = encoder.not_a_point_embed.weight.expand(len(pix), 2, -1)
        if words is not None:
            sparse = torch.cat([sparse, words.to(sparse)], 1)
        high_res = list(features.high_res)
        if dense is not None:
            mask_prompt = mask_prompt + dense.coarse
            high_res[1] = high_res[1] + dense.fine
        logits, ious, tokens, scores = net.sam_mask_decoder(
            image_embeddings=pix,
            image_pe=self._dense_pos,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=mask_prompt,
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=high_res,
        )
        pointers = net.obj_ptr_proj(tokens).float().expand(-1, ious.shape[1], -1)
        return Candidates(logits.float(), ious.float(), scores.float()[:, 0], pointers)

    def suppress_absent(self, raw: Candidates, visible: torch.Tensor) -> Candidates:
        """Replace masks and pointers of absent objects.

        Args:
            raw: From `predict`.
            visible: (B,) bool.
        """
        logits = torch.where(visible[:, None, None, None], raw.mask_logits, ABSENT_LOGIT)
        pointers = torch.where(visible[:, None, None], raw.pointers, self.net.no_obj_ptr)
        return Candidates(logits, raw.ious, raw.object_scores, pointers)

    def from_masks(self, features: Features, masks: torch.Tensor) -> Candidates:
        """Return given masks as candidates, with object pointers from the decoder.

        Args:
            features: The encoded image.
            masks: (B, 1, image_size, image_size) float32, 0 or 1.
        """
        size = (self.mask_size, self.mask_size)
        logits = F.interpolate(masks * 20.0 - 10.0, size, mode='bilinear', antialias=True)
        pix = features.pix.expand(len(masks), -1, -1, -1)
        prompt = self.net.mask_downsample(masks)
        decoded = self.decode(features, pix, None, prompt, multimask=False)
        present = masks.flatten(1).any(dim=1)
        pointers = torch.where(present[:, None, None], decoded.pointers, self.net.no_obj_ptr)
        scores = torch.where(present, 10.0, -10.0)
        return Candidates(logits, torch.ones_like(scores)[:, None], scores, pointers)

    @stage('remember')
    def remember(
        self,
        features: Features,
        mask_logits: torch.Tensor,
        object_scores: torch.Tensor,
        *,
        prompted: bool,
    ) -> torch.Tensor:
        """Encode masks into memory.

        Args:
            features: The encoded image.
            mask_logits: (B, 1, 4h, 4w) float32.
            object_scores: (B,) float32.
            prompted: Whether the masks come from a user; they are then binarized.

        Returns:
            (B, h*w, memory_dim) bfloat16.
        """
        memory = self.encode_memory(features, mask_logits, object_scores, prompted=prompted)
        return memory.to(torch.bfloat16)

    def encode_memory(
        self,
        features: Features,
        mask_logits: torch.Tensor,
        object_scores: torch.Tensor,
        *,
        prompted: bool,
    ) -> torch.Tensor:
        """Encode masks as `remember` does, without rounding the result to bfloat16."""
        net = self.net
        size = (self.image_size, self.image_size)
        masks = F.interpolate(mask_logits, size, mode='bilinear', align_corners=False)
        masks = masks.to(self._dtype)
        binarize = prompted and net.binarize_mask_from_pts_for_mem_enc
        masks = (masks > 0).to(masks.dtype) if binarize else masks.sigmoid()
        masks = masks * net.sigmoid_scale_for_mem_enc + net.sigmoid_bias_for_mem_enc
        out = net.memory_encoder(features.pix, masks, skip_mask_sigmoid=True)['vision_features']
        absent = (object_scores <= 0).float()[:, None, None, None]
        out = out + absent * net.no_obj_embed_spatial[..., None, None]
        return out.flatten(2).transpose(1, 2)

    def warm_up(self) -> None:
        """Run every step once, so that the first frame is not slower."""
        side = self.image_size
        with self.inference():
            features = self.encode(torch.zeros(1, side, side, 3, dtype=torch.uint8))
            masks = torch.zeros(1, 1, side, side, device=self.device)
            masks[..., : side // 2, : side // 2] = 1.0
            kept = self.from_masks(features, masks)
            spatial = self.remember(features, kept.mask_logits, kept.object_scores, prompted=True)
            age = torch.zeros(1, 1, dtype=torch.long, device=self.device)
            view = MemoryView(spatial[:, None], age, kept.pointers, age.float(), None)
            self.decode(features, self.attend(features, view)).best()

    def _keep_stages(self, _trunk: object, _inputs: object, stages: list[torch.Tensor]) -> None:
        self._stages = tuple(stages)

    def _memory_position(self) -> torch.Tensor:
        blank = torch.zeros(1, self.memory_dim, self.grid_size, self.grid_size, device=self.device)
        return self.net.memory_encoder.position_encoding(blank).flatten(2).transpose(1, 2)
