"""Training roll-out: prompt in the first frame, then track, with the functions of the engine.

Memory is written from the network's own predictions, as at inference.

Shape legend: N clips, T frames, B objects of all clips, S side of the image in pixels, C width.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from robust_vos_ros.core.adapters.gates import Sampling
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.mask_decoder import ABSENT_LOGIT, DecoderPrompts
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Candidates, Features, MemoryView
from robust_vos_ros.core.prompting.prompts import to_coarse_masks
from robust_vos_ros.train import prompting
from robust_vos_ros.train.clip_memory import ClipMemory
from robust_vos_ros.train.config import GateSettings, RolloutSettings
from robust_vos_ros.train.gating import gate_penalty, make_sampling
from robust_vos_ros.train.losses import FrameLoss, deep_supervision, frame_loss
from robust_vos_ros.train.teacher import Teacher, imitation


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Clips and the objects to track in them.

    Attributes:
        images: (N, T, S, S, 3) uint8, RGB.
        truth: (B, T, S, S) uint8, 0 or 1; visible in the first frame.
        clip: (B,) int64 clip of each object.
        clean: (N, T, S, S, 3) uint8, the images before they were corrupted.
    """

    images: torch.Tensor
    truth: torch.Tensor
    clip: torch.Tensor
    clean: torch.Tensor


@dataclasses.dataclass(slots=True)
class _Run:
    """State of one pass over a batch.

    Attributes:
        progress: Share of the training that is done, 0 to 1.
        kept: The newest masks of the objects.
        memory: What is remembered of them.
        losses: Of the tracked masks.
        extra: All other losses, weighted.
        stats: Statistics for the log.
    """

    batch: Batch
    rng: np.random.Generator
    progress: float
    kept: Candidates
    memory: ClipMemory
    losses: list[FrameLoss] = dataclasses.field(default_factory=list)
    extra: list[torch.Tensor] = dataclasses.field(default_factory=list)
    stats: dict[str, float] = dataclasses.field(default_factory=dict)


