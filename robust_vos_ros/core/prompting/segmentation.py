"""Segment prompts in the frame they were made on."""

from __future__ import annotations

import dataclasses
import itertools
import time
import uuid
from collections.abc import Sequence

import torch

from robust_vos_ros.core.confidence import states
from robust_vos_ros.core.confidence.evidence import observe, warn_of_misfit
from robust_vos_ros.core.network.mask_decoder import DecoderPrompts
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Candidates, Features
from robust_vos_ros.core.objects import ObjectTable
from robust_vos_ros.core.prompting.prompts import (
    check_prompt,
    hold_to_prompts,
    to_clicks,
    to_coarse_masks,
    to_mask_batch,
)
from robust_vos_ros.core.results import make_result
from robust_vos_ros.core.tracking_sections import GuardSettings
from robust_vos_ros.core.types import Frame, Prompt, TrackResult
from robust_vos_ros.core.zoom.window import Record, make_record, to_window


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """Inputs of the mask decoder for clicks that correct a live object.

    Attributes:
        pix: (1, C, h, w) features, conditioned on the memory of the object.
        previous: (1, 1, 4h, 4w) logits of its present mask, or None.
    """

    pix: torch.Tensor
    previous: torch.Tensor | None


@dataclasses.dataclass(frozen=True, slots=True)
class Segments:
    """Masks of prompts of the same form.

    Attributes:
        rows: Indices of the prompts.
        kept: Masks of the prompts (M = 1).
        spatial: (N, h*w, memory_dim) the memory made of them.
        misfit: Of each prompt, in [0, 1], see `prompts.hold_to_prompts`.
    """

    rows: list[int]
    kept: Candidates
    spatial: torch.Tensor
    misfit: list[float]


class Segmenter:
    """Encodes frames and segments prompts in them.

    Args:
        model: The network.

    Attributes:
        gates: (M, R) of an adapter of the image encoder, for frames that are encoded from now on;
            None = all are open.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.gates: torch.Tensor | None = None
        self._features: tuple[Record, Features] | None = None

    def encode(self, record: Record) -> Features:
        """Encode a frame; the features of the newest one are cached."""
        if self._features is None or self._features[0] is not record:
            self.model.image_encoder.open(self.gates)
            self._features = (record, self.model.encode(record.image[None]))
        return self._features[1]

    def forget(self) -> None:
        """Drop the cached features, and gates."""
        self._features = self.gates = None

    def segment(
        self, prompts: Sequence[Prompt], record: Record, context: Context | None = None
    ) -> list[Segments]:
        """Segment checked prompts; prompts of the same form share a batch.

        Args:
            prompts: In pixels of the camera image, within the window of the frame.
            record: The frame.
            context: Of the live object that the prompts correct; None = new objects.
        """
        features = self.encode(record)
        prompts = [to_window(prompt, record.window) for prompt in prompts]
        size_hw = record.window.size_hw
        groups = []
        order = sorted(range(len(prompts)), key=lambda row: _batch_key(prompts[row]))
        for _, rows_of_key in itertools.groupby(order, key=lambda row: _batch_key(prompts[row])):
            rows = list(rows_of_key)
            batch = [prompts[row] for row in rows]
            kept = self._decode(batch, features, record, context)
            logits, misfit = hold_to_prompts(kept.mask_logits[:, 0], batch, size_hw)
            kept = dataclasses.replace(kept, mask_logits=logits.unsqueeze(1))
            spatial = self.model.remember(
                features, kept.mask_logits, kept.object_scores, prompted=True
            )
            groups.append(Segments(rows, kept, spatial, misfit))
        return groups

    def _decode(
        self, batch: list[Prompt], features: Features, record: Record, context: Context | None
    ) -> Candidates:
        size, device = self.model.image_size, self.model.device
        if batch[0].mask is not None:
            return self.model.decoder.from_masks(features, to_mask_batch(batch, size, device))
        clicks = to_clicks(batch, record.window.size_hw, size, device)
        if context is None:
            context = Context(self.model.attend(features, None), None)
        previous = context.previous
        if self.model.coarse_prompts:
            previous = to_coarse_masks(clicks, size, self.model.mask_size, previous)
        pix = context.pix.expand(len(batch), -1, -1, -1)
        candidates = self.model.decode(features, pix, DecoderPrompts(clicks, previous))
        return self.model.refine_prompted(features, previous, candidates)


def _batch_key(prompt: Prompt) -> tuple[bool, bool, int]:
    """Return a key; prompts with equal keys can share a batch."""
    return prompt.mask is not None, prompt.box is not None, len(prompt.points)


def segment_once(
    model: Model, frame: Frame, prompts: Sequence[Prompt], max_objects: int
) -> TrackResult:
    """Segment at most `max_objects` objects in an image.

    Raises:
        DuplicateIdError, CapacityError, PromptError: As in `VideoTracker.add`.
    """
    start_ns = time.perf_counter_ns()
    record = make_record(frame, model.image_size, 0)
    table = ObjectTable(max_objects, uuid.UUID(int=0))
    table.check_room([prompt.object_id for prompt in prompts], replace_existing=False)
    checked = [check_prompt(prompt, record.size_hw) for prompt in prompts]
    items = [table.add(p.object_id, p.class_id, record.stamp_ns) for p in checked]
    warnings: list[str] = []
    logits = torch.zeros(len(items), model.mask_size, model.mask_size, device=model.device)
    with model.inference():
        for segment in Segmenter(model).segment(checked, record):
            logits[segment.rows] = segment.kept.mask_logits[:, 0]
            for row, seen in zip(segment.rows, observe(segment.kept), strict=True):
                states.start(items[row], seen, record.stamp_ns, model.calibration)
            for row, misfit in zip(segment.rows, segment.misfit, strict=True):
                warnings += warn_of_misfit(items[row], misfit, GuardSettings())
    return make_result(items, logits, record, [], start_ns=start_ns, warnings=warnings)
