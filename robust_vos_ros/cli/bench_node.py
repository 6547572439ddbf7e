"""`robust-vos bench-node`, which needs a ROS 2 installation."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from robust_vos_ros.cli.bag_live import check_ros
from robust_vos_ros.cli.base import app, numbers, reports_errors


@app.command('bench-node')
@reports_errors
def bench_node(
    size: Annotated[str, typer.Option(help='Image size, WIDTHxHEIGHT in pixels.')] = '640x480',
    objects: Annotated[int, typer.Option(min=1, max=64, help='Number of objects.')] = 8,
    rate: Annotated[float, typer.Option(min=0.1, help='Images per second.')] = 30.0,
    seconds: Annotated[float, typer.Option(min=1.0, help='Measured time.')] = 60.0,
    parameter: Annotated[
        list[str] | None,
        typer.Option('--parameter', '-p', help='Of the node, NAME:=VALUE; may be repeated.'),
    ] = None,
    as_json: Annotated[bool, typer.Option('--json', help='Print JSON.')] = False,
) -> None:
    """Measure the node through DDS: latency, overhead, memory, and what overload leaves out."""
    check_ros()
    from robust_vos_ros.demo.node_bench import NodeBenchOptions, measure

    width, height = numbers(size, 'x', 2, '--size', 'WIDTHxHEIGHT, such as 640x480')
    with tempfile.TemporaryDirectory() as folder:
        options = NodeBenchOptions(
            out=Path(folder),
            size_hw=(height, width),
            num_objects=objects,
            rate_hz=rate,
            seconds=seconds,
            parameters=tuple(parameter or ()),
        )
        row = dataclasses.asdict(measure(options))
    about = {'size': size, 'objects': objects, 'rate_hz': rate, 'seconds': seconds}
    if as_json:
        typer.echo(json.dumps({**about, **row}, indent=2))
        return
    table = Table(title=', '.join(f'{key} {value}' for key, value in about.items()))
    table.add_column('measure')
    table.add_column('value', justify='right')
    for name, value in row.items():
        table.add_row(name, str(value))
    Console().print(table)
