"""`robust-vos gates`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, reports_errors
from robust_vos_ros.cli.options import Layout, Model, Severity, SeverityProfile, Split


@app.command()
@reports_errors
def gates(
    root: Annotated[Path, typer.Argument(metavar='DATASET', help='Folder of a data set.')],
    sequence: Annotated[str, typer.Argument(help='Name of a sequence.')],
    adapter: Annotated[
        str, typer.Argument(help='File of an adapter, or the name of a shipped one.')
    ],
    model: Model = 'nano',
    layout: Layout = 'folders',
    split: Split = '',
    corruption: Annotated[str, typer.Option(help='Corruption, such as fog.')] = 'fog',
    severity: Severity = 5.0,
    profile: SeverityProfile = 'burst',
    out: Annotated[Path, typer.Option(help='PNG file to write.')] = Path('out/gates.png'),
) -> None:
    """Plot the gates of an adapter over time, for each object, under a corruption."""
    from robust_vos_ros.core.network.checkpoints import load_model
    from robust_vos_ros.core.settings import ModelSettings, parse_settings
    from robust_vos_ros.data.severity import Profile
    from robust_vos_ros.data.video_folder import open_dataset
    from robust_vos_ros.eval.gates import plot_gates, record_gates

    network = load_model(parse_settings(ModelSettings, {'name': model, 'adapter': adapter}))
    clip = open_dataset(root, layout=layout, split=split)[sequence]
    over_time = Profile(profile, severity, clip.num_frames)
    table, severities = record_gates(network, clip, corruption, over_time)
    out.parent.mkdir(parents=True, exist_ok=True)
    plot_gates(table, severities, out, f'{sequence}, {corruption}')
    typer.echo(out)
