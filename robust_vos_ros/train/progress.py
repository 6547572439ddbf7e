"""A training with a progress bar."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.train.config import TrainSettings
from robust_vos_ros.train.trainer import Trainer
from robust_vos_ros.train.validation import Scorer
from robust_vos_ros.train.words_config import WordsTrainSettings
from robust_vos_ros.train.words_trainer import WordsTrainer


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


def train_words_with_progress(values: dict[str, Any], out: Path, *, resume: bool) -> None:
    """Train words to the last step and show the progress; arguments as for `WordsTrainer`.

    Args:
        values: Of the training file.
        out: As for `WordsTrainer`; `resume` likewise.
    """
    settings = parse_settings(WordsTrainSettings, values)
    console = Console(stderr=True)
    console.print('encoding the pictures')
    trainer = WordsTrainer(settings, out, resume=resume)
    with Progress(TextColumn('words'), BarColumn(), MofNCompleteColumn(), console=console) as bar:
        task = bar.add_task('', total=settings.steps, completed=trainer.step)
        trainer.run(lambda step, _: bar.update(task, completed=step))
    console.print(f'{trainer.step} of {settings.steps} steps done; results in {out}')
