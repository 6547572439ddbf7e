"""`robust-vos eval`, `report` and `merge`."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from robust_vos_ros.cli.base import app, reports_errors
from robust_vos_ros.cli.long_suite import check_options, run_suite
from robust_vos_ros.core.errors import ConfigError


@app.command('eval')
@reports_errors
def evaluate(
    ctx: typer.Context,
    root: Annotated[
        Path | None, typer.Argument(metavar='DATASET', help='Folder of a data set.')
    ] = None,
    suite: Annotated[
        str,
        typer.Option(
            help='In the place of DATASET: long = rendered clips of many absences; contact = '
            'small real objects on large ones (--frames 120 will do).'
        ),
    ] = '',
    clips: Annotated[int, typer.Option(min=1, help='Clips of the suite.')] = 20,
    frames: Annotated[int, typer.Option(min=10, help='Frames of each, 30 in a second.')] = 600,
    size: Annotated[int, typer.Option(min=64, help='Side of their images in pixels.')] = 384,
    footage: Annotated[
        Path | None,
        typer.Option(
            help='Data set whose objects and pictures the suite uses; default: drawn ones.'
        ),
    ] = None,
    strips: Annotated[
        Path | None,
        typer.Option(help='Folder for a film strip of the worst absence of each clip.'),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help='File for the table of the suite as Markdown.')
    ] = None,
    diagram: Annotated[
        Path | None, typer.Option(help='SVG file for the reliability diagram of the suite.')
    ] = None,
    layout: Annotated[
        str, typer.Option(help='Arrangement of the data set, such as folders or davis2016.')
    ] = 'folders',
    split: Annotated[
        str, typer.Option(help='Split, such as val; default: all, if the layout allows it.')
    ] = '',
    void_value: Annotated[
        int, typer.Option(min=0, max=255, help='Mask value of unlabelled pixels; 0 = none.')
    ] = 0,
    model: Annotated[str, typer.Option(help='Model to run.')] = 'nano',
    checkpoint: Annotated[str, typer.Option(help="Its weights; default: the model's own.")] = '',
    variants: Annotated[
        str,
        typer.Option(
            help='What to compare with the first, separated by commas: base is --model without '
            'adapter, moga or another name a shipped adapter, NAME=FILE an adapter or weights of '
            'nano, NAME=MODEL:FILE another model.'
        ),
    ] = 'base',
    changes: Annotated[
        list[str] | None,
        typer.Option(
            '--set',
            help='NAME:tracking.KEY=VALUE changes a setting of a variant; a new NAME is base with '
            'it. May be repeated.',
        ),
    ] = None,
    corruption: Annotated[
        str,
        typer.Option(
            help='Corruptions, separated by commas, or robustpvos-c, further, compound, ytvos-p, '
            'all; empty = clean images only.'
        ),
    ] = '',
    severity: Annotated[
        str, typer.Option(help='Severities above 0, up to 5, separated by commas.')
    ] = '3',
    profile: Annotated[
        str, typer.Option(help='Severity over time: constant, ramp, burst or fourier.')
    ] = 'constant',
    seed: Annotated[
        int, typer.Option(min=0, help='Seed of the corruptions, and of the suite.')
    ] = 0,
    prompt: Annotated[
        str,
        typer.Option(help='mask, box, clicks3 or click1; default: mask, clicks3 for robustpvos.'),
    ] = '',
    protocol: Annotated[
        str, typer.Option(help='davis, davis-all or robustpvos; see docs/benchmark.md.')
    ] = 'davis',
    json_path: Annotated[Path, typer.Option('--json', help='File for the results.')] = Path(
        'out/eval.json'
    ),
    cache: Annotated[
        Path, typer.Option(help='Folder of finished sequences, from where a run goes on.')
    ] = Path('out/eval_cache'),
    processes: Annotated[
        int, typer.Option(min=0, help='Processes of one thread each; 0 = one per core.')
    ] = 0,
    device: Annotated[str, typer.Option(help='Torch device.')] = 'auto',
    shard: Annotated[
        str, typer.Option(help='Run only part i of n: i/n. `robust-vos merge` joins the results.')
    ] = '',
    ray: Annotated[
        str, typer.Option(help='Run on this Ray cluster: auto, HOST:PORT, or local.')
    ] = '',
) -> None:
    """Score a model on clean and corrupted sequences, streamed as a camera would send them."""
    from rich.progress import Progress

    from robust_vos_ros.eval import benchmark, long_tasks, results, runners, tasks

    check_options(ctx, suite)
    chosen = benchmark.make_variants(
        variants, model=model, checkpoint=checkpoint, device=device, changes=changes or ()
    )
    runner = _runner(runners, processes or os.cpu_count() or 1, ray)
    if suite:
        taken = None
        if footage is not None:
            taken = tasks.Dataset(root=footage.resolve(), layout=layout, split=split)
        long_suite = long_tasks.LongSuite(
            kind=suite,
            num_clips=clips,
            num_frames=frames,
            size=size,
            seed=seed,
            footage=taken,
            prompt=benchmark.choose_prompt(prompt, protocol),
        )
        run_suite(
            long_suite, chosen, runner,
            cache=cache, json_path=json_path, markdown=markdown, strips=strips, diagram=diagram,
        )  # fmt: skip
        return
    assert root is not None
    conditions = benchmark.make_conditions(
        corruption, _floats(severity), profile=profile, seed=seed
    )
    prompt = benchmark.choose_prompt(prompt, protocol)
    dataset = tasks.Dataset(
        root=root.resolve(), layout=layout, split=split, void_value=void_value or None
    )
    about = results.describe(
        chosen,
        dataset,
        conditions,
        protocol=protocol,
        prompt=prompt,
        profile=profile,
        seed=seed,
    )
    todo = tasks.make_tasks(chosen, dataset, conditions, prompt)
    if shard:
        todo = benchmark.take_shard(todo, shard)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task('sequences', total=len(todo))
        advance = functools.partial(progress.advance, task)
        records = benchmark.run_benchmark(todo, runner, cache, on_done=advance)
    content = results.to_json(results.Results(about=about, records=records))
    results.write(json_path, content)
    _print_table(content)
    typer.echo(f'{json_path}: {_count(records)}')


@app.command()
@reports_errors
def report(
    source: Annotated[Path, typer.Argument(metavar='JSON', help='Results of robust-vos eval.')],
    out: Annotated[
        Path | None, typer.Option(help='HTML file; default: beside the results.')
    ] = None,
) -> None:
    """Make one self-contained HTML page of the results of eval."""
    from robust_vos_ros.eval import results
    from robust_vos_ros.eval.report import make_report

    page = make_report(results.read(source))
    target = out or source.with_suffix('.html')
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page, encoding='utf-8')
    typer.echo(target)


@app.command()
@reports_errors
def merge(
    sources: Annotated[list[Path], typer.Argument(metavar='JSON...', help='Results to join.')],
    json_path: Annotated[Path, typer.Option('--json', help='File for all of them.')] = Path(
        'out/merged.json'
    ),
) -> None:
    """Join the results of shards."""
    from robust_vos_ros.eval import results

    if json_path.resolve() in {path.resolve() for path in sources}:
        raise ConfigError(f'--json: expected another file than those to join, got {json_path}')
    merged = results.merge(sources)
    content = results.to_json(merged)
    results.write(json_path, content)
    _print_table(content)
    typer.echo(f'{json_path}: {_count(merged.records)}')


def _count(records: Any) -> str:
    sequences = len({record.sequence for record in records})
    return f'{len(records)} runs over {sequences} sequences'


def _runner(runners: Any, processes: int, ray: str) -> Any:
    if ray:
        return runners.run_on_ray(ray)
    return runners.run_here if processes == 1 else runners.run_in_processes(processes)


def _floats(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(',')]
    except ValueError:
        raise ConfigError(f'severity: expected numbers such as 1,3,5, got {text!r}') from None


def _print_table(content: dict[str, Any]) -> None:
    """Print J&F of clean and of each corruption, a column per variant."""
    variants = content['variants']
    table = Table(title='J&F in percent')
    table.add_column('')
    for name in variants:
        table.add_column(name, justify='right')
    rows = {'clean': [result['J&F'] for result in variants.values()]}
    for name in content['per_corruption']:
        rows[name] = [result['per_corruption'][name]['J&F'] for result in variants.values()]
    for name in ('mPC', 'rPC', 'Q_p', 'R_p'):
        rows[name] = [result[name] for result in variants.values()]
    for name, values in rows.items():
        table.add_row(name, *('' if value is None else f'{value:.1f}' for value in values))
    Console().print(table)
