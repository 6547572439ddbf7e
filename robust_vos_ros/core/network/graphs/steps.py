"""The steps of tracking as static graphs, for runtimes other than torch.

Each step is a module of flat tensors with fixed shapes, which torch.export traces: no Python, no
data-dependent shape. The objects of a batch are padded to a fixed number; a padding row is not
`is_best`, so that it changes no other row.

These stay in torch: memory attention (it is slower in the other runtimes, docs/speed.md), prompts
(rare) and K-means of the proxies of object calibration (ONNX has no `searchsorted`; proxies are
inputs of `calibrate`).

Shape legend: B objects, N = h*w tokens at stride 16, M memory width.
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import torch
from torch import nn

from robust_vos_ros.core.network.mask_decoder import ABSENT_LOGIT, DecoderPrompts
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.object_calibration import NUM_REFERENCES, DensePrompt
from robust_vos_ros.core.network.object_proxies import Proxies, References
from robust_vos_ros.core.network.tensors import Features
from robust_vos_ros.core.saving.named_tensors import Tensors

_FIELDS = len(dataclasses.fields(Proxies))


class Encode(nn.Module):
    """`Model.encode`: (1, side, side, 3) uint8, RGB."""

    name = 'encode'

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net, self._model = model.net, model

    def inputs(self, batch: int) -> Tensors:
        """Return example inputs for B objects, by name."""
        del batch  # one image for all objects
        side = self._model.image_size
        return {'image': torch.zeros(1, side, side, 3, dtype=torch.uint8)}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the results."""
        embedded = () if self._model.object_calibration is None else ('embedded',)
        return ('pix', 'fine', 'middle', *embedded)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the features; their position encoding is a constant."""
        features = self._model.encode(image)
        embedded = () if features.embedded is None else (features.embedded,)
        return (features.pix, *features.high_res, *embedded)


class Calibrate(nn.Module):
    """`Model.calibrate` for B objects of one image."""

    name = 'calibrate'
    outputs = ('coarse', 'dense_fine', 'scores', 'calibrated')

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net, self._model = model.net, model
        self._features = _features(model)

    def inputs(self, batch: int) -> Tensors:
        """Return example inputs for B objects, by name."""
        model = self._model
        assert self._features.embedded is not None, 'the model has object calibration'
        mask = torch.full((batch, 1, model.mask_size, model.mask_size), ABSENT_LOGIT)
        inputs = {
            'embedded': torch.zeros(self._features.embedded.shape),
            'attended': torch.zeros(batch, model.hidden_dim, model.grid_size, model.grid_size),
            'previous': mask,
            'is_best': torch.ones(batch, dtype=torch.bool),
        }
        # Not shared: the tracer merges inputs.
        started, recent = (model.start_references(self._features, mask) for _ in range(2))
        assert started is not None
        assert recent is not None
        return inputs | named(dataclasses.replace(started, recent=recent.recent))

    def forward(
        self,
        embedded: torch.Tensor,
        attended: torch.Tensor,
        previous: torch.Tensor,
        is_best: torch.Tensor,
        *given: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Return the fields of the dense prompt."""
        proxies, rest = given[: NUM_REFERENCES * _FIELDS], given[NUM_REFERENCES * _FIELDS :]
        prompted, recent = Proxies(*proxies[:_FIELDS]), Proxies(*proxies[_FIELDS:])
        # Without a classifier the model does not read it.
        classifier = rest[0] if rest else prompted.valid
        references = References(prompted, recent, classifier)
        features = dataclasses.replace(self._features, embedded=embedded)
        dense = self._model.calibrate(features, attended, references, previous, is_best=is_best)
        assert dense is not None
        return dense.coarse, dense.fine, dense.scores, dense.calibrated


class Decode(nn.Module):
    """`Model.decode` of tracked frames, for B objects."""

    name = 'decode'
    outputs = ('mask_logits', 'ious', 'object_scores', 'pointers')

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net, self._model = model.net, model
        self._pos = _features(model).pos

    def inputs(self, batch: int) -> Tensors:
        """Return example inputs for B objects, by name."""
        model = self._model
        fine, middle = _features(model).high_res
        side = model.grid_size
        inputs = {
            'attended': torch.zeros(batch, model.hidden_dim, side, side),
            'fine': torch.zeros(fine.shape),
            'middle': torch.zeros(middle.shape),
        }
        if model.previous_mask:
            inputs['previous'] = torch.zeros(batch, 1, model.mask_size, model.mask_size)
        if model.object_calibration is not None:
            inputs['coarse'] = torch.zeros(batch, model.hidden_dim, side, side)
            inputs['dense_fine'] = torch.zeros(batch, *middle.shape[1:])
            inputs['scores'] = torch.zeros(batch, 1, model.mask_size, model.mask_size)
        return inputs

    def forward(
        self,
        attended: torch.Tensor,
        fine: torch.Tensor,
        middle: torch.Tensor,
        *prompts: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Return the fields of the candidates."""
        rest = list(prompts)
        previous = rest.pop(0) if self._model.previous_mask else None
        dense = DensePrompt(rest[0], rest[1], rest[2], rest[1]) if rest else None
        features = Features(attended, self._pos, (fine, middle))
        given = DecoderPrompts(previous=previous, dense=dense)
        found = self._model.decode(features, attended, given)
        return found.mask_logits, found.ious, found.object_scores, found.pointers


class Remember(nn.Module):
    """`Model.remember` of tracked frames, for B objects, before rounding to bfloat16."""

    name = 'remember'
    outputs = ('spatial',)

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net, self._model = model.net, model

    def inputs(self, batch: int) -> Tensors:
        """Return example inputs for B objects, by name."""
        model = self._model
        return {
            'pix': torch.zeros(1, model.hidden_dim, model.grid_size, model.grid_size),
            'mask_logits': torch.zeros(batch, 1, model.mask_size, model.mask_size),
            'object_scores': torch.zeros(batch),
        }

    def forward(
        self, pix: torch.Tensor, mask_logits: torch.Tensor, object_scores: torch.Tensor
    ) -> torch.Tensor:
        """Return (B, N, M)."""
        features = Features(pix, pix, (pix, pix))  # `encode_memory` uses only pix
        return self._model.encode_memory(features, mask_logits, object_scores, prompted=False)


Step: TypeAlias = Encode | Calibrate | Decode | Remember


def steps(model: Model) -> list[Step]:
    """Return the modules of the steps that are exported, in their order."""
    calibrate = [] if model.object_calibration is None else [Calibrate(model)]
    return [Encode(model), *calibrate, Decode(model), Remember(model)]


def named(references: References) -> Tensors:
    """Return the fields of references as inputs of `calibrate`, in its order."""
    found = {
        f'{name}_{field.name}': getattr(proxies, field.name)
        for name, proxies in (('prompted', references.prompted), ('recent', references.recent))
        for field in dataclasses.fields(proxies)
    }
    if references.classifier.shape[1] > 1:
        found['classifier'] = references.classifier
    return found


def _features(model: Model) -> Features:
    """Return features of a black image, for shapes and the position encoding."""
    side = model.image_size
    with model.inference():
        return model.encode(torch.zeros(1, side, side, 3, dtype=torch.uint8))
