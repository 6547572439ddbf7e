"""`robust-vos bench`."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from robust_vos_ros.cli.base import app, numbers, progress_bar, reports_errors
from robust_vos_ros.cli.options import Device, Model, Threads


@app.command()
@reports_errors
def bench(
    model: Model = 'nano',
    size: Annotated[str, typer.Option(help='Frame size, WIDTHxHEIGHT in pixels.')] = '640x480',
    objects: Annotated[
        str, typer.Option(help='Numbers of objects, separated by commas.')
    ] = '1,4,8',
    frames: Annotated[int, typer.Option(min=1, help='Measured frames.')] = 100,
    device: Device = 'auto',
    precision: Annotated[str, typer.Option(help='Precision: auto, fp32 or bf16.')] = 'auto',
    threads: Threads = 0,
    corruptions: Annotated[
        str, typer.Option(help='Measure corruptions instead, such as all or fog,rain.')
    ] = '',
    runtimes: Annotated[
        bool, typer.Option('--runtimes', help='Measure each step in each installed runtime.')
    ] = False,
    graphs: Annotated[
        str, typer.Option(help='Folder that `robust-vos export` wrote; default: in the cache.')
    ] = '',
    as_json: Annotated[bool, typer.Option('--json', help='Print JSON.')] = False,
) -> None:
    """Measure the engine without ROS: time per frame, and memory."""
    from robust_vos_ros.core.network.checkpoints import load_model
    from robust_vos_ros.core.settings import ModelSettings, parse_settings
    from robust_vos_ros.eval import speed

    width, height = numbers(size, 'x', 2, '--size', 'WIDTHxHEIGHT, such as 640x480')
    if corruptions:
        _bench_corruptions(corruptions, (height, width), as_json=as_json)
        return
    counts = numbers(objects, ',', None, '--objects', 'numbers such as 1,4,8')
    if runtimes:
        settings = {'name': model, 'device': 'cpu', 'num_threads': threads, 'graphs': graphs}
        _bench_runtimes(settings, counts, (height, width), frames, as_json=as_json)
        return
    settings = {'name': model, 'device': device, 'precision': precision, 'num_threads': threads}
    network = load_model(parse_settings(ModelSettings, settings))
    network.warm_up()
    runs = []
    for count in counts:
        with progress_bar(f'{count} objects', frames + speed.WARM_UP_FRAMES) as advance:
            runs.append(
                speed.measure(
                    network,
                    size_hw=(height, width),
                    num_objects=count,
                    num_frames=frames,
                    on_frame=advance,
                )
            )
    about = {**speed.machine(network), 'size': f'{width}x{height}', 'frames': frames}
    rows = [{name: getattr(run, name) for name in run.__slots__} for run in runs]
    _print(about, rows, as_json=as_json)


def _print(about: dict[str, Any], rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({**about, 'runs': rows}, indent=2))
        return
    table = Table(title=', '.join(f'{key} {value}' for key, value in about.items()))
    for name in rows[0]:
        table.add_column(name, justify='right')
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


def _bench_runtimes(
    settings: dict[str, Any],
    counts: list[int],
    size_hw: tuple[int, int],
    frames: int,
    *,
    as_json: bool,
) -> None:
    from robust_vos_ros.eval import runtime_speed, speed

    models, missing = runtime_speed.load_runtimes(settings)
    for reason in missing:
        typer.echo(reason, err=True)
    rows = []
    for count in counts:
        with progress_bar(f'{count} objects', None) as advance:
            rows += runtime_speed.measure(
                models, size_hw=size_hw, num_objects=count, num_frames=frames, on_frame=advance
            )
    about = speed.machine(next(iter(models.values())))
    about |= {'size': f'{size_hw[1]}x{size_hw[0]}', 'frames': frames}
    del about['precision']
    _print(about, [dataclasses.asdict(row) for row in rows], as_json=as_json)


def _bench_corruptions(names: str, size_hw: tuple[int, int], *, as_json: bool) -> None:
    from robust_vos_ros.data.corruption import find_corruptions
    from robust_vos_ros.eval import speed

    rows = {
        name: speed.measure_corruption(name, size_hw=size_hw) for name in find_corruptions(names)
    }
    if as_json:
        typer.echo(json.dumps({'size': f'{size_hw[1]}x{size_hw[0]}', 'ms': rows}, indent=2))
        return
    table = Table('corruption', 'ms per frame', title=f'{size_hw[1]}x{size_hw[0]}, one core')
    for name, milliseconds in rows.items():
        table.add_row(name, str(milliseconds))
    Console().print(table)
