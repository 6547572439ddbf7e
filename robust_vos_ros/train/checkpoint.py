"""Checkpoints of a training."""

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

# Settings that may change between two runs of a training: they do not change what is learned.
_MAY_CHANGE = {
    'device', 'num_threads', 'num_workers', 'save_every_s', 'max_seconds', 'log_every',
    'validation',
}  # fmt: skip


def read_state(path: Path, device: torch.device) -> tuple[dict[str, Any], TrainSettings]:
    """Read a checkpoint and its settings; no code of the file is run.

    Raises:
        WeightsError: It is not a checkpoint of a training.
    """
    with _as_weights_error(path):
        state = torch.load(path, map_location=device, weights_only=True)
        return state, TrainSettings(**state['settings'])


def start_from(path: Path, rollout: nn.Module, *, with_network: bool) -> str:
    """Copy the tensors of an earlier training that have the same name and shape.

    Args:
        path: Its checkpoint, with any settings.
        rollout: Gets the tensors.
        with_network: Whether the network is copied too; otherwise only what a training has besides
            it, such as auxiliary heads.

    Returns:
        The number of copied tensors, for the log.

    Raises:
        WeightsError: It is not a checkpoint, or nothing in it fits.
    """
    with _as_weights_error(path):
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
def _as_weights_error(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # torch raises anything from EOFError to UnpicklingError here
        raise WeightsError(f'{path} is not a checkpoint of a training: {error}') from error


def _shapes(tensors: dict[str, torch.Tensor]) -> str:
    """Name some tensors for an error text."""
    return ', '.join(f'{k} {tuple(tensor.shape)}' for k, tensor in list(tensors.items())[:2])


def differences(have: TrainSettings, want: TrainSettings) -> list[str]:
    """Return the differences between settings that change what is learned."""
    old, new = have.model_dump(), want.model_dump()
    return [
        f'{key} {old[key]!r} is now {new[key]!r}'
        for key in new
        if key not in _MAY_CHANGE and old[key] != new[key]
    ]
