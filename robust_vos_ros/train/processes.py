"""Distributed training: processes started by torchrun."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os

import torch
from torch import distributed

# Torch's default on GPUs is 10 minutes; scoring a development split may take longer.
_TIMEOUT = dt.timedelta(hours=12)


@dataclasses.dataclass(frozen=True, slots=True)
class Process:
    """This process in a distributed training.

    Attributes:
        rank: Index of this process.
        world: Number of processes.
    """

    rank: int
    world: int

    @classmethod
    def join(cls) -> Process:
        """Read the environment that torchrun sets; join the others if there are several."""
        rank, world = int(os.environ.get('RANK', '0')), int(os.environ.get('WORLD_SIZE', '1'))
        if world > 1:
            backend = 'nccl' if torch.cuda.is_available() else 'gloo'
            distributed.init_process_group(backend, timeout=_TIMEOUT)
        return cls(rank, world)

    def any(self, condition: bool) -> bool:
        """Tell whether a condition holds in any process; all processes must call this together."""
        if self.world == 1:
            return condition
        votes = torch.tensor(float(condition))
        if torch.cuda.is_available():
            votes = votes.cuda()
        distributed.all_reduce(votes)
        return bool(votes > 0)

    def leave(self) -> None:
        """Leave the group of processes at the end."""
        if self.world > 1:
            distributed.destroy_process_group()


def own_device(name: str) -> str:
    """Return the device of this process: if it is chosen automatically, one GPU per process."""
    if name == 'auto' and torch.cuda.is_available():
        return f'cuda:{os.environ.get("LOCAL_RANK", "0")}'
    return name
