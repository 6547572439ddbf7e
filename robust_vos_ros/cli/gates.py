"""`robust-vos gates`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, reports_errors


@app.command()
@reports_errors
def gates(
    root: Annotated[Path, typer.Argument(metavar='DATASET', help='Folder of a data set.')],
    sequence: Annotated[str, typer.Argument(help='Name of a sequence.')],
    adapter: Annotated[str, typer.Argument(help='File of an adapter, or a shipped one.')],
    model: Annotated[str, typer.Option(help='Its model.')] = 'nano',
    layout: Annotated[str, typer.Option(help='Arrangement of the data set.')] = 'folders',
    split: Annotated[str, typer.Option(help='Split, where the layout needs one.')] = '',
    corruption: Annotated[str, typer.Option(help='Corruption, such as fog.')] = 'fog',
    severity: Annotated[float, typer.Option(min=0.0, max=5.0, help='Severity, 0 to 5.')] = 5.0,
    profile: Annotated[
        str, typer.Option(help='Severity over time: constant, ramp, burst or fourier.')
    ] = 'burst',
    out: Annotated[Path, typer.Option(help='PNG file.')] = Path('out/gates.png'),
) -> None:
    """Draw the gates of an adapter over time, for each object, under changing weather."""
    from robust_vos_ros.core.network.checkpoints import load_model
    from robust_vos_ros.core.settings import ModelSettings, parse_settings
    from robust_vos_ros.data.severity import Profile
    from robust_vos_ros.data.video_folder import open_dataset
    from robust_vos_ros.eval.gates import plot_gates, record_gates

    network = load_model(parse_settings(ModelSettings, {'name': model, 'adapter': adapter}))
    clip = open_dataset(root, layout=layout, split=split)[sequence]
    course = Profile(profile, severity, clip.num_frames)
    table, severities = record_gates(network, clip, corruption, course)
    out.parent.mkdir(parents=True, exist_ok=True)
    plot_gates(table, severities, out, f'{sequence}, {corruption}')
    typer.echo(out)
