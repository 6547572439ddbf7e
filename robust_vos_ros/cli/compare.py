"""`robust-vos compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from robust_vos_ros.cli.base import app, progress_bar, reports_errors
from robust_vos_ros.cli.options import Device, Layout, Split, Threads
from robust_vos_ros.core.errors import ConfigError

if TYPE_CHECKING:
    from robust_vos_ros.core.network.model import Model
    from robust_vos_ros.eval.clip_scores import ClipRow

_STILL_FRAMES, _STILL_SIZE = 10, 384  # of a clip of a still image
_MAX_OBJECTS = 5
_FILE_COLUMNS = 1000  # width of a table in a file


@app.command()
@reports_errors
def compare(
    root: Annotated[Path, typer.Argument(help='Folder of a data set with masks of all frames.')],
    weights: Annotated[
        list[str] | None,
        typer.Option(
            '--weights',
            help='NAME=FILE for weights of nano, NAME=MODEL:FILE for another model; without FILE '
            'its own weights. May be repeated.',
        ),
    ] = None,
    split: Split = '',
    layout: Layout = 'folders',
    stills: Annotated[
        Path | None,
        typer.Option(help='Folder of still images: also score clips of the held-out ones.'),
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help='Number of clips of stills.')] = 60,
    device: Device = 'auto',
    threads: Threads = 2,
    json_path: Annotated[
        Path | None, typer.Option('--json', help='JSON file for the scores.')
    ] = None,
) -> None:
    """Score weights, and trackers without training, on a data set by the protocol of DAVIS."""
    from robust_vos_ros.data.video_folder import open_dataset
    from robust_vos_ros.eval import compare as comparison
    from robust_vos_ros.files import write_json

    dataset = open_dataset(root, layout=layout, split=split)
    models = _load_models(weights or [], device, threads)
    methods = comparison.baseline_methods()
    for name, model in models.items():
        methods += comparison.network_methods(name, model)
    with progress_bar('tracking', len(methods) * len(dataset)) as advance:
        rows = comparison.compare(methods, dataset, on_track=advance)
    table, console = comparison.make_table(rows), Console()
    if not console.is_terminal:
        console.width = _FILE_COLUMNS
    console.print(table)
    report = comparison.make_report(rows, models, root=root, split=split)
    if stills is not None:
        report |= _compare_on_stills(models, stills, clips, console)
    if json_path:
        write_json(json_path, report)


def _load_models(weights: list[str], device: str, threads: int) -> dict[str, Model]:
    """Load the networks of --weights, by name."""
    from robust_vos_ros.core.network.checkpoints import load_model
    from robust_vos_ros.core.settings import ModelSettings, parse_settings
    from robust_vos_ros.eval.compare import parse_weights

    models: dict[str, Model] = {}
    for name, model, file in map(parse_weights, weights):
        if name in models:
            raise ConfigError(f'expected another name for each --weights, got {name!r} twice')
        settings = {'name': model, 'checkpoint': file, 'device': device, 'num_threads': threads}
        models[name] = load_model(parse_settings(ModelSettings, settings))
        models[name].warm_up()
    return models


def _compare_on_stills(
    models: dict[str, Model], root: Path, count: int, console: Console
) -> dict[str, Any]:
    """Print the scores on clips of held-out still images; return them for the JSON file."""
    from robust_vos_ros.eval.clip_scores import make_clip_report, make_clip_table, make_size_table

    report = {}
    for title, max_objects in (('one object', 1), ('several objects', _MAX_OBJECTS)):
        rows = _score_stills(models, root, count, max_objects)
        console.print(make_clip_table(rows, title))
        if max_objects > 1:
            console.print(make_size_table(rows))
        report[f'stills, {title}'] = make_clip_report(rows)
    return report


def _score_stills(
    models: dict[str, Model], root: Path, count: int, max_objects: int
) -> list[ClipRow]:
    """Score clips of held-out still images; the clips are the same on every call."""
    from robust_vos_ros.data.pseudo_clips import pseudo_clips
    from robust_vos_ros.eval.clip_scores import score_clips

    clips = pseudo_clips(
        root, count=count, num_frames=_STILL_FRAMES, size=_STILL_SIZE, max_objects=max_objects
    )
    with progress_bar('clips of stills', count) as advance:
        return score_clips(models, clips, on_clip=advance)
