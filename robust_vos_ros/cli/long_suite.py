"""`robust-vos eval --suite long` and `--suite contact`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from robust_vos_ros.core.errors import ConfigError

SUITES = ('long', 'contact')
_OWN = {'clips', 'frames', 'size', 'footage', 'strips', 'markdown', 'diagram'}
_SHARED = {
    'suite', 'layout', 'split', 'model', 'checkpoint', 'variants', 'changes', 'seed', 'json_path',
    'prompt', 'cache', 'processes', 'device', 'ray',
}  # fmt: skip


def check_options(ctx: typer.Context, suite: str) -> None:
    """Raise unless the options that are given belong together.

    Raises:
        ConfigError: The suite is not known, or an option does not go with it or without it.
    """
    if suite and suite not in SUITES:
        raise ConfigError(f'--suite: expected one of {", ".join(SUITES)}, got {suite!r}')
    given = {
        name
        for name in ctx.params
        if (source := ctx.get_parameter_source(name)) and source.name == 'COMMANDLINE'
    }
    wrong = sorted(given - _OWN - _SHARED) if suite else sorted(given & _OWN)
    if wrong:
        flags = ', '.join(_flag(ctx, name) for name in wrong)
        with_or_without = f'with --suite {suite}' if suite else 'without --suite'
        raise ConfigError(f'expected no {flags} {with_or_without}; leave it out')
    if not suite and 'root' not in given:
        raise ConfigError('expected the folder of a data set or --suite, got neither')


def run_suite(
    suite: Any,
    variants: Any,
    runner: Any,
    *,
    cache: Path,
    json_path: Path,
    markdown: Path | None,
    strips: Path | None,
    diagram: Path | None,
) -> None:
    """Run what is not in the cache; print a table and write the files that are asked for."""
    from rich.progress import Progress

    from robust_vos_ros.eval import benchmark, charts, long_report, long_tasks, results

    todo = long_tasks.make_long_tasks(variants, suite)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task('clips', total=len(todo))
        advance = functools.partial(progress.advance, bar)
        records = benchmark.run_benchmark(todo, runner, cache, on_done=advance)
    content = long_report.to_json(suite, variants, records)
    results.write(json_path, content)
    rows = long_report.table_rows(content)
    _print(rows)
    texts = {markdown: lambda: long_report.to_markdown(rows)}
    texts[diagram] = lambda: charts.reliability_diagram(content['variants'])
    for path, text in texts.items():
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text(), encoding='utf-8')
    if strips is not None:
        typer.echo(f'{strips}: {long_report.write_strips(strips, records)} strips')
    typer.echo(f'{json_path}: {len(records)} runs over {suite.num_clips} clips')


def _print(rows: list[list[str]]) -> None:
    """Print the table on its side: a row for each measure, a column for each variant."""
    table = Table(title='95% intervals over clips')
    turned = list(zip(*rows, strict=True))
    for title in turned[0]:
        table.add_column(title, justify='left' if not title else 'right')
    for row in turned[1:]:
        table.add_row(*row)
    Console().print(table)


def _flag(ctx: typer.Context, name: str) -> str:
    parameter = next(p for p in ctx.command.params if p.name == name)
    return parameter.opts[0] if parameter.opts[0].startswith('-') else parameter.metavar or name
