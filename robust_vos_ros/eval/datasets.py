"""Data sets of an evaluation: sequences in folders; `rendered.py` has rendered clips."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Protocol

from robust_vos_ros.data.corruption_segments import CorruptionSchedule
from robust_vos_ros.data.video_folder import VideoFolder, open_dataset
from robust_vos_ros.data.video_sequence import VideoSequence
from robust_vos_ros.eval.labelled import LabelledFrame
from robust_vos_ros.eval.records import Record

_FOLDER_RATE_HZ = 24  # that of DAVIS; folders do not state a rate


class Sequence(Protocol):
    """A video with its ground truth."""

    @property
    def name(self) -> str:
        """Name of the sequence in its data set."""

    @property
    def num_frames(self) -> int:
        """Number of frames, labelled or not."""

    @property
    def rate_hz(self) -> int:
        """Frames per second; the states of objects depend on seconds."""

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of all objects, ascending.

        Raises:
            DatasetError: A file cannot be used.
        """

    @property
    def segments(self) -> CorruptionSchedule | None:
        """Corruptions that belong to the sequence; None if it has none."""

    def frames(self) -> Iterator[LabelledFrame]:
        """Yield the frames in order.

        Raises:
            DatasetError: A file cannot be used.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class FolderSequence:
    """A sequence of a data set in folders."""

    video: VideoSequence

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.video.name

    @property
    def num_frames(self) -> int:
        """Number of frames, labelled or not."""
        return self.video.num_frames

    @property
    def rate_hz(self) -> int:
        """Frames per second."""
        return _FOLDER_RATE_HZ

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of all objects, ascending."""
        return self.video.object_ids

    @property
    def segments(self) -> None:
        """No corruptions of its own."""
        return None

    def frames(self) -> Iterator[LabelledFrame]:
        """Yield the frames in order."""
        for index in range(self.num_frames):
            masks, void = self.video.masks(index), self.video.void(index)
            yield LabelledFrame(self.video.image(index), masks, void)


class FolderSet(Record):
    """A data set in folders; fields as the arguments of `data.video_folder.open_dataset`.

    Attributes:
        exclude: Split file of sequences that are left out; empty = none.
    """

    kind: Literal['folder'] = 'folder'
    root: Path
    layout: str = 'folders'
    split: str = ''
    exclude: str = ''
    void_value: int | None = None

    def videos(self) -> VideoFolder:
        """Open the data set, once per process.

        Raises:
            DatasetError: As `open_dataset`.
        """
        return _open(self.model_dump_json())

    def names(self) -> list[str]:
        """Return the names of the sequences in order.

        Raises:
            DatasetError: As `open_dataset`.
        """
        return [video.name for video in self.videos()]

    def open(self, name: str) -> FolderSequence:
        """Return a sequence.

        Raises:
            DatasetError: As `open_dataset`, or there is no such sequence.
        """
        return FolderSequence(self.videos()[name])

    def files_key(self, name: str) -> str:
        """Return a hash of the sizes of a sequence's images and of the content of its masks.

        Raises:
            DatasetError: As `open_dataset`.
        """
        return files_hash(self.model_dump_json(), name)

    def title(self) -> str:
        """Return a title for reports."""
        return f'{self.root.name} {self.split}'.strip()


@functools.lru_cache(4)
def _open(dataset_json: str) -> VideoFolder:
    dataset = FolderSet.model_validate_json(dataset_json)
    return open_dataset(
        dataset.root,
        layout=dataset.layout,
        split=dataset.split,
        exclude=Path(dataset.exclude) if dataset.exclude else (),
        void_value=dataset.void_value,
    )


@functools.lru_cache(4096)
def files_hash(dataset_json: str, name: str) -> str:
    """Return `FolderSet.files_key`; it is computed once per process."""
    sequence = _open(dataset_json)[name]
    digest = hashlib.sha256()
    for path in sequence.frames:
        digest.update(f'{path.name} {path.stat().st_size}\n'.encode())
    for path in sequence.mask_files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
