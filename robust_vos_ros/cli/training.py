"""`robust-vos train`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, reports_errors
from robust_vos_ros.core.errors import ConfigError


@app.command()
@reports_errors
def train(
    config: Annotated[
        Path | None, typer.Argument(help='Training file, such as config/train/nano.yaml.')
    ] = None,
    out: Annotated[
        Path, typer.Option(help='Folder for checkpoint, weights, log and plot.')
    ] = Path('out/train'),
    change: Annotated[
        list[str] | None,
        typer.Option('--set', help='Change a setting: key=value or section.key=value.'),
    ] = None,
    resume: Annotated[
        bool, typer.Option('--resume', help='Continue from the checkpoint in --out.')
    ] = False,
    status: Annotated[
        bool,
        typer.Option('--status', help='Print the status of the training in --out, and exit.'),
    ] = False,
    as_json: Annotated[bool, typer.Option('--json', help='Print the status as JSON.')] = False,
) -> None:
    """Train a model; several GPUs: torchrun --nproc-per-node N -m robust_vos_ros.cli train ..."""
    if status:
        _print_status(out, as_json)
        return
    if config is None:
        raise ConfigError(
            'expected a training file such as config/train/nano.yaml, or --status, got neither'
        )
    from robust_vos_ros.cli.scoring import make_scorer
    from robust_vos_ros.train.config import load_settings, read_values
    from robust_vos_ros.train.progress import train_with_progress, train_words_with_progress

    values = read_values(config, change or [])
    if 'words' in values:
        train_words_with_progress(values, out, resume=resume)
        return
    settings = load_settings(config, change or [])
    train_with_progress(settings, out, resume=resume, make_scorer=make_scorer)


def _print_status(out: Path, as_json: bool) -> None:
    from robust_vos_ros.train.status import describe, read_status

    status = read_status(out)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(status), indent=2))
    else:
        typer.echo(describe(status))
