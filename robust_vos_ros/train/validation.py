"""Scores on a development split during a training, and the best weights so far."""

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
    """Score of weights, in percent.

    Attributes:
        jf: Mean J&F over the forms of the prompts; the best weights have the highest.
        prompts: Scores by the form of the prompts, for the log.
    """

    jf: float
    prompts: dict[str, dict[str, Any]]


# Scores a file of weights, or an adapter. The caller passes it, as train/ must not import eval/.
Scorer = Callable[[Path], Score]


@dataclasses.dataclass(frozen=True, slots=True)
class Best:
    """The best score so far: its step, and J&F in percent."""

    step: int
    jf: float


class Validation:
    """Scores the moving average as it is exported, and keeps the best one.

    Args:
        out: Folder of the training.
        export: Writes the file that is scored.
        score: Scores it.

    Attributes:
        best: None before the first score.
    """

    def __init__(self, out: Path, export: Export, score: Scorer) -> None:
        self.best: Best | None = None
        self._out, self._export, self._score = out, export, score

    def run(self, step: int, average: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Score the moving average of a step, and return the content of its line in the log."""
        start_s = time.monotonic()
        candidate = self._out / f'candidate_{BEST_FILE}'
        self._export.save(candidate, average)
        with torch.random.fork_rng(devices=[]):  # scoring must not change the training
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
