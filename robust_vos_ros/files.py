"""Files that are replaced at once, JSON files, and the order of numbered names."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside the old one, then put it in its place in one step.

    A reader, and a run that was interrupted, finds the old file or the new one, never a part.

    Args:
        path: The file.
        write: Writes the new content to the path it is called with, a hidden file.
    """
    new = path.with_name(f'.new-{path.name}')
    write(new)
    new.replace(path)


def write_json(
    path: Path, content: object, *, indent: int | None = 2, allow_nan: bool = True
) -> None:
    """Write a JSON file and the folders above it.

    Raises:
        ValueError: The content has NaN, and `allow_nan` is false.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=indent, allow_nan=allow_nan)
    path.write_text(text + '\n', encoding='utf-8')


def natural_key(name: str) -> tuple[list[Any], str]:
    """Return a sort key that puts `frame2` before `frame10`."""
    # Texts and numbers alternate, so that equal positions have equal types.
    parts = re.split(r'([0-9]+)', name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name
