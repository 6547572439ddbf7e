"""`robust-vos gates`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, progress_bar, reports_errors
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
    corruption: Annotated[
        str,
        typer.Option(help='Corruptions and presets, separated by commas, one after the other.'),
    ] = 'fog',
    severity: Severity = 5.0,
    profile: SeverityProfile = 'burst',
    out: Annotated[Path, typer.Option(help='PNG file to write.')] = Path('out/gates.png'),
) -> None:
    """Plot the gates of an adapter over time, and print what changes them."""
    from robust_vos_ros.core.network.checkpoints import load_model
    from robust_vos_ros.core.settings import ModelSettings, parse_settings
    from robust_vos_ros.data.corruption import find_corruptions
    from robust_vos_ros.data.severity import Profile
    from robust_vos_ros.data.video_folder import open_dataset
    from robust_vos_ros.eval.gates import gate_statistics, record_gates
    from robust_vos_ros.eval.gates_plot import plot_gates

    network = load_model(parse_settings(ModelSettings, {'name': model, 'adapter': adapter}))
    clip = open_dataset(root, layout=layout, split=split)[sequence]
    over_time = Profile(profile, severity, clip.num_frames)
    names = find_corruptions(corruption)
    with progress_bar('tracking', len(names)) as advance:
        records = []
        for name in names:
            records.append(record_gates(network, clip, name, over_time))
            advance()
    out.parent.mkdir(parents=True, exist_ok=True)
    plot_gates(records, out, sequence)
    for name, value in dataclasses.asdict(gate_statistics(records)).items():
        typer.echo(f'{name}: {value:.3f}')
    typer.echo(out)
