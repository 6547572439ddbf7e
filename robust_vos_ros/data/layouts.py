"""Layouts of video object segmentation data sets: folders of images, masks and splits."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.files import natural_key

IMAGE_ENDINGS = ('.jpg', '.jpeg', '.png')
MASK_ENDINGS = ('.png',)  # JPEG compression changes ids


class MaskKind(enum.Enum):
    """Meaning of the value of a mask pixel."""

    IDS = enum.auto()  # the palette index or grey value is the object id
    BINARY = enum.auto()  # all but 0 is object 1: in DAVIS-2016, 255 is neither void nor an id
    PER_OBJECT = enum.auto()  # a folder per object, named by its id, with binary masks
    DETECT = enum.auto()  # IDS or BINARY, detected from the files


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """Layout of a data set; `{split}` stands for the name of the split.

    Attributes:
        images: Folder that has a folder of images per sequence.
        masks: Folder that has a folder of masks per sequence.
        kind: Meaning of the mask pixels.
        split_file: File with the names of the sequences of a split; empty = splits are folders.
        split_of_pairs: Whether its lines are `IMAGE MASK` instead of names.
        needs_split: Whether a split must be named.
    """

    images: str
    masks: str
    kind: MaskKind
    split_file: str = ''
    split_of_pairs: bool = False
    needs_split: bool = True


_SPLIT_FOLDERS = Layout('{split}/JPEGImages', '{split}/Annotations', MaskKind.IDS)

LAYOUTS = {
    'davis2016': Layout(
        'JPEGImages/480p',
        'Annotations/480p',
        MaskKind.BINARY,
        split_file='ImageSets/480p/{split}.txt',
        split_of_pairs=True,
    ),
    'davis2017': Layout(
        'JPEGImages/480p',
        'Annotations/480p',
        MaskKind.IDS,
        split_file='ImageSets/2017/{split}.txt',
    ),
    'youtube_vos': _SPLIT_FOLDERS,  # all that meta.json says is in the masks as well
    'mose': _SPLIT_FOLDERS,
    'lvos': _SPLIT_FOLDERS,
    'sa_v': Layout(
        'JPEGImages_24fps',
        'Annotations_6fps',
        MaskKind.PER_OBJECT,
        split_file='{split}.txt',
        needs_split=False,
    ),
    'folders': Layout(
        'JPEGImages', 'Annotations', MaskKind.DETECT, split_file='{split}.txt', needs_split=False
    ),
}


def list_folders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, without hidden ones, in natural order.

    Raises:
        DatasetError: The folder does not exist.
    """
    entries = _entries(folder, 'a folder of folders, one per sequence')
    return sorted((p.name for p in entries if p.is_dir()), key=natural_key)


def list_files(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of a folder by their name without ending, in natural order.

    Hidden files and files with other endings are left out; case does not matter.

    Raises:
        DatasetError: The folder does not exist, or two files differ only in their ending.
    """
    files: dict[str, Path] = {}
    found = (p for p in _entries(folder, 'a folder') if p.suffix.lower() in endings)
    for path in sorted(found, key=lambda p: natural_key(p.stem)):
        other = files.setdefault(path.stem, path)
        if other != path:
            raise DatasetError(
                f'{folder}: expected one file per frame, got {other.name} and {path.name}; '
                'remove one of them'
            )
    return files


def read_split(path: Path, *, pairs: bool = False) -> tuple[str, ...]:
    """Return the sequences of a split file, each once, in the order of the file.

    Args:
        path: Text file, one sequence per line; empty lines are skipped.
        pairs: Whether the lines are `IMAGE MASK`, whose folder is the sequence, as in DAVIS-2016.

    Raises:
        DatasetError: The file is missing, names nothing or has other lines.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding='utf-8').splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        near = sorted(p.name for p in path.parent.glob('*.txt'))
        raise DatasetError(
            f'{path}: expected a split file, one sequence per line, got {error}; '
            f'its folder has {listing(near)}'
        ) from error
    names = [line for line in lines if line]
    if pairs:
        names = [_sequence_of_pair(path, line) for line in names]
    if not names:
        raise DatasetError(f'{path}: expected the names of sequences, got an empty file')
    return tuple(dict.fromkeys(names))


def listing(names: list[str], most: int = 8) -> str:
    """Return names for an error text, at most `most` of them."""
    shown = ', '.join(names[:most]) or 'nothing'
    return shown if len(names) <= most else f'{shown}, ... ({len(names)} in all)'


def _entries(folder: Path, expected: str) -> list[Path]:
    """Return the files and folders in a folder that are not hidden."""
    if not folder.is_dir():
        near = folder.parent
        while not near.is_dir() and near != near.parent:
            near = near.parent
        have = sorted((p.name for p in near.iterdir() if p.is_dir()), key=natural_key)
        raise DatasetError(
            f'{folder}: expected {expected}, got nothing there; the folders in {near} are '
            f'{listing(have)}. Check the root, the layout and the split'
        )
    return [path for path in folder.iterdir() if not path.name.startswith('.')]


def _sequence_of_pair(path: Path, line: str) -> str:
    parts = line.split()
    folder = Path(parts[0]).parent.name
    if len(parts) < 2 or not folder:
        raise DatasetError(
            f'{path}: expected lines like /JPEGImages/480p/bear/00000.jpg '
            f'/Annotations/480p/bear/00000.png, got {line!r}; lines with names are for the '
            'layout davis2017'
        )
    return folder
