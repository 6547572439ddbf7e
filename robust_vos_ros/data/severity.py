"""Severity of a corruption over a clip: constant, ramp, burst or a Fourier mixture.

A severity is a number from 0 (clean) to 5. A profile gives the severity of each frame. It depends
only on the seed of the clip and the index of the frame, so that a frame is the same live and
offline, in any order and in any process.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from robust_vos_ros.core.errors import ConfigError

ProfileName = Literal['constant', 'ramp', 'burst', 'fourier']
# Severity of one parameter of a corruption at one frame, 0 to 5.
Level = Callable[[str], float]
PROFILES: tuple[str, ...] = get_args(ProfileName)
MAX_SEVERITY = 5.0

# RobustPVOS (arXiv 2605.12006): four sines, f in [0.2, 1.5] cycles per clip, Dirichlet weights.
_NUM_SINES = 4
_CYCLES = (0.2, 1.5)


def clip_seed(name: str, seed: int = 0) -> int:
    """Return the seed of a clip, a hash of its name: the same on every machine.

    Args:
        name: Name of the sequence or file.
        seed: Seed of the whole run.
    """
    digest = hashlib.sha256(f'{seed}/{name}'.encode()).digest()
    return int.from_bytes(digest[:8], 'big')


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    """Severity over the frames of a clip.

    Attributes:
        name: One of `PROFILES`.
        severity: 0 to 5: that of all frames (constant), the peak (ramp, burst), or the mean before
            clipping at 5 (fourier).
        num_frames: Length of the profile in frames; after it the severity goes on (fourier),
            stays as it is (ramp) or repeats (burst).
    """

    name: str
    severity: float
    num_frames: int

    def __post_init__(self) -> None:
        if self.name not in PROFILES:
            raise ConfigError(f'profile: expected one of {", ".join(PROFILES)}, got {self.name!r}')
        if not 0.0 <= self.severity <= MAX_SEVERITY:
            raise ConfigError(f'severity: expected 0 to {MAX_SEVERITY:g}, got {self.severity}')
        if self.num_frames < 1:
            raise ConfigError(f'num_frames: expected at least 1, got {self.num_frames}')

    def at(self, frame_index: int, seed: int, parameter: str = '') -> float:
        """Return the severity of one frame, 0 to 5.

        Args:
            frame_index: Index of the frame, from 0.
            seed: Seed of the clip.
            parameter: Name of the corruption's parameter; each has its own Fourier mixture.
        """
        share = frame_index / max(1, self.num_frames - 1)
        if self.name == 'constant':
            return self.severity
        if self.name == 'ramp':
            return self.severity * min(1.0, share)
        if self.name == 'burst':
            return self.severity * _burst(share % 1.0 if share > 1.0 else share)
        value = self.severity * fourier_mixture(share, seed, parameter)
        return float(np.clip(value, 0.0, MAX_SEVERITY))


def fourier_mixture(share: float, seed: int, parameter: str = '') -> float:
    """Return the factor of the severity at a share of the clip: around 1, from 0 to 2.

    Four sines s_c(t) = 1 + A_c sin(2 pi (f_c t + o_c)), weighted by w ~ Dirichlet(1, 1, 1, 1),
    with A_c ~ U(0, 1), f_c ~ U(0.2, 1.5) cycles per clip and o_c ~ U(0, 1). RobustPVOS also scales
    by the extremes over the clip, which are not known in a stream.
    """
    weights, amplitudes, cycles, offsets = _sines(seed, parameter)
    waves = 1.0 + amplitudes * np.sin(2.0 * math.pi * (cycles * share + offsets))
    return float(weights @ waves)


@functools.lru_cache(4096)
def _sines(seed: int, parameter: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(clip_seed(parameter, seed))
    return (
        rng.dirichlet(np.ones(_NUM_SINES)),
        rng.uniform(0.0, 1.0, _NUM_SINES),
        rng.uniform(*_CYCLES, _NUM_SINES),
        rng.uniform(0.0, 1.0, _NUM_SINES),
    )


def _burst(share: float) -> float:
    """Return the factor of a burst: 0 at first and at the end, 1 in the middle, soft edges."""
    rise, fall = (share - 0.3) / 0.1, (0.75 - share) / 0.1
    return float(np.clip(min(rise, fall), 0.0, 1.0))
