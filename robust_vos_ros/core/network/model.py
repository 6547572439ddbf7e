"""SAM 2 cut into the steps of online tracking.

Internals of sam2 1.1.0 that this folder uses besides the public modules of `SAM2Base`:

- here: the parameters `no_mem_embed` and `no_obj_embed_spatial`, configuration attributes;
- `mask_decoder`: the parameter `no_obj_ptr`, the modules `obj_ptr_proj` and `mask_downsample`;
- `memory_attention`: `maskmem_tpos_enc`, `obj_ptr_tpos_proj`, the submodules of `MemoryAttention`
  and its layers, `freqs_cis` and `compute_cis` of `RoPEAttention`;
- `optimize`: the class name `LayerNorm2d`, `image_encoder.neck.position_encoding`.

No other folder uses any of these (test/test_layers.py).

The formulas follow SAM 2 (Ravi et al., 2024).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from sam2.modeling.sam2_base import SAM2Base

from robust_vos_ros.core.adapters.gates import Gates, Sampling
from robust_vos_ros.core.adapters.moga import Moga
from robust_vos_ros.core.confidence.calibration import Calibration
from robust_vos_ros.core.network import memory_attention
from robust_vos_ros.core.network.image_encoder import ImageEncoder
from robust_vos_ros.core.network.mask_decoder import NO_PROMPTS, DecoderPrompts, MaskDecoder
from robust_vos_ros.core.network.object_calibration import DensePrompt, ObjectCalibration
from robust_vos_ros.core.network.object_proxies import Proxies, References
from robust_vos_ros.core.network.prompt_refiner import PromptRefiner
from robust_vos_ros.core.network.tensors import Candidates, Features, MemoryView
from robust_vos_ros.core.reid.appearance import Projection
from robust_vos_ros.core.stages import stage

if TYPE_CHECKING:  # it uses this module
    from robust_vos_ros.core.words.finder import WordFinder


class Model:
    """A SAM 2 network cut into the steps of online tracking.

    Attributes:
        image_size: Side of the square input image in pixels.
        mask_size: Side of the mask logits (stride 4).
        grid_size: Side of the feature grid (stride 16).
        coarse_prompts: Whether the decoder gets points and boxes also as a coarse mask.
        previous_mask: Whether the decoder gets the mask of the previous frame.
        image_encoder: Encodes images; has the part of the adapter that is in its weights.
        decoder: Predicts masks.
        object_calibration: Module that separates objects by their proxies; None = not in this
            model.
        prompt_refiner: Module that refines prompted masks; None likewise.
        adapter: Of memory attention and image encoder; `core/adapters/files.py` attaches it and
            keeps the parameters that it replaces in `adapter_originals`.
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
        self.prompt_refiner: PromptRefiner | None = net.prompt_refiner
        self.adapter: Moga | None = None
        self.calibration: Calibration | None = None
        self.projection: Projection | None = None
        self.encoder_hash = ''
        self.finder: WordFinder | None = None
        self.adapter_originals: dict[str, torch.Tensor] = {}
        self.adapter_name = 'none'
        self._dtype = torch.bfloat16 if precision == 'bf16' else torch.float32
        self.image_size: int = net.image_size
        self.mask_size = self.image_size // 4
        self.grid_size = self.image_size // net.backbone_stride
        self.hidden_dim: int = net.hidden_dim
        self.memory_dim: int = net.mem_dim
        self.num_recent: int = net.num_maskmem - 1
        self.num_pointers: int = net.max_obj_ptrs_in_encoder
        self.image_encoder = ImageEncoder(net, device)
        self.decoder = MaskDecoder(net, device)
        self._memory_pos = self._memory_position()

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
                `ImageEncoder.open`.
        """
        features = self.image_encoder.encode(images, gates)
        if self.object_calibration is None:
            return features
        return dataclasses.replace(features, embedded=self.object_calibration.embed(features))

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
    def start_references(self, features: Features, mask_logits: torch.Tensor) -> References | None:
        """Compute what prompted objects are compared with; arguments as for `proxies`."""
        if self.object_calibration is None:
            return None
        assert features.embedded is not None, '`encode` made it'
        return self.object_calibration.start(features.embedded, mask_logits)

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
        references: References | None,
        previous_logits: torch.Tensor,
        *,
        group: torch.Tensor | None = None,
        is_best: torch.Tensor | None = None,
    ) -> DensePrompt | None:
        """Compute the dense prompts of object calibration for B objects; None without it.

        Args:
            features: The encoded image.
            pix: (B, C, h, w) from `attend`.
            references: Of the objects; None without object calibration.
            previous_logits: (B, 1, 4h, 4w) mask of the previous frame.
            group: (B,) int64 image of each object; None = one image.
            is_best: (B,) bool, the rows that other objects are compared with; None = all.
        """
        if self.object_calibration is None or references is None:
            return None
        assert features.embedded is not None, '`encode` made it'
        result: DensePrompt = self.object_calibration(
            features.embedded, pix, references, previous_logits, group=group, is_best=is_best
        )
        return result

    @stage('decode')
    def decode(
        self, features: Features, pix: torch.Tensor, prompts: DecoderPrompts = NO_PROMPTS
    ) -> Candidates:
        """Predict candidate masks; see `MaskDecoder.decode`."""
        return self.decoder.decode(features, pix, prompts)

    @stage('decode')
    def refine_prompted(
        self, features: Features, prompt: torch.Tensor | None, candidates: Candidates
    ) -> Candidates:
        """Return the best mask of each prompted object, refined if the model has a refiner.

        Arguments as for `refinements`; `prompt` may be None without a refiner.
        """
        kept = candidates.best()
        if self.prompt_refiner is None:
            return kept
        assert prompt is not None, 'models with a refiner use coarse prompts'
        logits = self.refinements(features, prompt, candidates)[-1]
        present = kept.object_scores[:, None, None, None] > 0
        logits = torch.where(present, logits, kept.mask_logits)
        return dataclasses.replace(kept, mask_logits=logits)

    def refinements(
        self, features: Features, prompt: torch.Tensor, candidates: Candidates
    ) -> list[torch.Tensor]:
        """Return the (B, 1, 4h, 4w) float32 mask logits of prompted objects after each round.

        Args:
            features: The encoded image.
            prompt: (B, 1, 4h, 4w) coarse masks of the prompts, `prompts.to_coarse_masks`.
            candidates: The masks of the prompts, all that the decoder gave.
        """
        assert self.prompt_refiner is not None, 'callers check it'
        logits = [candidates.best().mask_logits]
        for _ in range(self.prompt_refiner.settings.rounds):
            present = logits[-1].detach()  # no gradient from round to round
            scores = torch.full_like(present, 0.5)
            if self.object_calibration is not None and features.embedded is not None:
                scores = self.object_calibration.separate(features.embedded, present)
            logits.append(self.prompt_refiner(features, candidates, prompt, present, scores))
        return logits[1:]

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
            kept = self.decoder.from_masks(features, masks)
            spatial = self.remember(features, kept.mask_logits, kept.object_scores, prompted=True)
            age = torch.zeros(1, 1, dtype=torch.long, device=self.device)
            view = MemoryView(spatial[:, None], age, kept.pointers, age.float(), None)
            self.decode(features, self.attend(features, view)).best()

    def _memory_position(self) -> torch.Tensor:
        blank = torch.zeros(1, self.memory_dim, self.grid_size, self.grid_size, device=self.device)
        return self.net.memory_encoder.position_encoding(blank).flatten(2).transpose(1, 2)
