"""What a training sees: a mixture of real, warped and synthetic clips, drawn by a seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robust_vos_ros.core.config import Settings, setting
from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.data.clips import ClipMaker, ClipSettings
from robust_vos_ros.data.spoil import SpoilSettings
from robust_vos_ros.data.video_folder import VideoSequence, open_dataset

_KINDS = ('real', 'warped', 'synthetic')


class DataSettings(Settings):
    """Where clips come from and how large they are."""

    root: str = setting('', 'Folder of a video data set; empty = synthetic clips only.')
    layout: str = setting('folders', 'Its layout: davis2016, davis2017, youtube_vos, ...')
    split: str = setting('', 'Its split, for layouts that have splits.')
    exclude: str = setting('', 'Text file in the root: sequences that are never read.')
    void_value: int | None = setting(
        None, 'Mask value of unlabelled pixels, which count as background; none = no such value.'
    )
    real: float = setting(0.4, 'Weight of real clips.', ge=0.0)
    warped: float = setting(0.3, 'Weight of clips made of one real frame.', ge=0.0)
    synthetic: float = setting(0.3, 'Weight of rendered clips.', ge=0.0)
    synthetic_from: float = setting(
        0.0, 'Share of the training after which rendered clips join.', ge=0.0, lt=1.0
    )
    batch_size: int = setting(8, 'Clips per step and process.', ge=1)
    num_frames: int = setting(4, 'Frames per clip.', ge=2, le=64)
    long_frames: int = setting(6, 'Frames per clip towards the end of the training.', ge=2, le=64)
    long_share: float = setting(0.2, 'Share of the training with long clips.', ge=0.0, le=1.0)
    max_objects: int = setting(2, 'Objects tracked per clip.', ge=1, le=16)
    min_area: float = setting(
        0.002, 'Smallest first mask of a tracked object, share of the image.', gt=0.0, le=1.0
    )
    clips: ClipSettings = ClipSettings()
    spoil: SpoilSettings = SpoilSettings()


class Mixture:
    """Source of training clips.

    Args:
        settings: What to draw.
        size: Side of the square images in pixels.

    Raises:
        DatasetError: The data set cannot be used.
    """

    def __init__(self, settings: DataSettings, size: int) -> None:
        self._settings = settings
        self._size = size
        real = settings.real + settings.warped if settings.root else 0.0
        if not real + settings.synthetic:
            raise DatasetError('no clips: give data.root or a weight to data.synthetic')
        self._maker = ClipMaker(settings.clips, size, _sequences(settings))

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
        while True:
            clip = self._maker.make(kind, rng, num_frames)
            areas = clip.masks[:, 0].mean(axis=(1, 2))
            usable = np.flatnonzero((areas >= settings.min_area) & (areas < 0.9))
            if len(usable):
                rng.shuffle(usable)
                chosen = np.sort(usable[: settings.max_objects])
                return clip, chosen

    def _shares(self, progress: float) -> np.ndarray:
        settings = self._settings
        weights = np.array([settings.real, settings.warped, settings.synthetic])
        if not settings.root:
            return np.array([0.0, 0.0, 1.0])
        if progress < settings.synthetic_from:
            weights[2] = 0.0
        return weights / weights.sum()


def _sequences(settings: DataSettings) -> list[VideoSequence]:
    if not settings.root:
        return []
    dataset = open_dataset(
        Path(settings.root).expanduser(),
        layout=settings.layout,
        split=settings.split,
        exclude=Path(settings.exclude) if settings.exclude else (),
        void_value=settings.void_value,
    )
    return list(dataset.sequences)
