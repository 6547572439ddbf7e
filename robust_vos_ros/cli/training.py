"""`robust-vos train` and `robust-vos compare`."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
        bool, typer.Option('--resume', help='Go on from the checkpoint in --out.')
    ] = False,
    status: Annotated[
        bool,
        typer.Option('--status', help='Print where the training in --out is; starts nothing.'),
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
    from robust_vos_ros.train.config import load_settings
    from robust_vos_ros.train.progress import train_with_progress

    settings = load_settings(config, change or [])
    train_with_progress(settings, out, resume=resume, make_scorer=make_scorer)


@app.command()
@reports_errors
def compare(
    root: Annotated[Path, typer.Argument(help='Folder of a data set with masks of all frames.')],
    weights: Annotated[
        list[str] | None,
        typer.Option(
            '--weights',
            help='NAME=FILE of nano, NAME=MODEL:FILE of another model; no FILE = its own weights.',
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help='Split, such as val; default: all, if the layout allows it.')
    ] = '',
    layout: Annotated[
        str, typer.Option(help='Arrangement of the data set, such as folders or davis2016.')
    ] = 'folders',
    device: Annotated[str, typer.Option(help='Torch device.')] = 'auto',
    threads: Annotated[int, typer.Option(min=0, help='CPU threads; 0 = all.')] = 2,
    json_path: Annotated[
        Path | None, typer.Option('--json', help='JSON file for the numbers.')
    ] = None,
) -> None:
    """Score weights, and trackers without training, on one data set by the DAVIS protocol."""
    from rich.progress import Progress

    from robust_vos_ros.core.config import ModelSettings, parse_settings
    from robust_vos_ros.core.network import load_model
    from robust_vos_ros.data.video_folder import open_dataset
    from robust_vos_ros.eval import compare as comparison

    dataset = open_dataset(root, layout=layout, split=split)
    entrants, models = comparison.baselines(), {}
    for name, model, file in map(comparison.parse_weights, weights or []):
        if name in models:
            raise ConfigError(f'expected another name for each --weights, got {name!r} twice')
        settings = {'name': model, 'checkpoint': file, 'device': device, 'num_threads': threads}
        models[name] = load_model(parse_settings(ModelSettings, settings))
        models[name].warm_up()
        entrants += comparison.network_entrants(name, models[name])
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task('tracking', total=len(entrants) * len(dataset))
        advance = functools.partial(progress.advance, task)
        rows = comparison.compare(entrants, dataset, on_track=advance)
    table, console = comparison.make_table(rows), Console()
    if not console.is_terminal:  # a file can be as wide as the table
        console.width = 1000
    console.print(table)
    if json_path:
        report = comparison.make_report(rows, models, root=root, split=split)
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')


def _print_status(out: Path, as_json: bool) -> None:
    from robust_vos_ros.train.status import describe, read_status

    status = read_status(out)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(status), indent=2))
    else:
        typer.echo(describe(status))