class Rollout(nn.Module):
    """Loss of a batch of clips.

    Args:
        model: The network in training form.
        settings: Of prompts, memory and losses.
        penalties: Of gates.

    Raises:
        ConfigError: The image encoder has gates, which the stage `distill` trains.
    """

    def __init__(
        self, model: Model, settings: RolloutSettings, penalties: GateSettings | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.settings = settings
        self._penalties = penalties or GateSettings()
        if model.image_encoder.has_gates:
            raise ConfigError(
                'adapter.encoder_gates: expected false in the stage rollout, got true; the stage '
                'distill trains gates of the image encoder'
            )
        self.net = model.net
        self.adapter = model.adapter  # a submodule, so that it is saved and synchronized
        self._teacher = Teacher(model) if settings.teacher_weight else None
        # Auxiliary heads, dropped after training: they predict coarse masks from the
        # memory-conditioned features, and from the calibrated proto-maps.
        self.head = nn.Conv2d(model.hidden_dim, 1, 1) if settings.deep_weight else None
        self.proto_head = None
        if model.object_calibration is not None and settings.calibration_weight:
            self.proto_head = nn.Conv2d(model.object_calibration.settings.width, 1, 1)

    def forward(
        self, batch: Batch, rng: np.random.Generator, progress: float
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the scalar loss and statistics.

        Args:
            batch: The clips.
            rng: Source of all randomness of this step.
            progress: Share of the training that is done, 0 to 1.
        """
        num_frames = batch.images.shape[1]
        targets: list[torch.Tensor] = []
        if self._teacher is not None:
            targets = self._teacher.conditioned(batch.clean, batch.truth, batch.clip)
        features = self._encode(batch, 0)
        kept, prompted = self._prompt(batch, features, rng)
        run = _Run(batch, rng, progress, kept, ClipMemory(self.model, features, kept))
        run.stats = {f'J_{form}': float(loss.iou.mean()) for form, loss in prompted.items()}
        run.extra += [self.settings.prompt_weight * loss.total for loss in prompted.values()]
        sampling = None
        if self.adapter is not None:
            sampling = make_sampling(self.adapter.settings, batch.images.device, rng, progress)
        corrected = int(rng.integers(1, num_frames)) if self._is_corrected(rng) else -1
        for t in range(1, num_frames):
            features = self._encode(batch, t)
            target = targets[t - 1] if targets else None
            pix = self._attend(run, features, t, sampling)
            raw = self._decode(run, features, pix, t, target)
            run.losses.append(frame_loss(raw, batch.truth[:, t]))
            if t == corrected:
                raw, loss = self._correct(features, pix, raw, batch.truth[:, t], rng)
                run.extra.append(self.settings.prompt_weight * loss.total)
                run.stats['J_corrected'] = float(loss.iou.mean())
            run.kept = self._keep(raw, batch.truth[:, t])
            run.memory.see(features, run.kept)
            if t + 1 < num_frames:
                run.memory.remember(features, run.kept)
        total = torch.stack([loss.total for loss in run.losses]).mean()
        total = total + sum(run.extra, total.new_zeros(())) / len(run.losses)
        return total, run.stats | _summary(run.losses, batch.truth)

    def _attend(
        self, run: _Run, features: Features, t: int, sampling: Sampling | None
    ) -> torch.Tensor:
        view = self._view(run, t)
        gates = self.model.gates(features, view, sampling=sampling, groups=run.batch.clip)
        if gates is not None:
            penalty, stats = gate_penalty(gates, self._penalties)
            run.extra.append(penalty)
            run.stats |= stats
        return self.model.attend(features, view, gates)

    def _decode(
        self,
        run: _Run,
        features: Features,
        pix: torch.Tensor,
        t: int,
        target: torch.Tensor | None,
    ) -> Candidates:
        """Predict the masks of a tracked frame, and add the auxiliary losses."""
        settings, truth = self.settings, run.batch.truth[:, t]
        if self.head is not None:
            loss = deep_supervision(self.head(pix)[:, 0].float(), truth)
            run.extra.append(settings.deep_weight * loss)
        if target is not None:
            loss = imitation(pix, target)
            run.extra.append(settings.teacher_weight * loss)
            share = float(loss.detach()) / (run.batch.images.shape[1] - 1)
            run.stats['teacher'] = run.stats.get('teacher', 0.0) + share
        previous = self._previous(run, t)
        known = run.kept.mask_logits.detach() if previous is None else previous
        dense = self.model.calibrate(
            features, pix, run.memory.references, known, group=run.batch.clip
        )
        if dense is not None and self.proto_head is not None:
            loss = deep_supervision(self.proto_head(dense.calibrated)[:, 0].float(), truth)
            run.extra.append(settings.calibration_weight * loss)
        return self.model.decoder.predict(
            features, pix, DecoderPrompts(previous=previous, dense=dense)
        )

    def _encode(self, batch: Batch, t: int) -> Features:
        """Encode frame t of all clips; return the features of its clip for each object."""
        return self.model.encode(batch.images[:, t]).take(batch.clip)

    def _prompt(
        self, batch: Batch, features: Features, rng: np.random.Generator
    ) -> tuple[Candidates, dict[str, FrameLoss]]:
        """Prompt every object in the first frame, by its mask or in one other form.

        Returns:
            The masks, and the losses by the form of the prompt.
        """
        truth = batch.truth[:, 0]
        by_mask = rng.random(len(truth)) < self.settings.mask_prompts
        form = prompting.CLICK_FORMS[rng.integers(len(prompting.CLICK_FORMS))]
        rows = {'mask': np.flatnonzero(by_mask), form: np.flatnonzero(~by_mask)}
        kept: dict[str, Candidates] = {}
        losses: dict[str, FrameLoss] = {}
        for name, picked in rows.items():
            if not len(picked):
                continue
            index = torch.from_numpy(picked).to(truth.device)
            mine = features.take(index)
            if name == 'mask':
                drawn = [prompting.degrade_mask(rng, m) for m in truth[index].numpy(force=True)]
                masks = torch.from_numpy(np.stack(drawn)).to(truth.device)[:, None].float()
                kept[name] = self.model.decoder.from_masks(mine, masks)
                continue
            clicks = prompting.make_clicks(rng, truth[index].numpy(force=True), form)
            clicks = clicks.to(truth.device)
            pix = self.model.attend(mine, None)
            coarse = to_coarse_masks(clicks, self.model.image_size, self.model.mask_size)
            raw = self.model.decoder.predict(mine, pix, DecoderPrompts(clicks, coarse))
            losses[name] = frame_loss(raw, truth[index])
            if self._is_corrected(rng):
                raw, losses['corrected'] = self._correct(mine, pix, raw, truth[index], rng)
            kept[name] = self._keep(raw, truth[index])
        order = np.argsort(np.concatenate([rows[name] for name in kept]))
        return _join(list(kept.values()), torch.from_numpy(order).to(truth.device)), losses

    def _correct(
        self,
        features: Features,
        pix: torch.Tensor,
        raw: Candidates,
        truth: torch.Tensor,
        rng: np.random.Generator,
    ) -> tuple[Candidates, FrameLoss]:
        """Click on the largest error of each mask and predict again, as `VideoTracker.refine`."""
        previous = raw.best().mask_logits.detach()
        found = prompting.correction_clicks(rng, previous[:, 0], truth.numpy(force=True))
        clicks = found.to(truth.device)
        size = self.model.image_size
        coarse = to_coarse_masks(clicks, size, self.model.mask_size, previous)
        better = self.model.decoder.predict(features, pix, DecoderPrompts(clicks, coarse))
        return better, frame_loss(better, truth)

    def _keep(self, raw: Candidates, truth: torch.Tensor) -> Candidates:
        """Return the best mask; an object that is visible in truth is never suppressed."""
        visible = (raw.object_scores > 0) | (truth > 0).flatten(1).any(dim=1)
        return self.model.decoder.suppress_absent(raw.best(), visible)

    def _previous(self, run: _Run, t: int) -> torch.Tensor | None:
        """Return the mask of the frame before: predicted; for some objects true, or absent."""
        if not self.model.previous_mask:
            return None
        settings, truth = self.settings, run.batch.truth[:, t - 1]
        before = run.kept.mask_logits.detach()
        forced = settings.teacher_forcing * max(0.0, 1.0 - run.progress / settings.teacher_share)
        draw = torch.from_numpy(run.rng.random(len(truth))).to(truth.device)[:, None, None, None]
        size = before.shape[-2:]
        true = nn.functional.interpolate(truth[:, None].float(), size, mode='area') * 20.0 - 10.0
        previous = torch.where(draw < forced, true, before)
        return torch.where(draw > 1.0 - settings.previous_dropout, ABSENT_LOGIT, previous)

    def _view(self, run: _Run, t: int) -> MemoryView:
        """Return the memory for frame t; some frames are dropped at random."""
        admitted = [k for k in range(1, t) if run.rng.random() >= self.settings.memory_dropout]
        return run.memory.view(t, admitted)

    def _is_corrected(self, rng: np.random.Generator) -> bool:
        """Draw whether a frame gets a correction click."""
        return bool(rng.random() < self.settings.correction_share)


def _join(parts: list[Candidates], order: torch.Tensor) -> Candidates:
    """Concatenate candidates, and reorder their rows."""
    fields = ('mask_logits', 'ious', 'object_scores', 'pointers')
    return Candidates(
        *(
            torch.cat(
                [
                    getattr(p, name)[:, :1] if name != 'object_scores' else getattr(p, name)
                    for p in parts
                ]
            )[order]
            for name in fields
        )
    )


def _summary(losses: list[FrameLoss], truth: torch.Tensor) -> dict[str, float]:
    """Return the means over tracked frames; J only over frames that show the object."""
    shown = (truth[:, 1:] > 0).flatten(2).any(dim=2).T
    iou = torch.stack([loss.iou for loss in losses])
    stats = {'J': float((iou * shown).sum() / shown.sum().clamp(min=1))}
    for name in losses[0].parts:
        stats[name] = float(torch.stack([loss.parts[name] for loss in losses]).mean())
    return stats
