"""`robust-vos corrupt`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, progress_bar, reports_errors
from robust_vos_ros.cli.options import Severity, SeverityProfile


@app.command()
@reports_errors
def corrupt(
    source: Annotated[
        Path, typer.Argument(metavar='IN', help='A video, a folder of images or a data set.')
    ],
    out: Annotated[
        Path, typer.Argument(metavar='OUT', help='Results are in OUT/CORRUPTION; can be resumed.')
    ],
    preset: Annotated[
        str,
        typer.Option(
            help='Corruptions and presets, separated by commas; presets are robustpvos-c, '
            'further, compound, ytvos-p and all.'
        ),
    ] = 'robustpvos-c',
    severity: Severity = 3.0,
    profile: SeverityProfile = 'constant',
    seed: Annotated[int, typer.Option(min=0, help='Seed of the corruptions.')] = 0,
    processes: Annotated[int, typer.Option(min=0, help='Processes; 0 = one per core.')] = 0,
) -> None:
    """Write corrupted copies of a video, of images or of a data set."""
    from robust_vos_ros.data.corrupt_files import CorruptOptions, plan, run_jobs
    from robust_vos_ros.data.corruption import find_corruptions

    options = CorruptOptions(find_corruptions(preset), severity, profile, seed)
    jobs = plan(source, out, options)
    with progress_bar('clips', len(jobs)) as advance:
        run_jobs(jobs, num_processes=processes or os.cpu_count() or 1, on_done=advance)
    typer.echo(f'{len(jobs)} clips in {out}')
