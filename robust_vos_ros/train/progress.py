"""A training with a progress bar."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robust_vos_ros.train.config import TrainSettings
from robust_vos_ros.train.trainer import Trainer
from robust_vos_ros.train.validation import Scorer


def train_with_progress(
    settings: TrainSettings,
    out: Path,
    *,
    resume: bool,
    make_scorer: Callable[[TrainSettings], Scorer],
) -> None:
    """Train to the last step and show the progress; arguments and errors as for `Trainer`."""
    trainer = Trainer(settings, out, resume=resume, make_scorer=make_scorer)
    console = Console(stderr=True, quiet=trainer.process.rank != 0)
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn('{task.fields[news]}'),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(
            settings.model, total=settings.steps, completed=trainer.step, news=''
        )

        def show(step: int, line: dict[str, Any]) -> None:
            shown = [name for name in ('loss', 'J') if name in line]
            news = '  '.join(f'{name} {line[name]:.3f}' for name in shown)
            if trainer.validation and trainer.validation.best:
                news += f'  best J&F {trainer.validation.best.jf:.1f}'
            progress.update(task, completed=step, news=news)

        trainer.run(show)
    console.print(f'{trainer.step} of {settings.steps} steps done; results in {out}')
