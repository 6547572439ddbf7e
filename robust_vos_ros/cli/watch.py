"""`robust-vos watch`, which needs a ROS 2 installation."""

from __future__ import annotations

from typing import Annotated

import typer

from robust_vos_ros.cli.bag_live import check_ros
from robust_vos_ros.cli.base import app, reports_errors


@app.command()
@reports_errors
def watch(
    node: Annotated[
        str, typer.Option(help='Name of the node, with its namespace.')
    ] = 'robust_vos',
    duration: Annotated[float, typer.Option(min=0.0, help='Seconds; 0 = until Ctrl-C.')] = 0.0,
    period: Annotated[float, typer.Option(min=0.1, help='Seconds between two lines.')] = 1.0,
    masks: Annotated[bool, typer.Option(help='Check the label masks as well.')] = True,
) -> None:
    """Watch a running node and check its output; exit code 1 if something is wrong."""
    check_ros()
    from robust_vos_ros.live.watch import watch as watch_node

    result = watch_node(
        f'/{node.strip("/")}', duration_s=duration, period_s=period, masks=masks, tell=typer.echo
    )
    typer.echo(
        f'{result.num_frames} frames and {result.num_masks} masks checked: '
        f'{result.num_problems} problems'
    )
    if result.num_problems:
        raise typer.Exit(1)
