"""The suite of long clips, and its unit: one variant on one clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from robust_vos_ros.data.long_clips import LongClip
from robust_vos_ros.data.long_footage import take_from
from robust_vos_ros.data.long_plan import RATE_HZ, LongSettings
from robust_vos_ros.data.spells import WeatherCourse
from robust_vos_ros.eval.long_records import LongRecord
from robust_vos_ros.eval.long_stream import run_clip
from robust_vos_ros.eval.records import Record
from robust_vos_ros.eval.tasks import Dataset, Job, Variant, files_hash, load_cached, open_cached


class LongSuite(Record):
    """Which clips there are; the same suite has the same bits.

    Attributes:
        size: Side of the images in pixels.
        footage: Where objects and pictures come from; None = all are drawn.
    """

    num_clips: int
    num_frames: int
    size: int
    seed: int
    footage: Dataset | None = None
    settings: LongSettings = LongSettings()

    def clip(self, number: int) -> tuple[LongClip, WeatherCourse]:
        """Return a clip of the suite and its weather.

        Raises:
            DatasetError: The footage cannot be used.
        """
        photos, cutouts = [], []
        if self.footage is not None:
            rng = np.random.default_rng((self.seed, number, 1))
            sequences = list(open_cached(self.footage))
            photos, cutouts = take_from(rng, sequences, self.settings.max_objects)
        clip = LongClip(
            (self.seed, number),
            num_frames=self.num_frames,
            size=self.size,
            settings=self.settings,
            photos=photos,
            cutouts=cutouts,
        )
        rng = np.random.default_rng((self.seed, number, 2))
        return clip, WeatherCourse(rng, self.num_frames, RATE_HZ)


class LongTask(Job):
    """A record of a clip before it is measured."""

    record_type: ClassVar = LongRecord
    suite: LongSuite
    number: int

    def data_key(self) -> str:
        """Return a hash of the footage, empty without."""
        footage = self.suite.footage
        if footage is None:
            return ''
        names = [sequence.name for sequence in open_cached(footage)]
        return ' '.join(files_hash(footage.model_dump_json(), name) for name in names)

    def run(self) -> LongRecord:
        """Run the clip.

        Raises:
            RobustVosError: The model or the footage cannot be used.
        """
        clip, weather = self.suite.clip(self.number)
        return run_clip(
            load_cached(self.variant.model),
            self.variant.tracking,
            clip,
            weather,
            variant=self.variant.name,
            name=self.sequence,
        )


def make_long_tasks(variants: Sequence[Variant], suite: LongSuite) -> list[LongTask]:
    """Return all combinations, those of one clip side by side."""
    return [
        LongTask(variant=variant, sequence=f'long-{number:03d}', suite=suite, number=number)
        for number in range(suite.num_clips)
        for variant in variants
    ]
