"""Corrupt training clips: each gets a random corruption and a random severity over time."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.data.corruption import Corruption, find_corruptions
from robust_vos_ros.data.severity import MAX_SEVERITY, Profile, clip_seed

# Corruptions are tuned for camera images; training clips are half as large.
_ENLARGE = 2
_PROFILE_FRAMES = 80  # length of the video that a training clip is a part of


class AugmentationSettings(Settings):
    """How training clips are corrupted."""

    share: float = setting(0.0, 'Share of clips that are corrupted.', ge=0.0, le=1.0)
    corruptions: str = setting(
        'robustpvos-c', 'Corruptions and presets to draw from, separated by commas.'
    )
    min_severity: float = setting(1.0, 'Least mean severity of a clip.', ge=0.0, le=MAX_SEVERITY)
    max_severity: float = setting(5.0, 'Largest mean severity of a clip.', ge=0.0, le=MAX_SEVERITY)
    constant: float = setting(
        0.0,
        'Share of the corrupted clips that have severity 5 throughout; the severity of the others '
        'follows a Fourier mixture.',
        ge=0.0,
        le=1.0,
    )


def draw_corruption(
    rng: np.random.Generator, settings: AugmentationSettings, num_frames: int
) -> tuple[Corruption, int] | None:
    """Draw the corruption of a clip; None = it stays clean.

    The severity follows the Fourier mixture of RobustPVOS, or is 5. The seeds differ from those
    of every benchmark.

    Args:
        rng: Source of all randomness.
        settings: What to draw.
        num_frames: Of the clip, below 80.

    Returns:
        The corruption of a video of 80 frames, and the index of the clip's first frame in it.
    """
    if not settings.share or rng.random() >= settings.share:
        return None
    name = str(rng.choice(find_corruptions(settings.corruptions)))
    severity = rng.uniform(settings.min_severity, settings.max_severity)
    start = int(rng.integers(_PROFILE_FRAMES - num_frames))
    seed = clip_seed(f'training/{rng.integers(2**62)}')
    profile = Profile('fourier', severity, _PROFILE_FRAMES)
    if settings.constant and rng.random() < settings.constant:
        profile = Profile('constant', MAX_SEVERITY, _PROFILE_FRAMES)
    return Corruption(name, profile, seed), start


def corrupt_clip(clip: Clip, rng: np.random.Generator, settings: AugmentationSettings) -> Clip:
    """Return the clip, or a corrupted copy of it.

    Args:
        clip: Square images of any size.
        rng: Source of all randomness.
        settings: What to draw.
    """
    drawn = draw_corruption(rng, settings, len(clip.images))
    if drawn is None:
        return clip
    corruption, start = drawn
    images = np.stack([_apply(corruption, im, start + t) for t, im in enumerate(clip.images)])
    return dataclasses.replace(clip, name=f'{clip.name}/{corruption.name}', images=images)


def _apply(corruption: Corruption, image: np.ndarray, index: int) -> np.ndarray:
    height, width = image.shape[:2]
    large = cv2.resize(image, (width * _ENLARGE, height * _ENLARGE))
    corrupted = corruption.apply(large, index)
    return cv2.resize(corrupted, (width, height), interpolation=cv2.INTER_AREA)
