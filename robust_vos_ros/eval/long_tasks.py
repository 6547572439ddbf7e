"""The suites of long clips and of contact, and their unit: one variant on one clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.contact_clips import ContactClip, TooSmallError
from robust_vos_ros.data.long_clips import LongClip
from robust_vos_ros.data.long_footage import cut_objects, take_from
from robust_vos_ros.data.long_plan import RATE_HZ, LongSettings
from robust_vos_ros.data.spells import WeatherCourse
from robust_vos_ros.eval.long_records import LongRecord
from robust_vos_ros.eval.long_stream import run_clip
from robust_vos_ros.eval.prompting import PromptForm
from robust_vos_ros.eval.records import Record
from robust_vos_ros.eval.tasks import Dataset, Job, Variant, files_hash, load_cached, open_cached

_NUM_SMALL = 2  # objects pasted onto the large one


class LongSuite(Record):
    """Which clips there are; the same suite has the same bits.

    Attributes:
        kind: long = objects that hide and leave; contact = small ones on a large one.
        size: Side of the images in pixels.
        footage: Where objects and pictures come from; None = all are drawn.
        prompt: How objects are pointed at.
    """

    kind: Literal['long', 'contact'] = 'long'
    num_clips: int
    num_frames: int
    size: int
    seed: int
    footage: Dataset | None = None
    prompt: PromptForm = 'mask'
    settings: LongSettings = LongSettings()

    def clip(self, number: int) -> tuple[LongClip | ContactClip, WeatherCourse]:
        """Return a clip of the suite and its weather.

        Raises:
            DatasetError: The footage cannot be used.
        """
        rng = np.random.default_rng((self.seed, number, 2))
        weather = WeatherCourse(rng, self.num_frames, RATE_HZ)
        clip = self._contact_clip(number) if self.kind == 'contact' else self._long_clip(number)
        return clip, weather

    def _long_clip(self, number: int) -> LongClip:
        photos, cutouts = [], []
        if self.footage is not None:
            rng = np.random.default_rng((self.seed, number, 1))
            sequences = list(open_cached(self.footage))
            photos, cutouts = take_from(rng, sequences, self.settings.max_objects)
        return LongClip(
            (self.seed, number),
            num_frames=self.num_frames,
            size=self.size,
            settings=self.settings,
            photos=photos,
            cutouts=cutouts,
        )

    def _contact_clip(self, number: int) -> ContactClip:
        """Return a clip of contact; in every second one the large object is prompted as well."""
        if self.footage is None:
            raise DatasetError('clips of contact show real objects: expected footage, got none')
        rng = np.random.default_rng((self.seed, number, 1))
        sequences = list(open_cached(self.footage))
        order = [sequences[i] for i in rng.permutation(len(sequences))]
        for index, large in enumerate(order):
            others = order[index + 1 :] + order[:index]
            cutouts, _ = cut_objects(rng, others or order, _NUM_SMALL)
            try:
                return ContactClip(
                    (self.seed, number),
                    num_frames=self.num_frames,
                    size=self.size,
                    sequence=large,
                    cutouts=cutouts,
                    prompts_large=number % 2 == 0,
                )
            except TooSmallError:
                continue
        raise DatasetError(
            f'expected an object large enough to hold others in {len(order)} sequences, got none'
        )


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
            prompt=self.suite.prompt,
        )


def make_long_tasks(variants: Sequence[Variant], suite: LongSuite) -> list[LongTask]:
    """Return all combinations, those of one clip side by side."""
    return [
        LongTask(
            variant=variant, sequence=f'{suite.kind}-{number:03d}', suite=suite, number=number
        )
        for number in range(suite.num_clips)
        for variant in variants
    ]
