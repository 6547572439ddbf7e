"""Training of words for a frozen model: what cells mean, masks, motion, then the judgement."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network.checkpoints import hash_encoder, read_state_dict
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import find_weights, load_spec
from robust_vos_ros.core.network.optimize import device_name
from robust_vos_ros.core.words.finder import load_words, make_words, save_words
from robust_vos_ros.core.words.text import load_text_encoder
from robust_vos_ros.files import replace_file
from robust_vos_ros.train.checkpoint import STATE_FILE
from robust_vos_ros.train.config import TrainSettings
from robust_vos_ros.train.network import build_model
from robust_vos_ros.train.training_log import LOG_FILE, PLOT_FILE, TrainingLog, plot_log
from robust_vos_ros.train.words_clips import film, watch, words_of_clips
from robust_vos_ros.train.words_config import WordsTrainSettings
from robust_vos_ros.train.words_masks import TRAINED as MASK_PARTS
from robust_vos_ros.train.words_meaning import TRAINED as MEANING_PARTS
from robust_vos_ros.train.words_meaning import rate_at, total_norm_is_finite
from robust_vos_ros.train.words_motion import MotionPart
from robust_vos_ros.train.words_motion_scores import ask_both, fit_motion, score_clips
from robust_vos_ros.train.words_naming import Naming

WORDS_FILE = 'words.safetensors'
_MAX_GRAD_NORM = 1.0
_WARM_UP = 50
_LEAST = 0.3  # confidence at which scores are logged


@dataclasses.dataclass(frozen=True, slots=True)
class _Part:
    """One part of a training: its losses, and how they are minimized."""

    losses: nn.Module
    steps: int
    batch: int
    rate: float
    optimizer: torch.optim.AdamW

    @property
    def more(self) -> list[nn.Parameter]:
        """What is trained beside the module."""
        return self.optimizer.param_groups[1]['params']


class WordsTrainer:
    """One training of words in one folder.

    Args:
        settings: Of the training.
        out: Folder for checkpoint, weights, log and plot.
        resume: Continue from the checkpoint in `out`, otherwise there must be none.

    Raises:
        ConfigError: `out` has a checkpoint without `resume`, or one of other settings.
        WeightsError, DatasetError: A file cannot be used.
    """

    def __init__(self, settings: WordsTrainSettings, out: Path, *, resume: bool) -> None:
        self.settings, self.out, self.step = settings, out, 0
        if settings.num_threads:
            torch.set_num_threads(settings.num_threads)
        if (out / STATE_FILE).exists() and not resume:
            raise ConfigError(
                f'{out} has a training already; continue it with --resume, or choose another --out'
            )
        torch.manual_seed(settings.seed)
        self.model = frozen_model(settings)
        self._encoder = load_text_encoder()
        self.words = make_words(self.model, settings.words)
        self._naming = (
            None
            if settings.is_motion_alone
            else Naming(settings, self.model, self.words, self._encoder)
        )
        self._parts = self._make_parts()
        if settings.start:
            self._continue(Path(settings.start).expanduser())
        out.mkdir(parents=True, exist_ok=True)
        if resume:
            self._load()

    def run(self, on_step: Callable[[int, dict[str, Any]], None] | None = None) -> None:
        """Train to the last step, fit the judgement, and write the weights with their scores."""
        settings, began, line = self.settings, time.monotonic(), {}
        log = TrainingLog(self.out / LOG_FILE, self.step)
        run = {
            'steps': settings.steps, 'precision': 'fp32', 'processes': 1,
            'machine': device_name(self.model.device), 'threads': torch.get_num_threads(),
            'torch': torch.__version__, 'start_state': '',
        }  # fmt: skip
        log.note(self.step, 'run', run)
        while self.step < settings.steps:
            log.add(self._train_step())
            if self.step % settings.log_every == 0 or self.step == settings.steps:
                line = log.write(self.step, seconds=time.monotonic() - began)
            if on_step is not None:
                on_step(self.step, line)
            if self.step % settings.save_every == 0:
                self._save()
        self._save()
        log.note(self.step, 'words', self.finish())
        plot_log(self.out / LOG_FILE, self.out / PLOT_FILE)

    def finish(self) -> dict[str, dict[str, dict[str, float]]]:
        """Fit the judgement, write the weights, and return scores of held-out pictures."""
        self.words.eval()
        model, words, encoder = self.model, self.words, self._encoder
        scores = {}
        if self._naming is not None:
            self._naming.fit()
        if self.settings.motion_steps:
            names = words_of_clips(self.settings)
            asked = ask_both(film(self.settings, model, 'judge'), model, words, encoder, names)
            fit_motion(words, *asked)
            asked = ask_both(film(self.settings, model, 'test'), model, words, encoder, names)
            for name, some in zip(('motion', 'motion of any thing'), asked, strict=True):
                scores[name] = score_clips(words, some, _LEAST)
        path = self.out / WORDS_FILE
        replace_file(path, lambda temporary: save_words(temporary, words, model))
        return scores if self._naming is None else {**self._naming.score(_LEAST), **scores}

    def _train_step(self) -> dict[str, float]:
        settings, step = self.settings, self.step
        for part in self._parts:
            if step < part.steps:
                break
            step -= part.steps
        for group in part.optimizer.param_groups:
            group['lr'] = rate_at(step, part.steps, part.rate, _WARM_UP)
        torch.manual_seed(settings.seed + self.step)
        loss, stats = part.losses(part.batch)
        part.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        mine = [p for group in part.optimizer.param_groups for p in group['params']]
        if total_norm_is_finite(mine, _MAX_GRAD_NORM):
            part.optimizer.step()
        self.step += 1
        return {'loss': float(loss.detach()), **stats}

    def _make_parts(self) -> list[_Part]:
        one, words = self.settings, self.words
        parts: list[_Part] = []
        if self._naming is not None:
            meaning, masks = self._naming.meaning, self._naming.masks
            optimizer = self._optimizer(MEANING_PARTS, [meaning.sharpness])
            parts.append(
                _Part(meaning, one.meaning_steps, one.meaning_batch, one.meaning_rate, optimizer)
            )
            optimizer = self._optimizer(MASK_PARTS, [])
            parts.append(_Part(masks, one.mask_steps, one.mask_batch, one.mask_rate, optimizer))
        if one.motion_steps:
            clips = watch(film(one, self.model, 'train'), words.motion)
            losses = MotionPart(words.motion, self._encoder, clips, one.seed)
            optimizer = self._optimizer(('motion',), [])
            parts.append(
                _Part(losses, one.motion_steps, one.motion_batch, one.motion_rate, optimizer)
            )
        return parts

    def _optimizer(self, parts: tuple[str, ...], more: list[nn.Parameter]) -> torch.optim.AdamW:
        mine = [
            p
            for name, p in self.words.named_parameters()
            if name.split('.')[0] in parts and p.requires_grad
        ]
        return torch.optim.AdamW([{'params': mine, 'weight_decay': 0.03}, {'params': more}], 1e-3)

    def _continue(self, path: Path) -> None:
        """Take over the words of an earlier training, but for motion if that is trained."""
        state = load_words(path, self.model).state_dict()
        new = (
            ('motion.', 'moving_judgement.', 'any_judgement.')
            if self.settings.motion_steps
            else ()
        )
        self.words.rivals = nn.Parameter(state['rivals'].clone(), requires_grad=False)
        kept = {name: tensor for name, tensor in state.items() if not name.startswith(new)}
        self.words.load_state_dict(kept, strict=False)

    def _save(self) -> None:
        state = {
            'settings': self.settings.model_dump(mode='json'),
            'step': self.step,
            'words': self.words.state_dict(),
            'more': [p.detach() for part in self._parts for p in part.more],
            'optimizers': [part.optimizer.state_dict() for part in self._parts],
        }
        replace_file(self.out / STATE_FILE, lambda path: torch.save(state, path))

    def _load(self) -> None:
        path = self.out / STATE_FILE
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location='cpu', weights_only=True)
            same = state['settings'] == self.settings.model_dump(mode='json')
            if same:
                self.step = state['step']
                self.words.load_state_dict(state['words'])
                more = [p for part in self._parts for p in part.more]
                for mine, have in zip(more, state['more'], strict=True):
                    mine.data.copy_(have)
                for part, have in zip(self._parts, state['optimizers'], strict=True):
                    part.optimizer.load_state_dict(have)
        except Exception as error:  # torch raises anything from EOFError to UnpicklingError here
            raise WeightsError(f'{path} is not a checkpoint of words: {error}') from error
        if not same:
            raise ConfigError(
                f'{path}: expected the same settings as before; change them back, or choose '
                'another --out'
            )


def frozen_model(settings: WordsTrainSettings) -> Model:
    """Return the network without the fusions of inference, through which no gradient flows.

    Raises:
        ConfigError, WeightsError: There is no such model, or its weights do not fit.
    """
    path = find_weights(load_spec(settings.model), settings.weights)
    model = build_model(
        TrainSettings(
            model=settings.model, weights=str(path), frozen=[''], device='cpu', precision='fp32'
        )
    )
    model.net.eval()
    model.encoder_hash = hash_encoder(read_state_dict(path))
    return model
