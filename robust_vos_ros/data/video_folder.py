"""Video object segmentation data sets in folders: images, masks and first appearances."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.labels import LabelMap, Labels, read_image
from robust_vos_ros.data.layouts import (
    IMAGE_ENDINGS,
    LAYOUTS,
    MASK_ENDINGS,
    Layout,
    MaskKind,
    list_files,
    list_folders,
    listing,
    read_split,
)


@dataclasses.dataclass(frozen=True, slots=True)
class VideoSequence:
    """One video; files are read when they are asked for, and not kept.

    Attributes:
        name: Name of its folder.
        frames: Images in the order of time.
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
        """Indices of the labelled frames, at least one; reads no file."""
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
        """All files with masks, in the order of time."""
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
            None if the frame is not labelled; nothing in it if it is, and shows no object. Masks
            of `sa_v` may overlap, and its ids begin with 0.

        Raises:
            DatasetError: A mask cannot be used.
        """
        return self.labels.masks(index)

    def label_map(self, index: int) -> LabelMap | None:
        """Return the object that owns each pixel; None if the frame is not labelled.

        Raises:
            DatasetError: The mask cannot be used, or the data set has one file per object.
        """
        return self.labels.label_map(index)

    def void(self, index: int) -> np.ndarray | None:
        """Return the (H, W) bool pixels that nobody labelled.

        Returns:
            None if the frame is not labelled or the data set has no void value.

        Raises:
            DatasetError: The mask cannot be used.
        """
        return self.labels.void(index)


class VideoFolder:
    """The sequences of a data set, in the order of its split file or of their names."""

    def __init__(self, sequences: Sequence[VideoSequence]) -> None:
        self.sequences = tuple(sequences)
        self._by_name = {sequence.name: sequence for sequence in self.sequences}

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[VideoSequence]:
        return iter(self.sequences)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> VideoSequence:
        """Return the sequence of that name.

        Raises:
            DatasetError: There is none.
        """
        _check_known([name], list(self._by_name), 'sequence')
        return self._by_name[name]


def open_dataset(
    root: Path,
    *,
    layout: str,
    split: str = '',
    include: Sequence[str] | Path = (),
    exclude: Sequence[str] | Path = (),
    frame_stride: int = 1,
    max_frames: int = 0,
    void_value: int | None = None,
) -> VideoFolder:
    """List a data set without reading any image.

    Args:
        root: Its folder.
        layout: A key of `layouts.LAYOUTS`.
        split: Name of a split. Layouts `sa_v` and `folders` need none; there it is a text file in
            the root, with or without its ending.
        include: Sequences to keep, as names or as a split file (a path, relative to the root);
            empty = all.
        exclude: Sequences to leave out, likewise.
        frame_stride: Keep every n-th frame, counted from the first.
        max_frames: Keep so many of them in each sequence; 0 = all.
        void_value: Mask value of pixels that nobody labelled, from 1 to 255; None = no void.

    Raises:
        DatasetError: A folder, split, sequence, image or mask is missing, or an argument is
            wrong.
    """
    root = Path(root)
    if layout not in LAYOUTS:
        raise DatasetError(f'layout: expected one of {", ".join(LAYOUTS)}, got {layout!r}')
    if not root.is_dir():
        raise DatasetError(f'root: expected the folder of a data set, got {root}')
    where = LAYOUTS[layout]
    _check_numbers(layout, frame_stride, max_frames, void_value)
    if not split and where.needs_split:
        raise DatasetError(
            f'split: expected a name, as the layout {layout} needs one, got none; '
            f'{root} has {listing(_splits(root, where))}'
        )
    images = root / where.images.format(split=split)
    masks = root / where.masks.format(split=split)
    names = _names(root, where, split, images, masks)
    kept = set(_chosen('include', include, root, names) or names)
    kept -= set(_chosen('exclude', exclude, root, names))
    if not kept:
        raise DatasetError(
            f'exclude: expected to leave a sequence of {root}, got all {len(names)} excluded'
        )
    return VideoFolder(
        [
            _sequence(
                name,
                images / name,
                masks / name,
                kind=where.kind,
                frame_stride=frame_stride,
                max_frames=max_frames,
                void_value=void_value,
            )
            for name in names
            if name in kept
        ]
    )


def _check_numbers(
    layout: str, frame_stride: int, max_frames: int, void_value: int | None
) -> None:
    if frame_stride < 1:
        raise DatasetError(f'frame_stride: expected 1 or more, got {frame_stride}')
    if max_frames < 0:
        raise DatasetError(f'max_frames: expected 0 or more, got {max_frames}')
    if void_value is None:
        return
    if not 1 <= void_value <= 255:
        raise DatasetError(f'void_value: expected 1 to 255, got {void_value}')
    if LAYOUTS[layout].kind in {MaskKind.BINARY, MaskKind.PER_OBJECT}:
        raise DatasetError(
            f'void_value: expected none, as masks of the layout {layout} are on or off, '
            f'got {void_value}'
        )


def _splits(root: Path, where: Layout) -> list[str]:
    """Return the splits that a data set seems to have."""
    if where.split_file:
        return sorted(path.stem for path in root.glob(where.split_file.format(split='*')))
    return sorted(path.parent.name for path in root.glob(where.images.format(split='*')))


def _names(root: Path, where: Layout, split: str, images: Path, masks: Path) -> list[str]:
    """Return the sequences of a split."""
    # A missing folder is told before a missing split file: then the root or layout is wrong.
    in_folders = dict.fromkeys([*list_folders(images), *list_folders(masks)])
    if split and where.split_file:
        path = root / where.split_file.format(split=split.removesuffix('.txt'))
        return list(read_split(path, pairs=where.split_of_pairs))
    if not in_folders:
        raise DatasetError(f'{images}: expected a folder per sequence, got none')
    return list(in_folders)


def _chosen(
    argument: str, chosen: Sequence[str] | Path, root: Path, names: list[str]
) -> tuple[str, ...]:
    """Return names of sequences that a user gave, or that a split file of theirs holds."""
    if isinstance(chosen, str):
        raise DatasetError(
            f'{argument}: expected a list of names or the Path of a split file, '
            f'got the text {chosen!r}'
        )
    result = read_split(root / chosen) if isinstance(chosen, Path) else tuple(chosen)
    _check_known(result, names, argument)
    return result


def _check_known(asked: Sequence[str], names: list[str], argument: str) -> None:
    unknown = [name for name in asked if name not in names]
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=3) or names
        raise DatasetError(
            f'{argument}: expected names of sequences like {listing(near, 3)}, '
            f'got {listing(unknown)}'
        )


def _sequence(
    name: str,
    images: Path,
    masks: Path,
    *,
    kind: MaskKind,
    frame_stride: int,
    max_frames: int,
    void_value: int | None,
) -> VideoSequence:
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
