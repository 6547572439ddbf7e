"""One sequence of a video object segmentation data set: its images and masks in folders."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.labels import LabelMap, Labels, read_image
from robust_vos_ros.data.layouts import (
    IMAGE_ENDINGS,
    MASK_ENDINGS,
    MaskKind,
    list_files,
    list_folders,
)


@dataclasses.dataclass(frozen=True, slots=True)
class VideoSequence:
    """One video; files are read when they are needed, and not cached.

    Attributes:
        name: Name of its folder.
        frames: The images, in order.
        labels: Their masks.
    """

    name: str
    frames: tuple[Path, ...]
    labels: Labels = dataclasses.field(repr=False)

    @property
    def num_frames(self) -> int:
        """Number of images, labelled or not."""
        return len(self.frames)

    @property
    def labelled(self) -> tuple[int, ...]:
        """Indices of the labelled frames, at least one; no file is read."""
        return self.labels.labelled

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of all objects of the labelled frames, ascending; the first call reads all masks.

        Raises:
            DatasetError: A mask cannot be used.
        """
        return tuple(self.labels.first_appearance)

    @property
    def first_appearance(self) -> dict[int, int]:
        """Index of the first labelled frame where each object is visible, by object id.

        The first call reads all masks.

        Raises:
            DatasetError: A mask cannot be used.
        """
        return dict(self.labels.first_appearance)

    @property
    def mask_files(self) -> tuple[Path, ...]:
        """All mask files, in the order of the frames."""
        return self.labels.paths

    def image(self, index: int) -> np.ndarray:
        """Return a frame as (H, W, 3) uint8, RGB.

        Raises:
            DatasetError: The file is missing, truncated or no picture.
        """
        return read_image(self.frames[index])

    def masks(self, index: int) -> dict[int, np.ndarray] | None:
        """Return the (H, W) bool masks of the visible objects by object id, ascending.

        Returns:
            None if the frame is not labelled; empty if it is labelled and shows no object. Masks
            of `sa_v` may overlap, and its ids begin with 0.

        Raises:
            DatasetError: A mask cannot be used.
        """
        return self.labels.masks(index)

    def label_map(self, index: int) -> LabelMap | None:
        """Return the object id of each pixel; None if the frame is not labelled.

        Raises:
            DatasetError: The mask cannot be used, or the data set has one file per object.
        """
        return self.labels.label_map(index)

    def void(self, index: int) -> np.ndarray | None:
        """Return the (H, W) bool mask of unlabelled pixels.

        Returns:
            None if the frame is not labelled or the data set has no void value.

        Raises:
            DatasetError: The mask cannot be used.
        """
        return self.labels.void(index)


def open_sequence(
    name: str,
    images: Path,
    masks: Path,
    *,
    kind: MaskKind,
    frame_stride: int,
    max_frames: int,
    void_value: int | None,
) -> VideoSequence:
    """List the files of a sequence; none is read.

    Args:
        name: Name of the sequence.
        images: Folder of its images.
        masks: Folder of its masks.
        kind: Meaning of the mask pixels.
        frame_stride: Keep every n-th frame, counted from the first.
        max_frames: Keep at most so many of them; 0 = all.
        void_value: Mask value of unlabelled pixels; None = no such value.

    Raises:
        DatasetError: Images or masks are missing, or do not belong together.
    """
    frames = list_files(images, IMAGE_ENDINGS)
    if not frames:
        raise DatasetError(f'{images}: expected .jpg, .jpeg or .png images, got none')
    files: dict[str, dict[int, Path]] = {stem: {} for stem in frames}
    for object_id, folder in _mask_folders(masks, kind).items():
        for stem, path in list_files(folder, MASK_ENDINGS).items():
            if stem not in files:
                raise DatasetError(
                    f'{path}: expected an image of the same name in {images}, got none; its '
                    f'images are {next(iter(frames.values())).name} to '
                    f'{list(frames.values())[-1].name}'
                )
            files[stem][object_id] = path
    kept = list(frames)[::frame_stride][: max_frames or None]
    if not any(files[stem] for stem in kept):
        raise DatasetError(
            f'{masks}: expected PNG masks of some frames, got none with '
            f'frame_stride={frame_stride} and max_frames={max_frames}'
        )
    paths = tuple(frames[stem] for stem in kept)
    labels = Labels(paths, tuple(files[stem] for stem in kept), kind=kind, void_value=void_value)
    return VideoSequence(name, paths, labels)


def _mask_folders(masks: Path, kind: MaskKind) -> dict[int, Path]:
    """Return the folders with mask files by object id."""
    if kind is not MaskKind.PER_OBJECT:
        return {1: masks}
    folders: dict[int, Path] = {}
    for name in list_folders(masks):
        if not name.isdecimal():
            raise DatasetError(
                f'{masks / name}: expected a folder named by the number of an object, got {name!r}'
            )
        if int(name) in folders:
            raise DatasetError(
                f'{masks}: expected one folder per object, got {folders[int(name)].name} and '
                f'{name}; remove one of them'
            )
        folders[int(name)] = masks / name
    return folders
