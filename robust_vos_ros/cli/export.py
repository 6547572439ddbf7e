"""`robust-vos export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, progress_bar, reports_errors
from robust_vos_ros.cli.options import Checkpoint


@app.command()
@reports_errors
def export(
    model: Annotated[str, typer.Argument(help='Model, see `robust-vos weights list`.')],
    out: Annotated[
        Path | None,
        typer.Option(
            help='Folder of the files; default: where model.runtime looks, in the cache.'
        ),
    ] = None,
    file_format: Annotated[str, typer.Option('--format', help='Format: onnx.')] = 'onnx',
    checkpoint: Checkpoint = '',
) -> None:
    """Write the steps of the network as static graphs for 1, 4, 8 and 16 objects."""
    from robust_vos_ros.core.network.checkpoints import load_model
    from robust_vos_ros.core.network.graphs import files
    from robust_vos_ros.core.settings import ModelSettings, parse_settings

    if file_format != 'onnx':
        raise typer.BadParameter(f'expected onnx, got {file_format!r}', param_hint='--format')
    settings = {'name': model, 'checkpoint': checkpoint, 'device': 'cpu', 'precision': 'fp32'}
    parsed = parse_settings(ModelSettings, settings | {'adapter': 'none'})
    network = load_model(parsed, portable=True)
    folder = out or files.graphs_folder(network.name, network.weights_hash)
    with progress_bar('files', files.num_files(network)) as advance:
        files.export(network, folder, on_file=advance)
    typer.echo(folder)
