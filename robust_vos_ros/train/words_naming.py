"""The first two parts of the training of words, which learn from pictures what things are."""

from __future__ import annotations

import torch
from torch import nn

from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.words.module import Words
from robust_vos_ros.core.words.text import TextEncoder
from robust_vos_ros.train.words_config import WordsTrainSettings
from robust_vos_ros.train.words_judgement import GOOD_IOU, ask, fit_judgement, score
from robust_vos_ros.train.words_masks import MaskPart
from robust_vos_ros.train.words_meaning import MeaningPart
from robust_vos_ros.train.words_memory import fit_memory, make_pairs
from robust_vos_ros.train.words_pictures import read_pictures
from robust_vos_ros.train.words_teacher import Teacher

_PAIRED = 600  # pictures on which the conditional memory is trained


class Naming:
    """Encoded pictures, both parts, and what is fitted and scored after them.

    Args:
        settings: Of the training.
        model: The frozen network.
        words: The module that is trained.
        encoder: Text network.

    Attributes:
        meaning: Losses of the first part.
        masks: Losses of the second part.
    """

    def __init__(
        self, settings: WordsTrainSettings, model: Model, words: Words, encoder: TextEncoder
    ) -> None:
        self._settings, self._model, self._words = settings, model, words
        self._encoder = encoder
        teacher = Teacher() if settings.teacher else None
        self._pictures = read_pictures(settings, model, teacher)
        train = self._pictures.train
        without = [*settings.unseen, *settings.teacher_without]
        classes = None if teacher is None else (teacher.names, teacher.usable(without))
        self.meaning = MeaningPart(words, encoder, train, classes, settings.seed)
        self.masks = MaskPart(
            words,
            model,
            encoder,
            train,
            names=self.meaning.names,
            absent=settings.absent,
            seed=settings.seed,
        )

    def fit(self) -> None:
        """Fit the judgement and the conditional memory."""
        model, words, encoder, names = self._model, self._words, self._encoder, self.meaning.names
        sentences = torch.stack([encoder.encode(name).sentence for name in names])
        with torch.no_grad():
            words.rivals = nn.Parameter(words.names(sentences), requires_grad=False)
        judged = ask(self._pictures.judge, model, words, encoder, absent=names)
        fit_judgement(
            words.judgement,
            torch.cat([one.evidence for one in judged]),
            torch.cat([one.iou for one in judged]) > GOOD_IOU,
        )
        seed = self._settings.seed
        some = self._pictures.train[:_PAIRED]
        pairs = make_pairs(some, model, words, encoder, names=names, seed=seed)
        fit_memory(words, pairs, seed)

    def score(self, least: float) -> dict[str, dict[str, dict[str, float]]]:
        """Return scores of held-out pictures, by words that were trained and others."""
        model, words, encoder, names = self._model, self._words, self._encoder, self.meaning.names
        tested = ask(self._pictures.test, model, words, encoder, absent=names, only=names)
        pictures = [*self._pictures.unseen, *self._pictures.test]
        new = ask(pictures, model, words, encoder, absent=(), only=self._settings.unseen)
        return {
            'known': score(words, tested, least) if tested else {},
            'unseen': score(words, new, least) if new else {},
        }
