"""Footage for training clips: data sets of videos and still images, drawn by weight."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.core.settings import Settings, setting
from robust_vos_ros.data.stills import Still, is_held_out, open_stills
from robust_vos_ros.data.video_folder import open_dataset
from robust_vos_ros.data.video_sequence import VideoSequence

STILLS = 'stills'


class SourceSettings(Settings):
    """One data set that clips are made from."""

    root: str = setting(..., 'Its folder.')
    layout: str = setting(
        'folders', 'Its layout: folders, davis2016, davis2017, youtube_vos, ..., or stills.'
    )
    weight: float = setting(1.0, 'How often it is drawn, relative to the others.', gt=0.0)
    split: str = setting('', 'Its split, for layouts that have splits.')
    exclude: str = setting(
        '', 'Text file in the root: names of sequences, stills or sources that are never read.'
    )
    void_value: int | None = setting(
        None, 'Mask value of unlabelled pixels, which count as background; null = no such value.'
    )


@dataclasses.dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image with the masks of its objects.

    Attributes:
        name: Of the sequence or still.
        image: (H, W, 3) uint8, RGB.
        masks: (K, H, W) uint8, 0 or 1; K may be 0, and masks may be empty.
        class_names: Of each object; empty = not known.
    """

    name: str
    image: np.ndarray
    masks: np.ndarray
    class_names: tuple[str, ...]


class Videos:
    """Frames of video sequences; decoded frames are cached.

    Args:
        sequences: At least one.
        cache_frames: Number of decoded frames in the cache.

    Attributes:
        labelled: For each sequence the indices of its labelled frames.
    """

    def __init__(self, sequences: Sequence[VideoSequence], cache_frames: int) -> None:
        self.sequences = tuple(sequences)
        self.labelled = [np.array(sequence.labelled) for sequence in sequences]
        self.frame = functools.lru_cache(cache_frames)(self._frame)

    def draw(self, rng: np.random.Generator, num_frames: int) -> list[LabelledImage]:
        """Draw consecutive labelled frames of one sequence."""
        sequence = int(rng.integers(len(self.sequences)))
        labelled = self.labelled[sequence]
        first = int(rng.integers(max(1, len(labelled) - num_frames + 1)))
        picked = labelled[np.minimum(first + np.arange(num_frames), len(labelled) - 1)]
        return [self.frame(sequence, int(index)) for index in picked]

    def _frame(self, sequence: int, index: int) -> LabelledImage:
        source = self.sequences[sequence]
        image = source.image(index)
        masks = source.masks(index) or {}
        stack = np.zeros((len(source.object_ids), *image.shape[:2]), np.uint8)
        for row, object_id in enumerate(source.object_ids):
            if object_id in masks:
                stack[row] = masks[object_id]
        return LabelledImage(source.name, image, stack, ('',) * len(stack))


class Stills:
    """Still images; each is read again whenever it is drawn.

    Args:
        stills: At least one.
    """

    def __init__(self, stills: Sequence[Still]) -> None:
        self.stills = tuple(stills)
        self._by_class: dict[str, list[int]] = {}
        for index, still in enumerate(stills):
            for name in sorted(set(still.class_names.values())):
                self._by_class.setdefault(name, []).append(index)

    def draw(self, rng: np.random.Generator, num_frames: int) -> list[LabelledImage]:
        """Draw one still, for any number of frames."""
        del num_frames
        return [self._read(int(rng.integers(len(self.stills))))]

    def draw_of_class(self, rng: np.random.Generator, name: str) -> LabelledImage | None:
        """Draw a still that shows an object of a class; None if there is none."""
        known = self._by_class.get(name, [])
        return self._read(int(rng.choice(known))) if known else None

    def _read(self, index: int) -> LabelledImage:
        still = self.stills[index]
        image, masks = still.image(), still.masks()
        stack = np.zeros((len(masks), *image.shape[:2]), np.uint8)
        for row, mask in enumerate(masks.values()):
            stack[row] = mask
        names = tuple(still.class_names.get(key, '') for key in masks)
        return LabelledImage(still.name, image, stack, names)


class Sources:
    """Several data sets, drawn by weight.

    Args:
        parts: The data sets.
        weights: One per data set.
    """

    def __init__(self, parts: Sequence[Videos | Stills], weights: Sequence[float]) -> None:
        self._parts = tuple(parts)
        self._weights = np.array(weights, np.float64)

    @classmethod
    def open(
        cls, settings: Sequence[SourceSettings], *, held_out: float, cache_frames: int
    ) -> Sources:
        """Open data sets.

        Args:
            settings: One per data set.
            held_out: Share of the stills that is left out, by their names.
            cache_frames: Decoded frames in the cache of each data set of videos.

        Raises:
            DatasetError: A data set cannot be used.
        """
        parts = [_open_one(one, held_out, cache_frames) for one in settings]
        return cls(parts, [one.weight for one in settings])

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def has_videos(self) -> bool:
        """Whether one of the data sets has videos."""
        return any(isinstance(part, Videos) for part in self._parts)

    def draw_videos(self, rng: np.random.Generator) -> Videos:
        """Draw a data set of videos; there must be one."""
        pairs = zip(self._parts, self._weights, strict=True)
        found = [(part, weight) for part, weight in pairs if isinstance(part, Videos)]
        weights = np.array([weight for _, weight in found])
        return found[rng.choice(len(found), p=weights / weights.sum())][0]

    def draw(self, rng: np.random.Generator, num_frames: int) -> list[LabelledImage]:
        """Draw consecutive frames of one video, or one still."""
        share = self._weights / self._weights.sum()
        return self._parts[rng.choice(len(self._parts), p=share)].draw(rng, num_frames)

    def draw_of_class(self, rng: np.random.Generator, name: str) -> LabelledImage | None:
        """Draw a still that shows an object of a class; None if there is none."""
        for part in self._parts:
            found = part.draw_of_class(rng, name) if isinstance(part, Stills) else None
            if found is not None:
                return found
        return None


def held_out_stills(root: Path, share: float) -> Sources:
    """Return the still images that `Sources.open` leaves out.

    Args:
        root: Folder of still images, as for `open_stills`.
        share: Share of the stills that is held out.

    Raises:
        DatasetError: They cannot be read, or none is held out.
    """
    stills = [still for still in open_stills(root) if is_held_out(still.name, share)]
    if not stills:
        raise DatasetError(
            f'{root}: expected still images that are held out, got none with a share of {share}; '
            'raise it, or add images'
        )
    return Sources([Stills(stills)], [1.0])


def _open_one(settings: SourceSettings, held_out: float, cache_frames: int) -> Videos | Stills:
    root = Path(settings.root).expanduser()
    exclude = Path(settings.exclude) if settings.exclude else ()
    if settings.layout == STILLS:
        stills = open_stills(root, exclude=exclude)
        return Stills([still for still in stills if not is_held_out(still.name, held_out)])
    dataset = open_dataset(
        root,
        layout=settings.layout,
        split=settings.split,
        exclude=exclude,
        void_value=settings.void_value,
    )
    return Videos(dataset.sequences, cache_frames)
