"""Scores on a development split while a training runs, and the best weights so far."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from robust_vos_ros.train.export import Export

BEST_FILE = 'best.safetensors'


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """How good weights are, in percent.

    Attributes:
        jf: Mean J&F, which the best weights are chosen by.
        prompts: What it is the mean of, by the form of the prompts, for the log.
    """

    jf: float
    prompts: dict[str, dict[str, Any]]


# Scores a file that a training makes. The code that compares models does it, which this package
# does not know: who starts a training hands it in.
Scorer = Callable[[Path], Score]


@dataclasses.dataclass(frozen=True, slots=True)
class Best:
    """The best score so far: J&F in percent, and its step."""

    step: int
    jf: float


class Validation:
    """Scores the moving average, in the form in which it would be shipped, and keeps the best.

    Args:
        out: Folder of the training.
        export: What it makes.
        score: Scores a file of it.

    Attributes:
        best: None before the first score.
    """

    def __init__(self, out: Path, export: Export, score: Scorer) -> None:
        self.best: Best | None = None
        self._out, self._export, self._score = out, export, score

    def run(self, step: int, average: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Score the moving average of a step; returns what the log says of it."""
        start_s = time.monotonic()
        candidate = self._out / f'candidate_{BEST_FILE}'
        self._export.save(candidate, average)
        with torch.random.fork_rng(devices=[]):  # scoring changes nothing that is learned
            score = self._score(candidate)
        if self.best is None or score.jf > self.best.jf:
            self.best = Best(step, score.jf)
            candidate.replace(self._out / BEST_FILE)
        else:
            candidate.unlink()
        return {
            **dataclasses.asdict(score),
            'best': dataclasses.asdict(self.best),
            'seconds': round(time.monotonic() - start_s, 1),
        }
