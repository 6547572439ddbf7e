"""Training of words for a frozen model: what cells mean, then masks, then the judgement."""

from __future__ import annotations

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
from robust_vos_ros.core.words.finder import make_words, save_words
from robust_vos_ros.core.words.text import load_text_encoder
from robust_vos_ros.files import replace_file
from robust_vos_ros.train.checkpoint import STATE_FILE
from robust_vos_ros.train.config import TrainSettings
from robust_vos_ros.train.network import build_model
from robust_vos_ros.train.training_log import LOG_FILE, PLOT_FILE, TrainingLog, plot_log
from robust_vos_ros.train.words_config import WordsTrainSettings
from robust_vos_ros.train.words_judgement import ask, fit_judgement, score
from robust_vos_ros.train.words_masks import TRAINED as MASK_PARTS
from robust_vos_ros.train.words_masks import MaskPart
from robust_vos_ros.train.words_meaning import TRAINED as MEANING_PARTS
from robust_vos_ros.train.words_meaning import MeaningPart, rate_at, total_norm_is_finite
from robust_vos_ros.train.words_memory import fit_memory, make_pairs
from robust_vos_ros.train.words_pictures import read_pictures
from robust_vos_ros.train.words_teacher import Teacher

WORDS_FILE = 'words.safetensors'
_MAX_GRAD_NORM = 1.0
_WARM_UP = 50
_PAIRED = 600  # pictures on which the conditional memory is trained
_LEAST = 0.3  # confidence at which scores are logged


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
        teacher = Teacher() if settings.teacher else None
        self._pictures = read_pictures(settings, self.model, teacher)
        without = [*settings.unseen, *settings.teacher_without]
        classes = None if teacher is None else (teacher.names, teacher.usable(without))
        self._meaning = MeaningPart(
            self.words, self._encoder, self._pictures.train, classes, settings.seed
        )
        self._masks = MaskPart(
            self.words,
            self.model,
            self._encoder,
            self._pictures.train,
            names=self._meaning.names,
            absent=settings.absent,
            seed=settings.seed,
        )
        self._optimizers = (
            self._optimizer(MEANING_PARTS, [self._meaning.sharpness]),
            self._optimizer(MASK_PARTS, []),
        )
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
        model, words, encoder, names = self.model, self.words, self._encoder, self._meaning.names
        sentences = torch.stack([encoder.encode(name).sentence for name in names])
        with torch.no_grad():
            rivals = words.names(sentences)
        words.rivals = nn.Parameter(rivals, requires_grad=False)
        judged = ask(self._pictures.judge, model, words, encoder, absent=names)
        fit_judgement(words, judged, rivals)
        seed = self.settings.seed
        pairs = make_pairs(
            self._pictures.train[:_PAIRED], model, words, encoder, names=names, seed=seed
        )
        fit_memory(words, pairs, seed)
        path = self.out / WORDS_FILE
        replace_file(path, lambda temporary: save_words(temporary, words, model))
        tested = ask(self._pictures.test, model, words, encoder, absent=names, only=names)
        unseen = [*self._pictures.unseen, *self._pictures.test]
        new = ask(unseen, model, words, encoder, absent=(), only=self.settings.unseen)
        return {
            'known': score(words, tested, _LEAST) if tested else {},
            'unseen': score(words, new, _LEAST) if new else {},
        }

    def _train_step(self) -> dict[str, float]:
        settings, step = self.settings, self.step
        first = step < settings.meaning_steps
        if first:
            part, optimizer, size = self._meaning, self._optimizers[0], settings.meaning_batch
            rate = rate_at(step, settings.meaning_steps, settings.meaning_rate, _WARM_UP)
        else:
            part, optimizer, size = self._masks, self._optimizers[1], settings.mask_batch
            later = step - settings.meaning_steps
            rate = rate_at(later, settings.mask_steps, settings.mask_rate, _WARM_UP)
        for group in optimizer.param_groups:
            group['lr'] = rate
        torch.manual_seed(settings.seed + step)
        loss, stats = part(size)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        mine = [p for group in optimizer.param_groups for p in group['params']]
        if total_norm_is_finite(mine, _MAX_GRAD_NORM):
            optimizer.step()
        self.step += 1
        return {'loss': float(loss.detach()), **stats}

    def _optimizer(self, parts: tuple[str, ...], more: list[nn.Parameter]) -> torch.optim.AdamW:
        mine = [
            p
            for name, p in self.words.named_parameters()
            if name.split('.')[0] in parts and p.requires_grad
        ]
        return torch.optim.AdamW([{'params': mine, 'weight_decay': 0.03}, {'params': more}], 1e-3)

    def _save(self) -> None:
        state = {
            'settings': self.settings.model_dump(mode='json'),
            'step': self.step,
            'words': self.words.state_dict(),
            'meaning': self._meaning.sharpness.detach(),
            'optimizers': [optimizer.state_dict() for optimizer in self._optimizers],
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
                self._meaning.sharpness.data.copy_(state['meaning'])
                for optimizer, have in zip(self._optimizers, state['optimizers'], strict=True):
                    optimizer.load_state_dict(have)
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
