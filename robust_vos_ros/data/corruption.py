"""Corruptions by name: pure functions of an image, a severity, a clip's seed and a frame index.

The eight of RobustPVOS (arXiv 2605.12006), further ones that robots meet, compounds of these, and
the six fixed ones of YouTube-VOS-P (AOC, ACM MM 2022). These are new implementations, coherent in
time (particles move, colours drift), so scores do not compare with published ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from robust_vos_ros.core.errors import ConfigError, ImageError
from robust_vos_ros.data import sensor, weather
from robust_vos_ros.data.severity import Level, Profile

_LIVE_RATE_HZ = 24  # the motion of particles is made for this rate

Corrupt = Callable[[np.ndarray, Level, int, int], np.ndarray]

ROBUSTPVOS: dict[str, Corrupt] = {
    'color_jitter': sensor.color_jitter,
    'fog': weather.fog,
    'gaussian_noise': sensor.gaussian_noise,
    'iso_noise': sensor.iso_noise,
    'motion_blur': sensor.motion_blur,
    'rain': weather.rain,
    'resampling_blur': sensor.resampling_blur,
    'snow': weather.snow,
}
FURTHER: dict[str, Corrupt] = {
    'night': weather.night,
    'droplets': weather.droplets,
    'defocus': sensor.defocus,
    'jpeg': sensor.jpeg,
}


def _chain(*parts: Corrupt) -> Corrupt:
    """Apply corruptions one after the other: the scene first, the sensor last."""

    def corrupt(image: np.ndarray, level: Level, seed: int, frame: int) -> np.ndarray:
        for part in parts:
            image = part(
                image, lambda name, part=part: level(f'{part.__name__}.{name}'), seed, frame
            )
        return image

    return corrupt


def _blur(size: int) -> Corrupt:
    return lambda image, _level, _seed, _frame: sensor.gaussian_blur(image, size)


def _points(number: int) -> Corrupt:
    return lambda image, _level, seed, frame: sensor.salt_and_pepper(image, number, seed, frame)


def _noise(sigma: float) -> Corrupt:
    return lambda image, _level, seed, frame: sensor.add_noise(image, sigma, seed, frame)


COMPOUND: dict[str, Corrupt] = {
    'fog_noise': _chain(weather.fog, sensor.gaussian_noise),
    'night_blur': _chain(sensor.motion_blur, weather.night),
    'rain_snow': _chain(weather.rain, weather.snow),
    'fog_blur_noise': _chain(weather.fog, sensor.motion_blur, sensor.gaussian_noise),
}
# As in the paper. Any severity above 0 gives the same result.
YOUTUBE_VOS_P: dict[str, Corrupt] = {
    'blur_7': _blur(7),
    'blur_9': _blur(9),
    'salt_pepper_1k': _points(1000),
    'salt_pepper_5k': _points(5000),
    'noise_10': _noise(10.0),
    'noise_30': _noise(30.0),
}
CORRUPTIONS: dict[str, Corrupt] = {**ROBUSTPVOS, **FURTHER, **COMPOUND, **YOUTUBE_VOS_P}
PRESETS: dict[str, tuple[str, ...]] = {
    'robustpvos-c': tuple(ROBUSTPVOS),
    'further': tuple(FURTHER),
    'compound': tuple(COMPOUND),
    'ytvos-p': tuple(YOUTUBE_VOS_P),
    'all': tuple(CORRUPTIONS),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Corruption:
    """A corruption of one clip, frame by frame in any order.

    Attributes:
        name: A key of `CORRUPTIONS`.
        profile: Severity over time.
        seed: Seed of the clip, see `severity.clip_seed`.
    """

    name: str
    profile: Profile
    seed: int

    def __post_init__(self) -> None:
        if self.name not in CORRUPTIONS:
            known = ', '.join(CORRUPTIONS)
            raise ConfigError(f'corruption: expected one of {known}, got {self.name!r}')

    def apply(self, image: np.ndarray, frame_index: int) -> np.ndarray:
        """Return the corrupted frame as a new array; severity 0 changes nothing.

        Args:
            image: (H, W, 3) uint8, RGB.
            frame_index: Index of the frame in the clip, from 0.

        Raises:
            ImageError: The image is of another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(f'image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}')
        if self.profile.severity == 0.0:
            return image.copy()

        def level(parameter: str) -> float:
            return self.profile.at(frame_index, self.seed, f'{self.name}.{parameter}')

        return CORRUPTIONS[self.name](image, level, self.seed, frame_index)


def find_corruptions(names: str) -> tuple[str, ...]:
    """Return the corruptions of a list.

    Args:
        names: Names of corruptions and of `PRESETS`, separated by commas.

    Raises:
        ConfigError: A name is not known.
    """
    found: list[str] = []
    for name in names.split(','):
        if name in PRESETS:
            found += PRESETS[name]
        elif name in CORRUPTIONS:
            found.append(name)
        else:
            known = ', '.join([*PRESETS, *CORRUPTIONS])
            raise ConfigError(f'corruption: expected some of {known}, got {name!r}')
    return tuple(dict.fromkeys(found))


def corrupt_live(image: np.ndarray, name: str, severity: float, stamp_ns: int) -> np.ndarray:
    """Corrupt the image of a camera; the index of its frame comes from its stamp.

    Args:
        image: (H, W, 3) uint8, RGB.
        name: A key of `CORRUPTIONS`.
        severity: 0 to 5.
        stamp_ns: Stamp of the image in nanoseconds.

    Raises:
        ConfigError: The name or the severity is not known.
        ImageError: The image is not (H, W, 3) uint8.
    """
    corruption = Corruption(name, Profile('constant', severity, 1), 0)
    return corruption.apply(image, stamp_ns * _LIVE_RATE_HZ // 1_000_000_000)
