"""Conditions of an evaluation: which corruption is applied to a sequence."""

from __future__ import annotations

from collections.abc import Sequence as List

import numpy as np

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.data.corruption import YOUTUBE_VOS_P, Corruption, find_corruptions
from robust_vos_ros.data.severity import MAX_SEVERITY, PROFILES, Profile, clip_seed
from robust_vos_ros.eval.datasets import Sequence
from robust_vos_ros.eval.records import CLEAN, SEGMENTS, Condition


class SequenceCorruption:
    """The corruption of a sequence under a condition.

    Raises:
        ConfigError: The corruption is unknown, or its severity is out of range.
    """

    def __init__(self, condition: Condition, sequence: Sequence) -> None:
        self._segments = sequence.segments if condition.corruption == SEGMENTS else None
        self._corruption: Corruption | None = None
        if condition.is_corrupted:
            profile = Profile(condition.profile, condition.severity, sequence.num_frames)
            seed = clip_seed(sequence.name, condition.seed)
            self._corruption = Corruption(condition.corruption, profile, seed)

    def at(self, index: int) -> str:
        """Return the name of the corruption of a frame, empty if it is clean."""
        if self._segments is not None:
            return self._segments.at(index)[0]
        return '' if self._corruption is None else self._corruption.name

    def apply(self, image: np.ndarray, index: int) -> np.ndarray:
        """Return the frame after its corruption; (H, W, 3) uint8, RGB, as the image."""
        corruption = self._segments or self._corruption
        return image if corruption is None else corruption.apply(image, index)


def make_conditions(
    corruptions: str, severities: List[float], *, profile: str, seed: int
) -> list[Condition]:
    """Return the clean condition, then every corruption at every severity; fixed ones once.

    Args:
        corruptions: As in `data.corruption.find_corruptions`; empty = only clean.
        severities: Each above 0, up to 5.
        profile: A name of `data.severity.PROFILES`.
        seed: Of the corruptions.

    Raises:
        ConfigError: A name is unknown, or a severity is out of range.
    """
    if profile not in PROFILES:
        raise ConfigError(f'profile: expected one of {", ".join(PROFILES)}, got {profile!r}')
    if not all(0.0 < severity <= MAX_SEVERITY for severity in severities):
        raise ConfigError(
            f'severity: expected numbers above 0, up to {MAX_SEVERITY:g}, got {severities}'
        )
    names = find_corruptions(corruptions) if corruptions else ()
    fixed = [name for name in names if name in YOUTUBE_VOS_P]
    return [
        Condition(corruption=CLEAN, severity=0.0, profile='constant', seed=seed),
        *(
            Condition(corruption=name, severity=severity, profile=profile, seed=seed)
            for name in names
            if name not in fixed
            for severity in dict.fromkeys(severities)
        ),
        *(
            Condition(corruption=name, severity=1.0, profile='constant', seed=seed)
            for name in fixed
        ),
    ]


def segments(seed: int) -> list[Condition]:
    """Return the condition of rendered clips: the corruptions that belong to each of them."""
    return [Condition(corruption=SEGMENTS, severity=0.0, profile='constant', seed=seed)]
