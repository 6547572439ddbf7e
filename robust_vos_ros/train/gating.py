"""Sampling and penalties of the gates of an adapter in training."""

from __future__ import annotations

import math

import numpy as np
import torch

from robust_vos_ros.core.adapters.gates import Gates, Sampling
from robust_vos_ros.core.adapters.settings import AdapterSettings
from robust_vos_ros.train.config import GateSettings


def make_sampling(
    settings: AdapterSettings, device: torch.device, rng: np.random.Generator, progress: float
) -> Sampling:
    """Return how gates are sampled in a step; the temperature falls linearly.

    Args:
        settings: Of the adapter.
        device: Of the pointers.
        rng: Source of the seed.
        progress: Share of the training that is done, 0 to 1.
    """
    fall = settings.final_temperature - settings.temperature
    generator = torch.Generator(device).manual_seed(int(rng.integers(2**62)))
    return Sampling(settings.temperature + progress * fall, generator)


def gate_penalty(gates: Gates, settings: GateSettings) -> tuple[torch.Tensor, dict[str, float]]:
    """Return the weighted penalties of gates, and statistics for the log.

    `entropy` is the mean entropy of gates in bits: low if each is decided. `balance` is 1 minus
    the entropy of their means over the batch: low if each is open for half of the batch. Both low
    means that gates tell the rows of the batch apart.
    """
    soft = gates.soft
    if soft is None:
        return gates.values.new_zeros(()), {}
    entropy = _entropy(soft).mean()
    balance = 1.0 - _entropy(soft.mean(dim=0)).mean()
    stats = {
        'gates_open': float(gates.own.detach().mean()),
        'gates_entropy': float(entropy.detach()),
        'gates_balance': float(balance.detach()),
    }
    return settings.entropy * entropy + settings.balance * balance, stats


def _entropy(probability: torch.Tensor) -> torch.Tensor:
    """Return the entropy of binary choices in bits."""
    p = probability.clamp(1e-6, 1.0 - 1e-6)
    return -(p * p.log() + (1.0 - p) * (1.0 - p).log()) / math.log(2.0)
