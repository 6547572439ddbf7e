"""Processes that train together, started by torchrun."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os

import torch
from torch import distributed

# Torch gives up after 10 minutes on GPUs; scoring a development split may take longer.
_PATIENCE = dt.timedelta(hours=12)


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """This process among those that train together (`torchrun` sets the environment)."""

    rank: int
    world: int

    @classmethod
    def join(cls) -> Process:
        """Read the environment; join the others where there are several."""
        rank, world = int(os.environ.get('RANK', '0')), int(os.environ.get('WORLD_SIZE', '1'))
        if world > 1:
            backend = 'nccl' if torch.cuda.is_available() else 'gloo'
            distributed.init_process_group(backend, timeout=_PATIENCE)
        return cls(rank, world)

    def any(self, condition: bool) -> bool:
        """Tell whether a condition holds on any process; all of them must ask, and wait here."""
        if self.world == 1:
            return condition
        votes = torch.tensor(float(condition))
        if torch.cuda.is_available():
            votes = votes.cuda()
        distributed.all_reduce(votes)
        return bool(votes > 0)

    def leave(self) -> None:
        """Leave the others, at the end."""
        if self.world > 1:
            distributed.destroy_process_group()


def own_device(name: str) -> str:
    """Give each process its own GPU where the device is chosen automatically."""
    if name == 'auto' and torch.cuda.is_available():
        return f'cuda:{os.environ.get("LOCAL_RANK", "0")}'
    return name
