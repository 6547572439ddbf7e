"""Training: steps, moving average, checkpoints, and resuming, in one or several processes."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.optimize import device_name, find_device, find_precision
from robust_vos_ros.files import replace_file
from robust_vos_ros.train.checkpoint import STATE_FILE, differences, read_state, start_from
from robust_vos_ros.train.config import OptimizerSettings, TrainSettings, ValidationSettings
from robust_vos_ros.train.distill import Distillation, PictureSource
from robust_vos_ros.train.export import Export
from robust_vos_ros.train.loader import Batches, ClipSource, load_batches, step_rng
from robust_vos_ros.train.network import build_model
from robust_vos_ros.train.processes import Process, own_device
from robust_vos_ros.train.refine import PromptedPictureSource, Refinement
from robust_vos_ros.train.training_log import LOG_FILE, PLOT_FILE, TrainingLog, plot_log
from robust_vos_ros.train.unroll import Batch, Rollout
from robust_vos_ros.train.validation import Best, Scorer, Validation


class Trainer:
    """One training in one folder.

    Args:
        settings: Of the training.
        out: Folder for checkpoint, weights, log and plot.
        resume: Continue from the checkpoint in `out`; otherwise `out` must not have one.
        make_scorer: Returns the function that scores the moving average; needed if
            `settings.validation` is set, and called in the first process only.

    Raises:
        ConfigError: `out` has a checkpoint without `resume`, or one with other settings.
        WeightsError, DatasetError: A file cannot be used.
    """

    def __init__(
        self,
        settings: TrainSettings,
        out: Path,
        *,
        resume: bool,
        make_scorer: Callable[[TrainSettings], Scorer] | None = None,
    ) -> None:
        self.settings = settings
        self.out = out
        self.process = Process.join()
        if settings.num_threads:
            torch.set_num_threads(settings.num_threads)
        self._device = find_device(own_device(settings.device))
        precision = find_precision(settings.precision, self._device)
        here = settings.model_copy(update={'device': str(self._device), 'precision': precision})
        model = build_model(here)
        self.task = make_task(model, settings).to(model.device)
        self._started = ''  # number of tensors copied from `start_state`
        if settings.start_state:
            self._started = start_from(
                Path(settings.start_state).expanduser(),
                self.task,
                with_network=not (settings.weights or settings.adapter),
            )
        self.parallel: nn.Module = self.task
        if self.process.world > 1:
            self.parallel = DistributedDataParallel(self.task, find_unused_parameters=True)
        self.optimizer = make_optimizer(self.task, settings.optimizer)
        self.export = Export(model)
        self.average = {
            name: tensor.detach().clone() for name, tensor in self.export.tensors().items()
        }
        self.step = 0
        self.validation: Validation | None = None
        if settings.validation and self.process.rank == 0:
            if make_scorer is None:
                raise ConfigError('validation: expected make_scorer as well, got none')
            self.validation = Validation(out, self.export, make_scorer(here))
        out.mkdir(parents=True, exist_ok=True)
        if resume:
            self._load()
        elif (out / STATE_FILE).exists():
            raise ConfigError(
                f'{out} has a training already; continue it with --resume, or choose another --out'
            )

    def run(self, on_step: Callable[[int, dict[str, Any]], None] | None = None) -> None:
        """Train to the last step, or until `max_seconds` have passed.

        Args:
            on_step: Called after every step with its number and the newest line of the log.
        """
        settings, began = self.settings, time.monotonic()
        log = self._open_log() if self.process.rank == 0 else None
        saved, line = began, {}
        for batch in load_batches(self.batches(), settings.num_workers):
            stats = self.train_step(batch)
            now = time.monotonic()
            if log is not None:
                log.add(stats)
            # Checkpoints are written only after a line of the log, so that a resumed log has the
            # same lines.
            complete = self.step % settings.log_every == 0 or self.step == settings.steps
            if complete and log is not None:
                line = log.write(self.step, seconds=now - began)
            if on_step is not None:
                on_step(self.step, line)
            if not complete:
                continue
            scored = self._is_scored()
            if scored and log is not None and self.validation is not None:
                log.note(self.step, 'validation', self.validation.run(self.step, self.average))
            now = time.monotonic()
            timeout = self.process.any(0 < settings.max_seconds < now - began)
            last = self.step == settings.steps
            if timeout or last or scored or now - saved > settings.save_every_s:
                self._save()
                saved = time.monotonic()
            if timeout:
                break
        self.process.leave()

    def batches(self) -> Batches:
        """Return the batches of the steps that are left."""
        kinds = {
            'rollout': ClipSource, 'distill': PictureSource, 'refine': PromptedPictureSource,
        }  # fmt: skip
        return Batches(
            kinds[self.settings.stage](self.settings.data, self.task.model.image_size),
            seed=self.settings.seed,
            rank=self.process.rank,
            first_step=self.step,
            num_steps=self.settings.steps,
        )

    def train_step(self, batch: Batch) -> dict[str, float]:
        """Make one step, and return its statistics."""
        settings = self.settings.optimizer
        factor = rate_factor(settings, self.step, self.settings.steps)
        for group in self.optimizer.param_groups:
            group['lr'] = settings.learning_rate * group['factor'] * factor
        batch = Batch(
            *(getattr(batch, f.name).to(self._device) for f in dataclasses.fields(batch))
        )
        rng = step_rng(self.settings.seed, self.step, self.process.rank, 1)
        bf16 = self.task.model.precision == 'bf16'
        with torch.autocast(self._device.type, torch.bfloat16, bf16):
            loss, stats = self.parallel(batch, rng, self.step / self.settings.steps)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.task.parameters(), settings.max_grad_norm)
        if torch.isfinite(norm):  # skip the step if gradients overflow
            self.optimizer.step()
        self.step += 1
        self._average()
        return {'loss': float(loss.detach()), 'grad_norm': float(norm), **stats}

    def _is_scored(self) -> bool:
        """Tell whether this step, after which a line of the log is written, is scored."""
        settings = self.settings
        if settings.validation is None:
            return False
        due = self.step % settings.validation.every_steps < settings.log_every
        return due or self.step == settings.steps

    def _open_log(self) -> TrainingLog:
        """Continue the log with a line about this run: machine, precision and versions."""
        log = TrainingLog(self.out / LOG_FILE, self.step)
        log.note(
            self.step,
            'run',
            {
                'steps': self.settings.steps,
                'precision': self.task.model.precision,
                'machine': device_name(self._device),
                'processes': self.process.world,
                'threads': torch.get_num_threads(),
                'torch': torch.__version__,
                'start_state': self._started,
            },
        )
        return log

    @torch.no_grad()
    def _average(self) -> None:
        """Update the moving average; its decay is lower in the first steps."""
        keep = min(self.settings.optimizer.ema_decay, self.step / (self.step + 10))
        for name, tensor in self.export.tensors().items():
            average = self.average[name]
            # Frozen ones keep their bits, which name the encoder of words: -0.0 would become 0.0.
            if tensor.is_floating_point() and not torch.equal(average, tensor):
                average.lerp_(tensor, 1.0 - keep)

    def _save(self) -> None:
        """Write checkpoint, averaged weights and plot."""
        if self.process.rank != 0:
            return
        state = {
            'settings': self.settings.model_dump(mode='json'),
            'step': self.step,
            'rollout': self.task.state_dict(),
            'average': self.average,
            'optimizer': self.optimizer.state_dict(),
        }
        if self.validation and self.validation.best:
            state['best'] = dataclasses.asdict(self.validation.best)
        replace_file(self.out / STATE_FILE, lambda path: torch.save(state, path))
        file = self.out / self.export.file
        replace_file(file, lambda path: self.export.save(path, self.average))
        plot_log(self.out / LOG_FILE, self.out / PLOT_FILE)

    def _load(self) -> None:
        path = self.out / STATE_FILE
        if not path.exists():
            return
        state, have = read_state(path, self._device)
        changed = differences(have, self.settings)
        if changed:
            raise ConfigError(
                f'{path}: expected the same settings as before, got {", ".join(changed)}; change '
                'them back, or choose another --out'
            )
        self.step, self.average = state['step'], state['average']
        self.task.load_state_dict(state['rollout'])
        self.optimizer.load_state_dict(state['optimizer'])
        best = state.get('best')
        if best and self.validation and _same_scores(have.validation, self.settings.validation):
            self.validation.best = Best(**best)


def make_task(model: Model, settings: TrainSettings) -> Rollout | Distillation | Refinement:
    """Return the module that computes the loss of the stage that is trained."""
    if settings.stage == 'distill':
        return Distillation(model, settings.distill, settings.gates)
    if settings.stage == 'refine':
        return Refinement(model, settings.rollout.correction_share)
    return Rollout(model, settings.rollout, settings.gates)


def make_optimizer(task: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """Return AdamW: no weight decay of vectors, own learning rates of trunk and gates."""
    factors = {
        'net.image_encoder.trunk.': settings.trunk_factor,
        'adapter.gate.': settings.gate_factor,
        'adapter.encoder.gate.': settings.gate_factor,
        'adapter.encoder.switch.': settings.gate_factor,
    }
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            factor = next((f for part, f in factors.items() if name.startswith(part)), 1.0)
            groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                'params': parameters,
                'weight_decay': settings.weight_decay if matrix else 0.0,
                'factor': factor,
            }
            for (factor, matrix), parameters in sorted(groups.items(), key=lambda item: item[0])
        ],
        lr=settings.learning_rate,
    )


def rate_factor(settings: OptimizerSettings, step: int, num_steps: int) -> float:
    """Return the factor of the learning rate: linear warm-up, then cosine decay."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, num_steps - settings.warmup_steps)
    fall = 0.5 + 0.5 * math.cos(math.pi * min(1.0, done))
    return settings.final_factor + (1.0 - settings.final_factor) * fall


def _same_scores(have: ValidationSettings | None, want: ValidationSettings | None) -> bool:
    """Tell whether the scores of two validations are comparable."""
    old, new = (item and item.model_dump(exclude={'every_steps'}) for item in (have, want))
    return old == new
