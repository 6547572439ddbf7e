"""The application and what its commands share. Heavy imports are inside the commands."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer

from robust_vos_ros.core.errors import RobustVosError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help='Video object segmentation for robots.',
)


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


def numbers(text: str, separator: str, count: int | None, option: str, form: str) -> list[int]:
    """Return the positive whole numbers of an option, or fail in the way of the command line."""
    parts = text.split(separator)
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts) or (
        count is not None and len(parts) != count
    ):
        raise typer.BadParameter(f'expected {form}, got {text!r}', param_hint=option)
    return [int(part) for part in parts]
