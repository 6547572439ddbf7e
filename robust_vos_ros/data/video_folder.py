"""Video object segmentation data sets in folders."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.layouts import (
    LAYOUTS,
    Layout,
    MaskKind,
    list_folders,
    listing,
    read_split,
)
from robust_vos_ros.data.video_sequence import VideoSequence, open_sequence


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
    """List a data set; no image is read.

    Args:
        root: Its folder.
        layout: A key of `layouts.LAYOUTS`.
        split: Name of a split. The layouts `sa_v` and `folders` need none; there it is a text file
            in the root, with or without its ending.
        include: Sequences to keep, as names or as a split file (a path, relative to the root);
            empty = all.
        exclude: Sequences to leave out, likewise.
        frame_stride: Keep every n-th frame, counted from the first.
        max_frames: Keep at most so many of them in each sequence; 0 = all.
        void_value: Mask value of unlabelled pixels, from 1 to 255; None = no such value.

    Raises:
        DatasetError: A folder, split, sequence, image or mask is missing, or an argument is
            wrong.
    """
    root = Path(root)
    _check_arguments(root, layout, frame_stride, max_frames, void_value)
    where = LAYOUTS[layout]
    if not split and where.needs_split:
        raise DatasetError(
            f'split: expected a name, as the layout {layout} needs one, got none; '
            f'{root} has {listing(_splits(root, where))}'
        )
    images = root / where.images.format(split=split)
    masks = root / where.masks.format(split=split)
    names = _select(root, _names(root, where, split, images, masks), include, exclude)
    open_one = functools.partial(
        open_sequence,
        kind=where.kind,
        frame_stride=frame_stride,
        max_frames=max_frames,
        void_value=void_value,
    )
    return VideoFolder([open_one(name, images / name, masks / name) for name in names])


def _check_arguments(
    root: Path, layout: str, frame_stride: int, max_frames: int, void_value: int | None
) -> None:
    if layout not in LAYOUTS:
        raise DatasetError(f'layout: expected one of {", ".join(LAYOUTS)}, got {layout!r}')
    if not root.is_dir():
        raise DatasetError(f'root: expected the folder of a data set, got {root}')
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
    # A missing folder is reported before a missing split file: the root or layout is wrong then.
    in_folders = dict.fromkeys([*list_folders(images), *list_folders(masks)])
    if split and where.split_file:
        path = root / where.split_file.format(split=split.removesuffix('.txt'))
        return list(read_split(path, pairs=where.split_of_pairs))
    if not in_folders:
        raise DatasetError(f'{images}: expected a folder per sequence, got none')
    return list(in_folders)


def _select(
    root: Path,
    names: list[str],
    include: Sequence[str] | Path,
    exclude: Sequence[str] | Path,
) -> list[str]:
    """Return the names that are included and not excluded, in their order."""
    kept = set(_read_names('include', include, root, names) or names)
    kept -= set(_read_names('exclude', exclude, root, names))
    if not kept:
        raise DatasetError(
            f'exclude: expected to leave a sequence of {root}, got all {len(names)} excluded'
        )
    return [name for name in names if name in kept]


def _read_names(
    argument: str, given: Sequence[str] | Path, root: Path, names: list[str]
) -> tuple[str, ...]:
    """Return the names of sequences in an argument, or in the split file that it names."""
    if isinstance(given, str):
        raise DatasetError(
            f'{argument}: expected a list of names or the Path of a split file, '
            f'got the text {given!r}'
        )
    result = read_split(root / given) if isinstance(given, Path) else tuple(given)
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
