"""The command `robust-vos`. Heavy imports are inside the commands, so that --help is quick."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from robust_vos_ros.core.errors import ConfigError, RobustVosError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help='Video object segmentation for robots.',
)
weights_app = typer.Typer(no_args_is_help=True, help='List and download model weights.')
app.add_typer(weights_app, name='weights')


def reports_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the errors we raise on purpose into one sentence and exit code 1."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except RobustVosError as error:
            typer.echo(f'error: {error}', err=True)
            raise typer.Exit(1) from None

    return wrapper


@app.command()
@reports_errors
def demo(
    video: Annotated[
        Path | None, typer.Option(help='Video to track in; default: a generated clip.')
    ] = None,
    box: Annotated[
        str, typer.Option(help='Box around an object in the first frame: x0,y0,x1,y1 in pixels.')
    ] = '',
    clicks: Annotated[
        str, typer.Option(help='Clicks on one more object: "x,y;x,y" in pixels.')
    ] = '',
    out: Annotated[Path, typer.Option(help='Folder for the results.')] = Path('out/demo'),
    model: Annotated[str, typer.Option(help='Model to run.')] = 'nano',
    rate: Annotated[float, typer.Option(help='Frames per second of the camera.')] = 15.0,
    max_frames: Annotated[int, typer.Option(help='Play at most so many frames.')] = 300,
    compressed: Annotated[bool, typer.Option(help='Send JPEG instead of raw images.')] = False,
) -> None:
    """Run the node and a camera as two processes, track, and show what came out."""
    from robust_vos_ros.demo.run import DemoOptions, run_demo

    options = DemoOptions(
        video=video,
        box=box,
        clicks=clicks,
        out=out,
        model=model,
        rate_hz=rate,
        max_frames=max_frames,
        compressed=compressed,
    )
    raise typer.Exit(run_demo(options))


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

    width, height = _numbers(size, 'x', 2, '--size', 'WIDTHxHEIGHT, such as 640x480')
    counts = _numbers(objects, ',', None, '--objects', 'numbers such as 1,4,8')
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


@app.command()
@reports_errors
def compare(
    root: Annotated[Path, typer.Argument(help='Folder of a data set with masks of all frames.')],
    weights: Annotated[
        list[str] | None,
        typer.Option(
            '--weights',
            help='NAME=FILE of nano, NAME=MODEL:FILE of another model; no FILE = its own weights.',
        ),
    ] = None,
    split: Annotated[
        str, typer.Option(help='Split, such as val; default: all, if the layout allows it.')
    ] = '',
    layout: Annotated[
        str, typer.Option(help='Arrangement of the data set, such as folders or davis2016.')
    ] = 'folders',
    device: Annotated[str, typer.Option(help='Torch device.')] = 'auto',
    threads: Annotated[int, typer.Option(min=0, help='CPU threads; 0 = all.')] = 2,
    json_path: Annotated[
        Path | None, typer.Option('--json', help='JSON file for the numbers.')
    ] = None,
) -> None:
    """Score weights, and trackers without training, on one data set by the DAVIS protocol."""
    from rich.progress import Progress

    from robust_vos_ros.core.config import ModelSettings, parse_settings
    from robust_vos_ros.core.network import load_model
    from robust_vos_ros.data.video_folder import open_dataset
    from robust_vos_ros.eval import compare as comparison

    dataset = open_dataset(root, layout=layout, split=split)
    entrants, models = comparison.baselines(), {}
    for name, model, file in map(comparison.parse_weights, weights or []):
        if name in models:
            raise ConfigError(f'expected another name for each --weights, got {name!r} twice')
        settings = {'name': model, 'checkpoint': file, 'device': device, 'num_threads': threads}
        models[name] = load_model(parse_settings(ModelSettings, settings))
        models[name].warm_up()
        entrants += comparison.network_entrants(name, models[name])
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task('tracking', total=len(entrants) * len(dataset))
        advance = functools.partial(progress.advance, task)
        rows = comparison.compare(entrants, dataset, on_track=advance)
    table, console = comparison.make_table(rows), Console()
    if not console.is_terminal:  # a file can be as wide as the table
        console.width = 1000
    console.print(table)
    if json_path:
        report = comparison.make_report(rows, models, root=root, split=split)
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')


@app.command()
@reports_errors
def train(
    config: Annotated[Path, typer.Argument(help='Training file, such as config/train/nano.yaml.')],
    out: Annotated[
        Path, typer.Option(help='Folder for checkpoint, weights, log and plot.')
    ] = Path('out/train'),
    change: Annotated[
        list[str] | None,
        typer.Option('--set', help='Change a setting: key=value or section.key=value.'),
    ] = None,
    resume: Annotated[
        bool, typer.Option('--resume', help='Go on from the checkpoint in --out.')
    ] = False,
) -> None:
    """Train a model; several GPUs: torchrun --nproc-per-node N -m robust_vos_ros.cli train ..."""
    from robust_vos_ros.train.config import load_settings
    from robust_vos_ros.train.progress import train_with_progress

    train_with_progress(load_settings(config, change or []), out, resume=resume)


@weights_app.command('list')
@reports_errors
def list_weights() -> None:
    """List the models and where their weights are."""
    from robust_vos_ros.core.errors import WeightsError
    from robust_vos_ros.core.model_spec import load_spec, model_names
    from robust_vos_ros.core.weights import find_weights

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


@weights_app.command('fetch')
@reports_errors
def fetch(
    name: Annotated[str, typer.Argument(help='Model, see `robust-vos weights list`.')],
) -> None:
    """Download the weights of a model into the cache."""
    from robust_vos_ros.core.model_spec import load_spec
    from robust_vos_ros.core.weights import fetch_weights

    typer.echo(fetch_weights(load_spec(name)))


def _numbers(text: str, separator: str, count: int | None, option: str, form: str) -> list[int]:
    parts = text.split(separator)
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts) or (
        count is not None and len(parts) != count
    ):
        raise typer.BadParameter(f'expected {form}, got {text!r}', param_hint=option)
    return [int(part) for part in parts]


if __name__ == '__main__':
    app()
