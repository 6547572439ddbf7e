"""The file that a training goes on from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from robust_vos_ros.core.errors import WeightsError
from robust_vos_ros.train.config import TrainSettings

STATE_FILE = 'state.pt'

# Changing these does not change what is learned.
_FREE = {
    'device', 'num_threads', 'num_workers', 'save_every_s', 'max_seconds', 'log_every',
    'validation',
}  # fmt: skip


def read_state(path: Path, device: torch.device) -> tuple[dict[str, Any], TrainSettings]:
    """Read a checkpoint and the settings it was made with; runs no code of the file.

    Raises:
        WeightsError: It is not a checkpoint of a training.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        return state, TrainSettings(**state['settings'])
    except Exception as error:  # torch raises anything from EOFError to UnpicklingError here
        raise WeightsError(f'{path} is not a checkpoint of a training: {error}') from error


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside the old one and put it in its place at once."""
    new = path.with_name(path.name + '.new')
    write(new)
    new.replace(path)


def differences(have: TrainSettings, want: TrainSettings) -> list[str]:
    """Return what differs between settings and changes what is learned."""
    old, new = have.model_dump(), want.model_dump()
    return [
        f'{key} {old[key]!r} is now {new[key]!r}'
        for key in new
        if key not in _FREE and old[key] != new[key]
    ]
