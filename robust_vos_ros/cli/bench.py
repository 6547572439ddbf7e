"""`robust-vos bench`."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from robust_vos_ros.cli.base import app, numbers, progress_bar, reports_errors
from robust_vos_ros.cli.options import Device, Threads
from robust_vos_ros.cli.options import Model as ModelName

if TYPE_CHECKING:
    from robust_vos_ros.core.network.model import Model
    from robust_vos_ros.core.settings import ModelSettings


@app.command()
@reports_errors
def bench(
    model: ModelName = 'nano',
    size: Annotated[str, typer.Option(help='Frame size, WIDTHxHEIGHT in pixels.')] = '640x480',
    objects: Annotated[
        str, typer.Option(help='Numbers of objects, separated by commas.')
    ] = '1,4,8',
    frames: Annotated[int, typer.Option(min=1, help='Measured frames.')] = 100,
    warm_up: Annotated[
        int, typer.Option(min=1, help='Frames before the measured ones, which fill the memories.')
    ] = 20,
    device: Device = 'auto',
    precision: Annotated[str, typer.Option(help='Precision: auto, fp32 or bf16.')] = 'auto',
    threads: Threads = 0,
    against: Annotated[
        str,
        typer.Option(help='sam2 = compare with SAM2VideoPredictor of the sam2 package, in turns.'),
    ] = '',
    runtimes: Annotated[
        bool, typer.Option('--runtimes', help='Compare the installed runtimes, in turns.')
    ] = False,
    graphs: Annotated[
        str, typer.Option(help='Folder of `robust-vos export`; default: the one in the cache.')
    ] = '',
    random_weights: Annotated[
        bool,
        typer.Option('--random-weights', help='Use random weights: speed needs no training.'),
    ] = False,
    corruptions: Annotated[
        str, typer.Option(help='Measure corruptions instead, such as all or fog,rain.')
    ] = '',
    as_json: Annotated[bool, typer.Option('--json', help='Print JSON.')] = False,
) -> None:
    """Measure the engine without ROS: time per frame and stage, and memory."""
    from robust_vos_ros.core.settings import ModelSettings, parse_settings
    from robust_vos_ros.eval import speed

    width, height = numbers(size, 'x', 2, '--size', 'WIDTHxHEIGHT, such as 640x480')
    if corruptions:
        _bench_corruptions(corruptions, (height, width), as_json=as_json)
        return
    if against not in {'', 'sam2'}:
        raise typer.BadParameter(f'expected sam2, got {against!r}', param_hint='--against')
    counts = numbers(objects, ',', None, '--objects', 'numbers such as 1,4,8')
    plan = _Plan((height, width), counts, warm_up, frames)
    values = {'name': model, 'device': device, 'precision': precision, 'num_threads': threads}
    if runtimes:
        values |= {'device': 'cpu', 'graphs': graphs}
    with tempfile.TemporaryDirectory() as folder:
        if random_weights:
            values['checkpoint'] = str(speed.save_random_weights(model, Path(folder)))
        settings = parse_settings(ModelSettings, values)
        run = _bench_runtimes if runtimes else _bench_peer if against else _bench_engine
        network, rows = run(settings, plan)
    about = {
        **speed.machine(network, precision),
        'weights': 'random' if random_weights else "the model's",
        'size': f'{width}x{height}',
        'frames': frames,
    }
    if as_json:
        typer.echo(json.dumps({**about, 'runs': rows}, indent=2))
        return
    _print_table(about, rows)


@dataclasses.dataclass(frozen=True, slots=True)
class _Plan:
    size_hw: tuple[int, int]
    counts: list[int]
    warm_up: int
    frames: int


def _bench_engine(settings: ModelSettings, plan: _Plan) -> tuple[Model, list[dict[str, Any]]]:
    from robust_vos_ros.core.network.checkpoints import load_model
    from robust_vos_ros.eval import speed

    network = load_model(settings)
    network.warm_up()
    runs = []
    for count in plan.counts:
        with progress_bar(f'{count} objects', plan.warm_up + plan.frames) as advance:
            runs.append(
                speed.measure(
                    network,
                    size_hw=plan.size_hw,
                    num_objects=count,
                    num_frames=plan.frames,
                    warm_up=plan.warm_up,
                    on_frame=advance,
                )
            )
    return network, [dataclasses.asdict(run) for run in runs]


def _bench_peer(settings: ModelSettings, plan: _Plan) -> tuple[Model, list[dict[str, Any]]]:
    from robust_vos_ros.eval.peer import Contest
    from robust_vos_ros.eval.speed import Scene

    contest = Contest(settings)
    rows = []
    for count in plan.counts:
        scene = Scene(plan.size_hw, count)
        frames = [scene.frame(index) for index in range(1 + plan.warm_up + plan.frames)]
        with progress_bar(f'{count} objects', len(frames) - 1) as advance:
            rows += contest.measure(
                frames, scene.prompts(), warm_up=plan.warm_up, on_frame=advance
            )
    return contest.model, [dataclasses.asdict(row) for row in rows]


def _bench_runtimes(settings: ModelSettings, plan: _Plan) -> tuple[Model, list[dict[str, Any]]]:
    from robust_vos_ros.eval import runtime_speed
    from robust_vos_ros.eval.speed import Scene

    models, missing = runtime_speed.load_runtimes(settings)
    for reason in missing:
        typer.echo(reason, err=True)
    rows = []
    for count in plan.counts:
        scene = Scene(plan.size_hw, count)
        frames = [scene.frame(index) for index in range(1 + plan.warm_up + plan.frames)]
        with progress_bar(f'{count} objects', len(frames) - 1) as advance:
            rows += runtime_speed.measure(
                models, frames, scene.prompts(), warm_up=plan.warm_up, on_frame=advance
            )
    return models['torch', 'fp32'], [dataclasses.asdict(row) for row in rows]


def _print_table(about: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    table = Table(title=', '.join(f'{key} {value}' for key, value in about.items()))
    stages = [row.pop('stages_ms', {}) for row in rows]
    flat = [{**row, **times} for row, times in zip(rows, stages, strict=True)]
    names = dict.fromkeys(name for row in flat for name in row)
    for name in names:
        table.add_column(name, justify='right')
    for row in flat:
        table.add_row(*(str(row.get(name, '')) for name in names))
    Console().print(table)


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
