"""`robust-vos bag process` and `export`, which need no ROS installation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from robust_vos_ros.cli.base import app, progress_bar, reports_errors
from robust_vos_ros.cli.options import Adapter, Checkpoint, Device, Model, Threads

if TYPE_CHECKING:
    from robust_vos_ros.bags.job import Job
    from robust_vos_ros.bags.process import Summary

bag_app = typer.Typer(
    no_args_is_help=True, help='Track in bags, export, inspect, record and play them.'
)
app.add_typer(bag_app, name='bag')


@bag_app.command()
@reports_errors
def process(
    bags: Annotated[
        list[Path], typer.Argument(metavar='IN OUT | BAGS...', help='Bag to read, bag to write.')
    ],
    prompts: Annotated[
        Path,
        typer.Option(help='Prompt file; with --out also a folder with one NAME.yaml per bag.'),
    ],
    out: Annotated[
        Path | None, typer.Option(help='Folder for many outputs and their manifest.json.')
    ] = None,
    topic: Annotated[str, typer.Option(help='Image topic; default: the only one.')] = '',
    namespace: Annotated[
        str, typer.Option(help='Namespace of the results; input topics below it are replaced.')
    ] = '/robust_vos',
    model: Model = 'nano',
    checkpoint: Checkpoint = '',
    adapter: Adapter = 'auto',
    device: Device = 'auto',
    threads: Threads = 0,
    ray: Annotated[
        str, typer.Option(help='With --out: a Ray cluster, such as auto, HOST:PORT or local.')
    ] = '',
    retries: Annotated[
        int, typer.Option(min=0, help='With --out: number of times a failed bag is tried again.')
    ] = 1,
    compress: Annotated[
        bool, typer.Option('--compress', help='Compress the output (zstd): smaller, slower.')
    ] = False,
) -> None:
    """Track through all images of a bag, and write the bag with the results."""
    from robust_vos_ros.bags.batch import make_jobs
    from robust_vos_ros.bags.job import Job
    from robust_vos_ros.core.settings import ModelSettings, parse_settings

    network = {'name': model, 'checkpoint': checkpoint, 'adapter': adapter, 'device': device}
    settings = parse_settings(ModelSettings, {**network, 'num_threads': threads})
    fields = {'topic': topic, 'namespace': namespace, 'model': settings, 'compress': compress}
    if out is not None:
        _process_many(make_jobs(bags, out, prompts, **fields), ray, retries)
    elif len(bags) != 2 or ray:
        raise typer.BadParameter('expected IN and OUT, or bags and --out DIR')
    else:
        _process_one(Job(source=bags[0], target=bags[1], prompts=prompts, **fields))


def _process_one(job: Job) -> None:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from robust_vos_ros.bags.job import check_job
    from robust_vos_ros.bags.process import process_bag
    from robust_vos_ros.core.network.checkpoints import load_model

    check_job(job)
    network = load_model(job.model)
    network.warm_up()
    columns = (TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn())
    columns += (TextColumn('{task.fields[rate]}'), TextColumn('ETA'), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(job.source.name, total=None, rate='')

        def start(total: int, done: int) -> None:
            progress.update(task, total=total, completed=done)

        def advance() -> None:
            speed = progress.tasks[0].speed
            progress.update(task, advance=1, rate=f'{speed:.1f}/s' if speed else '')

        summary = process_bag(job, network, on_start=start, on_frame=advance)
    for line in _describe(job.target, summary):
        typer.echo(line)


def _process_many(jobs: list[Job], ray: str, retries: int) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from robust_vos_ros.bags.batch import ManifestEntry, process_many, run_here, run_on_ray

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    runner = run_on_ray(ray) if ray else run_here
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task('bags', total=len(jobs))

        def show(entry: ManifestEntry) -> None:
            progress.advance(task)
            text = f'{entry.num_frames} frames' if entry.status == 'done' else entry.error
            progress.console.print(f'{entry.target}: {entry.status}, {text}', soft_wrap=True)

        entries = process_many(jobs, runner, retries=retries, on_entry=show)
    num_done = sum(entry.status == 'done' for entry in entries)
    typer.echo(f'{num_done} of {len(jobs)} bags done; {jobs[0].target.parent / "manifest.json"}')
    if num_done < len(jobs):
        raise typer.Exit(1)


def _describe(target: Path, summary: Summary) -> list[str]:
    num_new = summary.num_frames - summary.num_resumed
    lines = [f'{target}: {summary.num_frames} frames of {summary.topic}']
    if summary.num_resumed:
        lines[0] += f', {summary.num_resumed} of them from an interrupted run'
    if num_new:
        rate, engine = num_new / summary.seconds, num_new / max(summary.engine_s, 1e-9)
        lines.append(f'{rate:.1f} frames per second, the tracker alone {engine:.1f}')
    for index, problem in summary.problems[:3]:
        lines.append(f'no result for frame {index}: {problem}')
    if len(summary.problems) > 3:
        lines.append(f'and for {len(summary.problems) - 3} more frames')
    lines += [f'left out {name}: {why}' for name, why in summary.left_out.items()]
    return lines


@bag_app.command()
@reports_errors
def export(
    bag: Annotated[Path, typer.Argument(help='A bag with masks.')],
    out: Annotated[Path, typer.Argument(help='Folder to create; a file for video.')],
    form: Annotated[str, typer.Option('--format', help='davis, coco, yolo-seg, mot or video.')],
    topic: Annotated[str, typer.Option(help='Image topic; default: the only one.')] = '',
    namespace: Annotated[str, typer.Option(help='Namespace of the results.')] = '/robust_vos',
    min_confidence: Annotated[
        float, typer.Option(min=0.0, max=1.0, help='Leave out masks below this confidence.')
    ] = 0.0,
) -> None:
    """Write the images and masks of a bag as a data set or a video."""
    from robust_vos_ros.bags.export import export_bag

    with progress_bar(form, None) as advance:
        count = export_bag(
            bag,
            out,
            form,
            topic=topic,
            namespace=namespace,
            min_confidence=min_confidence,
            on_frame=advance,
        )
    typer.echo(f'{out}: {count} frames')
