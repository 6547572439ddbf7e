"""`robust-vos calibrate`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from robust_vos_ros.cli.base import app, reports_errors


@app.command()
@reports_errors
def calibrate(
    dataset: Annotated[
        Path | None, typer.Argument(help='Folder of a data set; default: drawn objects only.')
    ] = None,
    layout: Annotated[str, typer.Option(help='Its arrangement.')] = 'folders',
    split: Annotated[str, typer.Option(help='Its split.')] = '',
    exclude: Annotated[
        str, typer.Option(help='Text file in it: sequences that are not used.')
    ] = '',
    model: Annotated[str, typer.Option(help='Model to calibrate.')] = 'nano',
    checkpoint: Annotated[str, typer.Option(help="Its weights; default: the model's own.")] = '',
    adapter: Annotated[str, typer.Option(help='Its adapter.')] = 'auto',
    clips: Annotated[
        int,
        typer.Option(
            min=0,
            help='Long rendered clips; with a data set every second one shows objects of it.',
        ),
    ] = 24,
    frames: Annotated[int, typer.Option(min=2, help='Frames of each.')] = 400,
    conditions: Annotated[
        int, typer.Option(min=1, max=9, help='Times each sequence is used: clean, then corrupted.')
    ] = 3,
    contact: Annotated[
        int,
        typer.Option(
            min=0, help='Clips of small objects of the data set on large ones, 120 frames each.'
        ),
    ] = 24,
    embedding_clips: Annotated[
        int, typer.Option(min=0, help='Further rendered clips, to learn what tells objects apart.')
    ] = 40,
    rounds: Annotated[
        int,
        typer.Option(min=1, max=9, help='Times all clips are tracked, each with the last fit.'),
    ] = 3,
    processes: Annotated[int, typer.Option(min=1, help='Processes, of one thread each.')] = 1,
    seed: Annotated[
        int, typer.Option(min=0, help='Of clips and weather; take one no benchmark uses.')
    ] = 1000,
    out: Annotated[Path, typer.Option(help='Calibration file; put it beside the weights.')] = Path(
        'out/calibration.json'
    ),
) -> None:
    """Fit what a model says of its masks to how often they are right, in all weather."""
    from robust_vos_ros.core.settings import ModelSettings, parse_settings
    from robust_vos_ros.eval import calibrating
    from robust_vos_ros.eval.calibration_clips import make_clips, make_rendered
    from robust_vos_ros.eval.datasets import FolderSet

    values = {'name': model, 'checkpoint': checkpoint, 'adapter': adapter, 'calibration': 'none'}
    settings = parse_settings(ModelSettings, values)
    data = None
    if dataset is not None:
        data = FolderSet(root=dataset.resolve(), layout=layout, split=split, exclude=exclude)
    sources = make_clips(
        data,
        conditions=conditions,
        num_clips=clips,
        num_frames=frames,
        seed=seed,
        num_contact=contact,
    )
    numbers = range(clips, clips + embedding_clips)
    more = make_rendered(data, numbers, num_frames=frames, seed=seed)
    names = sorted({source.kind for source in sources})
    file = calibrating.calibrate(
        settings, sources, more,
        rounds=rounds,
        data=f'{len(sources)} clips ({", ".join(names)}), looks of {len(more)} more, seed {seed}',
        processes=processes,
        progress=_show,
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(file.model_dump_json(indent=1) + '\n', encoding='utf-8')
    typer.echo(f'{out}: fitted to {file.samples} masks')


def _show(title: str, total: int, items: Iterator[Any]) -> Iterator[Any]:
    from rich.progress import track

    return iter(track(items, description=title, total=total))
