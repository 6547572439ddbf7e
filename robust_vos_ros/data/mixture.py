"""The clips of a training: a mixture of real, layered and synthetic ones, drawn by a seed."""

from __future__ import annotations

import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.data.augmentation import AugmentationSettings
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.data.clips import ClipMaker, ClipSettings
from robust_vos_ros.data.sources import Sources, SourceSettings

_KINDS = ('real', 'layered', 'synthetic')


class DataSettings(Settings):
    """Where clips come from and how large they are."""

    sources: list[SourceSettings] = setting(
        [], 'Data sets of videos and still images; empty = synthetic clips only.'
    )
    held_out: float = setting(
        0.1,
        'Share of the still images, chosen by their names, that is never trained on.',
        ge=0.0,
        lt=1.0,
    )
    cache_frames: int = setting(4000, 'Decoded video frames in the cache of each source.', ge=0)
    real: float = setting(0.4, 'Weight of real clips.', ge=0.0)
    layered: float = setting(0.4, 'Weight of clips made of single images.', ge=0.0)
    synthetic: float = setting(0.2, 'Weight of rendered clips.', ge=0.0)
    synthetic_from: float = setting(
        0.0,
        'Share of the training that has passed before rendered clips are used.',
        ge=0.0,
        lt=1.0,
    )
    batch_size: int = setting(8, 'Clips per step and process.', ge=1)
    num_frames: int = setting(4, 'Frames per clip.', ge=2, le=64)
    long_frames: int = setting(6, 'Frames per clip towards the end of the training.', ge=2, le=64)
    long_share: float = setting(
        0.2, 'Share of the training, at its end, with `long_frames`.', ge=0.0, le=1.0
    )
    max_objects: int = setting(
        5,
        'Most objects tracked per clip; each number from 1 on is equally likely.',
        ge=1,
        le=16,
    )
    min_area: float = setting(
        0.002,
        'Area of the smallest tracked object in the first frame, share of the image.',
        gt=0.0,
        le=1.0,
    )
    clips: ClipSettings = ClipSettings()
    augmentation: AugmentationSettings = AugmentationSettings()


def open_pictures(settings: DataSettings) -> Sources:
    """Open data sets of which single pictures are drawn.

    Raises:
        DatasetError: A data set cannot be used, or there is none.
    """
    sources = Sources.open(
        settings.sources, held_out=settings.held_out, cache_frames=settings.cache_frames
    )
    if not len(sources):
        raise DatasetError('data.sources: expected data sets of pictures, got none')
    return sources


class Mixture:
    """Source of training clips.

    Args:
        settings: Which clips are drawn.
        size: Side of the square images in pixels.

    Raises:
        DatasetError: A data set cannot be used.
    """

    def __init__(self, settings: DataSettings, size: int) -> None:
        self._settings = settings
        sources = Sources.open(
            settings.sources, held_out=settings.held_out, cache_frames=settings.cache_frames
        )
        self._weights = np.array([settings.real, settings.layered, settings.synthetic])
        if not sources.has_videos:
            self._weights[0] = 0.0
        if not len(sources):
            self._weights[1] = 0.0
        if not self._weights.sum():
            raise DatasetError(
                'no clips: expected data.sources, or data.synthetic above 0; set one of them'
            )
        self._maker = ClipMaker(settings.clips, size, sources)

    def draw(
        self, rng: np.random.Generator, num_frames: int, progress: float
    ) -> tuple[Clip, np.ndarray]:
        """Return one clean clip and the rows of the objects to track in it.

        Args:
            rng: Source of all randomness.
            num_frames: T.
            progress: Share of the training that is done, 0 to 1.
        """
        settings = self._settings
        kind = rng.choice(_KINDS, p=self._shares(progress))
        most = int(rng.integers(1, settings.max_objects + 1))
        while True:
            clip = self._maker.make(kind, rng, num_frames)
            areas = clip.masks[:, 0].mean(axis=(1, 2))
            usable = np.flatnonzero((areas >= settings.min_area) & (areas < 0.9))
            if len(usable):
                rng.shuffle(usable)
                return clip, np.sort(usable[:most])

    def _shares(self, progress: float) -> np.ndarray:
        weights = self._weights.copy()
        if progress < self._settings.synthetic_from and weights[:2].any():
            weights[2] = 0.0
        return weights / weights.sum()
