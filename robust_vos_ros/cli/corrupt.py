"""`robust-vos corrupt`."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from robust_vos_ros.cli.base import app, reports_errors


@app.command()
@reports_errors
def corrupt(
    source: Annotated[
        Path, typer.Argument(metavar='IN', help='A video, a folder of images or a data set.')
    ],
    out: Annotated[
        Path, typer.Argument(metavar='OUT', help='Results go into OUT/CORRUPTION; goes on there.')
    ],
    preset: Annotated[
        str,
        typer.Option(
            help='Corruptions, separated by commas, or robustpvos-c, further, compound, ytvos-p, '
            'all.'
        ),
    ] = 'robustpvos-c',
    severity: Annotated[float, typer.Option(min=0.0, max=5.0, help='Severity, 0 to 5.')] = 3.0,
    profile: Annotated[
        str, typer.Option(help='Severity over time: constant, ramp, burst or fourier.')
    ] = 'constant',
    seed: Annotated[int, typer.Option(min=0, help='Another seed, other weather.')] = 0,
    processes: Annotated[int, typer.Option(min=0, help='Processes; 0 = one per core.')] = 0,
) -> None:
    """Write corrupted copies; of a data set, beside links to its masks."""
    from rich.progress import Progress

    from robust_vos_ros.data.corrupt_files import CorruptOptions, plan, run_jobs
    from robust_vos_ros.data.corruption import find_corruptions

    options = CorruptOptions(find_corruptions(preset), severity, profile, seed)
    jobs = plan(source, out, options)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task('clips', total=len(jobs))
        advance = functools.partial(progress.advance, task)
        run_jobs(jobs, num_processes=processes or os.cpu_count() or 1, on_done=advance)
    typer.echo(f'{len(jobs)} clips in {out}')
