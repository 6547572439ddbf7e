"""`robust-vos bag info` and `repair`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from robust_vos_ros.cli.bag import bag_app
from robust_vos_ros.cli.base import reports_errors

_MAX_COLUMNS = 10_000  # wider than any line


@bag_app.command()
@reports_errors
def info(
    bag: Annotated[Path, typer.Argument(help='Bag: .mcap, .db3, .bag or a folder.')],
) -> None:
    """Show topics, duration, and the states of all objects over time."""
    from rich.console import Console

    from robust_vos_ros.bags.info import read_info
    from robust_vos_ros.bags.timeline import render

    console = Console(highlight=False)
    width = console.width
    if not console.is_terminal:  # lines are not wrapped in a file or a pipe
        console.width = _MAX_COLUMNS
    for part in render(read_info(bag), width=width):
        console.print(part)


@bag_app.command()
@reports_errors
def repair(
    bag: Annotated[Path, typer.Argument(help='Truncated bag: .mcap or a folder of such files.')],
    out: Annotated[
        Path | None,
        typer.Argument(help='Bag to write; default: BAG_repaired. BAG itself is replaced.'),
    ] = None,
) -> None:
    """Rebuild index and metadata of a truncated bag from its intact records."""
    from robust_vos_ros.bags.reader import bag_name
    from robust_vos_ros.bags.repair import repair_bag

    ending = bag.suffix if bag.is_file() else ''
    folder = bag.parent if bag.name not in {'', '..'} else bag.resolve().parent
    target = out or folder / f'{bag_name(bag)}_repaired{ending}'
    result = repair_bag(bag, target)
    typer.echo(
        f'saved {result.num_messages} messages on {result.num_topics} topics, '
        f'{result.duration_s:.2f} s, to {target}'
    )
    if result.num_unknown:
        typer.echo(f'left out {result.num_unknown} messages without a known topic')
