"""`robust-vos bench`."""

from __future__ import annotations

import functools
import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from robust_vos_ros.cli.base import app, numbers, reports_errors


@app.command()
@reports_errors
def bench(
    model: Annotated[str, typer.Option(help='Model to measure.')] = 'nano',
    size: Annotated[str, typer.Option(help='Frame size, WIDTHxHEIGHT in pixels.')] = '640x480',
    objects: Annotated[
        str, typer.Option(help='Numbers of objects, separated by commas.')
    ] = '1,4,8',
    frames: Annotated[int, typer.Option(min=1, help='Measured frames.')] = 100,
    device: Annotated[str, typer.Option(help='Torch device.')] = 'auto',
    precision: Annotated[str, typer.Option(help='auto, fp32 or bf16.')] = 'auto',
    threads: Annotated[int, typer.Option(min=0, help='CPU threads; 0 = all.')] = 0,
    as_json: Annotated[bool, typer.Option('--json', help='Print JSON.')] = False,
) -> None:
    """Measure the engine: time per frame and memory, without ROS."""
    from rich.progress import Progress

    from robust_vos_ros.core.config import ModelSettings, parse_settings
    from robust_vos_ros.core.network import load_model
    from robust_vos_ros.eval import speed

    width, height = numbers(size, 'x', 2, '--size', 'WIDTHxHEIGHT, such as 640x480')
    counts = numbers(objects, ',', None, '--objects', 'numbers such as 1,4,8')
    settings = {'name': model, 'device': device, 'precision': precision, 'num_threads': threads}
    network = load_model(parse_settings(ModelSettings, settings))
    network.warm_up()
    runs = []
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for count in counts:
            task = progress.add_task(f'{count} objects', total=frames + speed.WARM_UP_FRAMES)
            runs.append(
                speed.measure(
                    network,
                    size_hw=(height, width),
                    num_objects=count,
                    num_frames=frames,
                    on_frame=functools.partial(progress.advance, task),
                )
            )
    about = {**speed.machine(network), 'size': f'{width}x{height}', 'frames': frames}
    rows = [{name: getattr(run, name) for name in run.__slots__} for run in runs]
    if as_json:
        typer.echo(json.dumps({**about, 'runs': rows}, indent=2))
        return
    table = Table(title=', '.join(f'{key} {value}' for key, value in about.items()))
    for name in rows[0]:
        table.add_column(name, justify='right')
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
