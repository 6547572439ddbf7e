"""`robust-vos calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, reports_errors


@app.command()
@reports_errors
def calibrate(
    dataset: Annotated[
        Path | None, typer.Argument(help='Folder of a data set; default: drawn clips only.')
    ] = None,
    layout: Annotated[str, typer.Option(help='Its arrangement.')] = 'folders',
    split: Annotated[str, typer.Option(help='Its split.')] = '',
    exclude: Annotated[
        str, typer.Option(help='Text file in it: sequences that are not used.')
    ] = '',
    model: Annotated[str, typer.Option(help='Model to calibrate.')] = 'nano',
    checkpoint: Annotated[str, typer.Option(help="Its weights; default: the model's own.")] = '',
    adapter: Annotated[str, typer.Option(help='Its adapter.')] = 'auto',
    clips: Annotated[int, typer.Option(min=0, help='Long rendered clips.')] = 8,
    frames: Annotated[int, typer.Option(min=2, help='Frames of each.')] = 300,
    conditions: Annotated[
        int, typer.Option(min=1, max=9, help='Times each sequence is used: clean, then corrupted.')
    ] = 4,
    seed: Annotated[
        int, typer.Option(min=0, help='Of clips and weather; take one no benchmark uses.')
    ] = 1000,
    out: Annotated[Path, typer.Option(help='Calibration file; put it beside the weights.')] = Path(
        'out/calibration.json'
    ),
) -> None:
    """Fit what a model says of its masks to how often they are right, in all weather."""
    from rich.progress import track

    from robust_vos_ros.core.config import ModelSettings, parse_settings
    from robust_vos_ros.core.network import load_model
    from robust_vos_ros.eval.calibration_clips import make_clips
    from robust_vos_ros.eval.fitting import Samples, fit

    values = {'name': model, 'checkpoint': checkpoint, 'adapter': adapter, 'calibration': 'none'}
    network = load_model(parse_settings(ModelSettings, values))
    sources = make_clips(
        dataset, layout=layout, split=split, exclude=exclude, conditions=conditions,
        num_clips=clips, num_frames=frames, seed=seed,
    )  # fmt: skip
    samples = Samples()
    for source in track(sources, description='tracking'):
        samples.collect(network, source.frames())
    names = sorted({source.kind for source in sources})
    data = f'{len(sources)} clips ({", ".join(names)}), seed {seed}'
    file = fit(samples, network, data)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(file.model_dump_json(indent=2) + '\n', encoding='utf-8')
    typer.echo(f'{out}: {file.samples} masks, {sum(samples.right) / file.samples:.1%} right')
