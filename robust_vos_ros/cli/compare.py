"""`robust-vos compare`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from robust_vos_ros.cli.base import app, reports_errors
from robust_vos_ros.core.errors import ConfigError

if TYPE_CHECKING:
    from robust_vos_ros.core.network.model import Model
    from robust_vos_ros.eval.clip_scores import ClipRow

_STILL_FRAMES = 10  # of a clip of a still image
_STILL_SIZE = 384
_MOST_OBJECTS = 5


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
    stills: Annotated[
        Path | None,
        typer.Option(help='Folder of still images: also score clips of those held out.'),
    ] = None,
    clips: Annotated[int, typer.Option(min=1, help='Number of clips of stills.')] = 60,
    device: Annotated[str, typer.Option(help='Torch device.')] = 'auto',
    threads: Annotated[int, typer.Option(min=0, help='CPU threads; 0 = all.')] = 2,
    json_path: Annotated[
        Path | None, typer.Option('--json', help='JSON file for the numbers.')
    ] = None,
) -> None:
    """Score weights, and trackers without training, on one data set by the DAVIS protocol."""
    from rich.progress import Progress

    from robust_vos_ros.core.network.checkpoints import load_model
    from robust_vos_ros.core.settings import ModelSettings, parse_settings
    from robust_vos_ros.data.video_folder import open_dataset
    from robust_vos_ros.eval import compare as comparison
    from robust_vos_ros.eval.clip_scores import make_clip_report, make_clip_table, make_size_table
    from robust_vos_ros.files import write_json

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
    report = comparison.make_report(rows, models, root=root, split=split)
    if stills is not None:
        for title, most in (('one object', 1), ('several objects', _MOST_OBJECTS)):
            clip_rows = _score_stills(models, stills, clips, most)
            console.print(make_clip_table(clip_rows, title))
            if most > 1:
                console.print(make_size_table(clip_rows))
            report[f'stills, {title}'] = make_clip_report(clip_rows)
    if json_path:
        write_json(json_path, report)


def _score_stills(
    models: dict[str, Model], root: Path, count: int, max_objects: int
) -> list[ClipRow]:
    """Score clips of held-out still images, which are the same on every call."""
    from rich.progress import Progress

    from robust_vos_ros.data.pseudo_clips import pseudo_clips
    from robust_vos_ros.eval.clip_scores import score_clips

    clips = pseudo_clips(
        root, count=count, num_frames=_STILL_FRAMES, size=_STILL_SIZE, max_objects=max_objects
    )
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task('clips of stills', total=count)
        return score_clips(models, clips, on_clip=functools.partial(progress.advance, task))
