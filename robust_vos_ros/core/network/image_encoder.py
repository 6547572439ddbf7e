"""The image encoder of SAM 2, also with an adapter, and with features that words condition."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence

import torch
from sam2.modeling.sam2_base import SAM2Base

from robust_vos_ros.core.adapters.encoder import EncoderFold
from robust_vos_ros.core.adapters.gates import Gates
from robust_vos_ros.core.network.tensors import Features, MemoryView

# Mean and standard deviation of ImageNet, RGB, for images in [0, 1].
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class ImageEncoder:
    """Encodes images.

    Args:
        net: The network.
        device: Of the network.

    Attributes:
        fold: Changes the weights of the encoder by an adapter; `core/adapters/files.py` attaches
            it. None = no adapter.
    """

    def __init__(self, net: SAM2Base, device: torch.device) -> None:
        self.fold: EncoderFold | None = None
        self._net, self._device = net, device
        self._mean = torch.tensor(_MEAN, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(_STD, device=device).view(1, 3, 1, 1)
        self._stages: tuple[torch.Tensor, ...] | None = None
        net.image_encoder.trunk.register_forward_hook(self._keep_stages)

    def encode(self, images: torch.Tensor, gates: torch.Tensor | None = None) -> Features:
        """Encode images; arguments as for `Model.encode`."""
        images = images.to(self._device)
        if self.fold is not None and not torch.is_grad_enabled():
            self.fold.see(images)
        x = images.permute(0, 3, 1, 2).float() / 255.0
        x = ((x - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        self._stages = None
        with self._context(gates):
            out = self._net.forward_image(x)
        fine, middle, coarse = out['backbone_fpn'][-3:]
        pos = out['vision_pos_enc'][-1][:1].flatten(2).transpose(1, 2)
        return Features(coarse, pos, (fine, middle), stages=self._stages)

    def condition(self, features: Features, updates: Sequence[torch.Tensor]) -> Features:
        """Return an image's features with E of stride 16, (E, C, h, w), that words condition.

        Args:
            features: The encoded image, with its stages.
            updates: (E, c, h, w) added to the trunk's stages at strides 32 and 16.
        """
        assert features.stages is not None, 'the caller checks it'
        stages = list(features.stages)
        for level, update in enumerate(updates, 1):
            stages[-level] = stages[-level] + update
        encoder = self._net.image_encoder
        maps, _ = encoder.neck(stages)
        return dataclasses.replace(features, pix=maps[len(maps) - encoder.scalp - 1])

    @property
    def has_gates(self) -> bool:
        """Whether there is an adapter that has gates."""
        return self.fold is not None and self.fold.adapter.gate is not None

    def gates(
        self, view: MemoryView | None, *, shares: torch.Tensor | None = None
    ) -> Gates | None:
        """Compute the gates for the next frame from the memory.

        Their values are (1, M, R); None without memory. Only for an encoder that has gates;
        arguments as for `Model.gates`.
        """
        assert self.fold is not None, 'has_gates'
        if view is None:
            return None
        valid = None if view.valid is None else view.valid[1]
        return self.fold.adapter.gates(view.pointers, valid, shares=shares)

    def open(self, gates: torch.Tensor | None) -> None:
        """Fold (M, R) gates into the weights; None = all are open."""
        if self.fold is not None:
            self.fold.open(gates)

    def _context(self, gates: torch.Tensor | None) -> contextlib.AbstractContextManager[None]:
        """Return the context in which gradients reach an adapter.

        Without gradients its changes are in the weights already. In training they are not, and
        images encoded without gradients are those of the model without adapter.
        """
        if self.fold is None or not torch.is_grad_enabled():
            return contextlib.nullcontext()
        return self.fold.for_training(gates)

    def _keep_stages(self, _trunk: object, _inputs: object, stages: list[torch.Tensor]) -> None:
        self._stages = tuple(stages)
