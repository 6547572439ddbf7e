"""`robust-vos weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, reports_errors

weights_app = typer.Typer(no_args_is_help=True, help='List and download model weights.')
app.add_typer(weights_app, name='weights')


@weights_app.command('list')
@reports_errors
def list_weights() -> None:
    """List the models and the paths of their weights."""
    from robust_vos_ros.core.errors import WeightsError
    from robust_vos_ros.core.network.model_files import find_weights, load_spec, model_names

    for name in model_names():
        spec = load_spec(name)
        try:
            where = str(find_weights(spec))
        except WeightsError:
            megabytes = spec.size_bytes / 1e6
            where = f'not here; robust-vos weights fetch {name} ({megabytes:.0f} MB)'
            if not spec.url:
                where = 'not shipped; docs/training.md says how to make them'
        typer.echo(f'{name}\n  {spec.description}\n  licence: {spec.license}\n  weights: {where}')


@weights_app.command('identify')
@reports_errors
def identify(
    params_file: Annotated[
        Path | None, typer.Option(help='Parameter file of the node [defaults].')
    ] = None,
) -> None:
    """Print model, hash of the weights, adapter and version as KEY=VALUE lines."""
    from robust_vos_ros.core.settings import ModelSettings
    from robust_vos_ros.ros_types.identity import identify, read_model_settings

    settings = read_model_settings(params_file) if params_file else ModelSettings()
    for key, value in identify(settings).items():
        if value:
            typer.echo(f'{key}={value}')


@weights_app.command('fetch')
@reports_errors
def fetch(
    name: Annotated[str, typer.Argument(help='Model, see `robust-vos weights list`.')],
) -> None:
    """Download the weights of a model into the cache."""
    from robust_vos_ros.cli.downloads import fetch_weights
    from robust_vos_ros.core.network.model_files import load_spec

    typer.echo(fetch_weights(load_spec(name)))
