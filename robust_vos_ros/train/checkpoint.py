"""The file that a training goes on from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

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
    with _telling_what_is_wrong(path):
        state = torch.load(path, map_location=device, weights_only=True)
        return state, TrainSettings(**state['settings'])


def start_from(path: Path, rollout: nn.Module, *, with_network: bool) -> str:
    """Take the tensors of an earlier training that have the same name and shape.

    Args:
        path: Its checkpoint, of any settings.
        rollout: What they are copied into.
        with_network: Also take the network; otherwise what a training has besides, such as the
            throw-away head.

    Returns:
        What was taken, for the log.

    Raises:
        WeightsError: It is not a checkpoint, or nothing in it fits.
    """
    with _telling_what_is_wrong(path):
        have = torch.load(path, map_location='cpu', weights_only=True)['rollout']
        have = {name: tensor for name, tensor in have.items() if torch.is_tensor(tensor)}
    want = {
        name: tensor
        for name, tensor in rollout.state_dict().items()
        if with_network or not name.startswith('net.')
    }
    fitting = {k: have[k] for k in want if k in have and have[k].shape == want[k].shape}
    if not fitting:
        raise WeightsError(
            f'start_state: expected {path} to hold tensors such as {_shapes(want)}, '
            f'got {_shapes({k: have[k] for k in want if k in have} or have)}'
        )
    rollout.load_state_dict(fitting, strict=False)
    return f'{len(fitting)} of {len(want)} tensors'


@contextlib.contextmanager
def _telling_what_is_wrong(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torch raises anything from EOFError to UnpicklingError here
        raise WeightsError(f'{path} is not a checkpoint of a training: {error}') from error


def _shapes(tensors: dict[str, torch.Tensor]) -> str:
    """Name some tensors for an error text."""
    return ', '.join(f'{k} {tuple(tensor.shape)}' for k, tensor in list(tensors.items())[:2])


def differences(have: TrainSettings, want: TrainSettings) -> list[str]:
    """Return what differs between settings and changes what is learned."""
    old, new = have.model_dump(), want.model_dump()
    return [
        f'{key} {old[key]!r} is now {new[key]!r}'
        for key in new
        if key not in _FREE and old[key] != new[key]
    ]
