"""Still images with the masks of several objects, in folders; some are held out of training."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.labels import Labels, read_image
from robust_vos_ros.data.layouts import (
    IMAGE_ENDINGS,
    MASK_ENDINGS,
    MaskKind,
    list_files,
    list_folders,
    listing,
    read_split,
)

_HASH_RANGE = 2**32


@dataclasses.dataclass(frozen=True, slots=True)
class Still:
    """One photograph and the masks of its objects; files are read when they are asked for.

    Attributes:
        name: `SOURCE/NAME`, or `NAME` where the root is a single source.
        path: The image.
        labels: Its one mask file.
        class_names: By object id; not all objects have one.
    """

    name: str
    path: Path
    labels: Labels = dataclasses.field(repr=False)
    class_names: dict[int, str] = dataclasses.field(default_factory=dict)

    def image(self) -> np.ndarray:
        """Return the (H, W, 3) uint8 RGB photograph.

        Raises:
            DatasetError: The file is missing, truncated or no picture.
        """
        return read_image(self.path)

    def masks(self) -> dict[int, np.ndarray]:
        """Return the (H, W) bool masks by object id, ascending.

        Raises:
            DatasetError: The mask cannot be used.
        """
        return self.labels.masks(0) or {}


def open_stills(root: Path, *, exclude: Sequence[str] | Path = ()) -> list[Still]:
    """List still images; none is read.

    Args:
        root: Folder of sources, each with `images/`, `masks/` (PNG, the palette index or grey
            value is the object id, 0 = background) and perhaps `names.json`
            (`{image name: {object id: class name}}`); or one such source.
        exclude: Names of sources or stills to leave out, or a text file in the root with them.

    Returns:
        The stills, in the order of their names.

    Raises:
        DatasetError: A folder, image or mask is missing, names.json is damaged, or a name to
            exclude is not there.
    """
    root = Path(root)
    single = (root / 'images').is_dir()
    sources = [''] if single else list_folders(root)
    stills = [still for source in sources for still in _read_source(root, source)]
    if not stills:
        raise DatasetError(
            f'{root}: expected images/ and masks/, or folders that hold them, got none; '
            f'its folders are {listing(sources)}'
        )
    left_out = set(read_split(root / exclude) if isinstance(exclude, Path) else exclude)
    known = {still.name for still in stills} | {still.name.split('/')[0] for still in stills}
    if left_out - known:
        raise DatasetError(
            f'exclude: expected names of sources or stills of {root}, '
            f'got {listing(sorted(left_out - known))}'
        )
    return [s for s in stills if not {s.name, s.name.split('/')[0]} & left_out]


def is_held_out(name: str, share: float) -> bool:
    """Tell whether a still is held out of training; that depends on its name alone.

    Args:
        name: Of the still.
        share: Share of the stills that is held out, 0 to 1.
    """
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], 'big')
    return number < share * _HASH_RANGE


def _read_source(root: Path, source: str) -> list[Still]:
    folder = root / source
    images = list_files(folder / 'images', IMAGE_ENDINGS)
    masks = list_files(folder / 'masks', MASK_ENDINGS)
    if images.keys() != masks.keys():
        odd = sorted(images.keys() ^ masks.keys())
        raise DatasetError(
            f'{folder}: expected a mask for each image and an image for each mask, got only one '
            f'of both for {listing(odd)}; add the other one or remove it'
        )
    class_names = _read_class_names(folder / 'names.json')
    return [
        Still(
            f'{source}/{name}' if source else name,
            path,
            Labels((path,), ({1: masks[name]},), kind=MaskKind.IDS),
            class_names.get(name, {}),
        )
        for name, path in images.items()
    ]


def _read_class_names(path: Path) -> dict[str, dict[int, str]]:
    if not path.exists():
        return {}
    try:
        table = json.loads(path.read_text(encoding='utf-8'))
        return {
            str(image): {int(number): str(name) for number, name in names.items()}
            for image, names in table.items()
        }
    except (OSError, ValueError, AttributeError) as error:
        raise DatasetError(
            f'{path}: expected JSON {{image name: {{object id: class name}}}}, got {error}'
        ) from error
