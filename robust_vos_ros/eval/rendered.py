"""Rendered clips as a data set: objects with long absences, or small objects on a large one."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Literal

import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.contact_clips import ContactClip, TooSmallError
from robust_vos_ros.data.corruption_segments import CorruptionSchedule
from robust_vos_ros.data.long_clips import LongClip, RenderedFrame
from robust_vos_ros.data.long_footage import cut_objects, take_footage
from robust_vos_ros.data.long_paths import RATE_HZ
from robust_vos_ros.data.long_plan import LongSettings
from robust_vos_ros.eval.datasets import FolderSet
from robust_vos_ros.eval.labelled import LabelledFrame
from robust_vos_ros.eval.records import Record

_NUM_SMALL = 2  # objects pasted onto the large one


class RenderedSet(Record):
    """A set of clips; the same settings give the same bits.

    Attributes:
        kind: long = objects with long absences; contact = small objects on a large one.
        size: Side of the images in pixels.
        footage: Source of objects and backgrounds; None = all are drawn.
        settings: Of long clips.
    """

    kind: Literal['long', 'contact'] = 'long'
    num_clips: int
    num_frames: int
    size: int
    seed: int
    footage: FolderSet | None = None
    settings: LongSettings = LongSettings()

    def names(self) -> list[str]:
        """Return the names of the clips in order."""
        return [self.name_of(number) for number in range(self.num_clips)]

    def name_of(self, number: int) -> str:
        """Return the name of a clip."""
        return f'{self.kind}-{number:03d}'

    def open(self, name: str) -> RenderedSequence:
        """Return a clip."""
        return RenderedSequence(self, int(name.rpartition('-')[2]))

    def files_key(self, _name: str) -> str:
        """Return a hash of the footage, which any clip may use; empty without footage.

        Raises:
            DatasetError: The footage cannot be used.
        """
        if self.footage is None:
            return ''
        return ' '.join(self.footage.files_key(name) for name in self.footage.names())

    def title(self) -> str:
        """Return a title for reports."""
        objects = 'drawn objects' if self.footage is None else f'objects of {self.footage.title()}'
        return f'{self.num_clips} {self.kind} clips of {objects}'

    def render(self, number: int) -> LongClip | ContactClip:
        """Return a clip, before its frames are rendered.

        Raises:
            DatasetError: The footage cannot be used.
        """
        return self._contact_clip(number) if self.kind == 'contact' else self._long_clip(number)

    def _long_clip(self, number: int) -> LongClip:
        photos, cutouts = [], []
        if self.footage is not None:
            rng = np.random.default_rng((self.seed, number, 1))
            videos = list(self.footage.videos())
            photos, cutouts = take_footage(rng, videos, self.settings.max_objects)
        return LongClip(
            (self.seed, number),
            num_frames=self.num_frames,
            size=self.size,
            settings=self.settings,
            photos=photos,
            cutouts=cutouts,
        )

    def _contact_clip(self, number: int) -> ContactClip:
        """Return a contact clip; in every second one the large object is prompted as well."""
        if self.footage is None:
            raise DatasetError('contact clips show real objects: expected footage, got none')
        rng = np.random.default_rng((self.seed, number, 1))
        videos = list(self.footage.videos())
        order = [videos[i] for i in rng.permutation(len(videos))]
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
            f'expected an object large enough to carry others in {len(order)} sequences, got none'
        )


@dataclasses.dataclass(frozen=True)
class RenderedSequence:
    """One clip; object k has the id k + 1."""

    dataset: RenderedSet
    number: int

    @property
    def name(self) -> str:
        """Name of the clip."""
        return self.dataset.name_of(self.number)

    @property
    def num_frames(self) -> int:
        """Number of frames; all are labelled."""
        return self.dataset.num_frames

    @property
    def rate_hz(self) -> int:
        """Frames per second."""
        return RATE_HZ

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the prompted objects, ascending."""
        return tuple(range(1, self.clip.num_objects + 1))

    @property
    def segments(self) -> CorruptionSchedule:
        """Corruptions of the clip."""
        rng = np.random.default_rng((self.dataset.seed, self.number, 2))
        return CorruptionSchedule(rng, self.num_frames, RATE_HZ)

    @functools.cached_property
    def clip(self) -> LongClip | ContactClip:
        """The clip; its frames are rendered when they are asked for."""
        return self.dataset.render(self.number)

    def frames(self) -> Iterator[LabelledFrame]:
        """Yield the frames in order, not corrupted."""
        for t in range(self.num_frames):
            yield self._labelled(self.clip.frame(t))

    def _labelled(self, frame: RenderedFrame) -> LabelledFrame:
        masks = {key: frame.mask(key - 1) for key in self.object_ids}
        visible_px = [np.count_nonzero(mask) for mask in masks.values()]
        shares = np.minimum(np.array(visible_px) / np.maximum(frame.full_px, 1), 1.0)
        return LabelledFrame(
            frame.image,
            {key: mask for key, mask in masks.items() if mask.any()},
            visible=dict(zip(masks, shares.tolist(), strict=True)),
            in_view=dict(zip(masks, (frame.inside_px > 0).tolist(), strict=True)),
        )
