"""The application, and helpers of its commands. Heavy imports are inside of the commands."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import typer
from rich.console import Console

from robust_vos_ros.core.errors import RobustVosError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help='Video object segmentation for robots.',
)


def reports_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Print errors of this package as one sentence, and exit with code 1."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except RobustVosError as error:
            typer.echo(f'error: {error}', err=True)
            raise typer.Exit(1) from None

    return wrapper


@contextlib.contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Show a progress bar on stderr; yield a function that advances it by one."""
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield functools.partial(progress.advance, task)


def numbers(text: str, separator: str, count: int | None, option: str, form: str) -> list[int]:
    """Return the positive integers of an option; `count` of them, None = any number.

    Raises:
        typer.BadParameter: The text has another form.
    """
    parts = text.split(separator)
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts) or (
        count is not None and len(parts) != count
    ):
        raise typer.BadParameter(f'expected {form}, got {text!r}', param_hint=option)
    return [int(part) for part in parts]
