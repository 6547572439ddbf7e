"""`robust-vos evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.base import app, reports_errors
from robust_vos_ros.cli.evaluate_run import Run, save, takes_run
from robust_vos_ros.cli.options import Layout, Split
from robust_vos_ros.core.errors import ConfigError

evaluate_app = typer.Typer(
    no_args_is_help=True, help='Score trackers on data sets and rendered clips, frame by frame.'
)
app.add_typer(evaluate_app, name='evaluate')

_CORRUPTIONS, _CLIPS = 'Corruptions', 'Clips'
Clips = Annotated[int, typer.Option(min=1, help='Number of clips.', rich_help_panel=_CLIPS)]
Frames = Annotated[
    int, typer.Option(min=10, help='Frames of each clip, at 30 Hz.', rich_help_panel=_CLIPS)
]
Size = Annotated[
    int, typer.Option(min=64, help='Side of the images in pixels.', rich_help_panel=_CLIPS)
]


@evaluate_app.command('dataset')
@reports_errors
@takes_run
def evaluate_dataset(
    root: Annotated[Path, typer.Argument(metavar='DATASET', help='Folder of a data set.')],
    *,
    layout: Layout = 'folders',
    split: Split = '',
    void_value: Annotated[
        int, typer.Option(min=0, max=255, help='Mask value of unlabelled pixels; 0 = none.')
    ] = 0,
    protocol: Annotated[
        str,
        typer.Option(help='davis, davis-all, robustpvos or clips; see docs/benchmark.md.'),
    ] = 'davis',
    corruption: Annotated[
        str,
        typer.Option(
            help='Corruptions and presets, separated by commas; presets are robustpvos-c, '
            'further, compound, ytvos-p and all; empty = only clean images.',
            rich_help_panel=_CORRUPTIONS,
        ),
    ] = '',
    severity: Annotated[
        str,
        typer.Option(
            help='Severities above 0, up to 5, separated by commas.', rich_help_panel=_CORRUPTIONS
        ),
    ] = '3',
    profile: Annotated[
        str,
        typer.Option(
            help='Severity over time: constant, ramp, burst or fourier.',
            rich_help_panel=_CORRUPTIONS,
        ),
    ] = 'constant',
    run: Run,
) -> None:
    """Score trackers on the sequences of a data set, clean and corrupted."""
    from robust_vos_ros.eval.conditions import make_conditions
    from robust_vos_ros.eval.datasets import FolderSet

    dataset = FolderSet(
        root=root.resolve(), layout=layout, split=split, void_value=void_value or None
    )
    conditions = make_conditions(corruption, _floats(severity), profile=profile, seed=run.seed)
    run.evaluate(dataset, conditions, protocol)


@evaluate_app.command('long')
@reports_errors
@takes_run
def evaluate_long(
    *,
    footage: Annotated[
        Path | None,
        typer.Option(help='Data set with objects and backgrounds; default: drawn ones.'),
    ] = None,
    layout: Layout = 'folders',
    split: Split = '',
    clips: Clips = 20,
    frames: Frames = 600,
    size: Size = 384,
    run: Run,
) -> None:
    """Score trackers on rendered clips of objects that are absent for seconds."""
    _evaluate_rendered('long', footage, layout, split, (clips, frames, size), run)


@evaluate_app.command('contact')
@reports_errors
@takes_run
def evaluate_contact(
    footage: Annotated[
        Path, typer.Argument(metavar='DATASET', help='Folder of a data set with the objects.')
    ],
    *,
    layout: Layout = 'folders',
    split: Split = '',
    clips: Clips = 20,
    frames: Frames = 120,
    size: Size = 384,
    run: Run,
) -> None:
    """Score trackers on rendered clips of small real objects on a large one."""
    _evaluate_rendered('contact', footage, layout, split, (clips, frames, size), run)


@evaluate_app.command()
@reports_errors
def report(
    source: Annotated[Path, typer.Argument(metavar='JSON', help='Results of evaluate.')],
    out: Annotated[
        Path | None, typer.Option(help='HTML file; default: beside the results.')
    ] = None,
    parts: Annotated[
        Path | None,
        typer.Option(help='Also write table, charts and film strips as files into this folder.'),
    ] = None,
) -> None:
    """Write results as one self-contained HTML page."""
    from robust_vos_ros.eval import results
    from robust_vos_ros.eval.report import make_report, write_parts

    found = results.read(source)
    page = make_report(found)
    target = out or source.with_suffix('.html')
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding='utf-8')
    if parts is not None:
        write_parts(parts, found)
    typer.echo(target)


@evaluate_app.command()
@reports_errors
def merge(
    sources: Annotated[list[Path], typer.Argument(metavar='JSON...', help='Results to join.')],
    json_path: Annotated[Path, typer.Option('--json', help='File for the joined results.')] = Path(
        'out/merged.json'
    ),
) -> None:
    """Join the results of shards."""
    from robust_vos_ros.eval import results

    if json_path.resolve() in {path.resolve() for path in sources}:
        raise ConfigError(f'--json: expected another file than those to join, got {json_path}')
    save(json_path, results.merge(sources))


def _evaluate_rendered(
    kind: str,
    footage: Path | None,
    layout: str,
    split: str,
    sizes: tuple[int, int, int],
    run: Run,
) -> None:
    from robust_vos_ros.eval.conditions import segments
    from robust_vos_ros.eval.datasets import FolderSet
    from robust_vos_ros.eval.protocols import CLIPS
    from robust_vos_ros.eval.rendered import RenderedSet

    taken = None
    if footage is not None:
        taken = FolderSet(root=footage.resolve(), layout=layout, split=split)
    clips, frames, size = sizes
    dataset = RenderedSet(
        kind=kind, num_clips=clips, num_frames=frames, size=size, seed=run.seed, footage=taken
    )
    run.evaluate(dataset, segments(run.seed), CLIPS)


def _floats(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(',')]
    except ValueError:
        raise ConfigError(f'severity: expected numbers such as 1,3,5, got {text!r}') from None
