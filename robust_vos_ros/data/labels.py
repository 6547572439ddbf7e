"""Images and masks of one video, read from files when they are needed."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from robust_vos_ros.core.errors import DatasetError
from robust_vos_ros.data.layouts import MaskKind


@dataclasses.dataclass(frozen=True, slots=True)
class LabelMap:
    """Object ids of the pixels of one labelled frame.

    Attributes:
        ids: (H, W) uint8: the object id, 0 = background or void.
        void: (H, W) bool, unlabelled pixels; None = the data set has no void value.
    """

    ids: np.ndarray
    void: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or self.ids.dtype != np.uint8:
            raise ValueError(f'ids: expected (H, W) uint8, got {self.ids.shape} {self.ids.dtype}')
        if self.void is not None and self.void.shape != self.ids.shape:
            raise ValueError(f'void: expected {self.ids.shape}, got {self.void.shape}')


class Labels:
    """The masks of one sequence.

    Args:
        frames: Paths of the images.
        files: For each frame its mask files by object id; empty if it is not labelled. Kinds
            other than PER_OBJECT have one file per frame, under any id.
        kind: Meaning of the mask pixels.
        void_value: Mask value of unlabelled pixels; None = no such value.
    """

    def __init__(
        self,
        frames: tuple[Path, ...],
        files: tuple[dict[int, Path], ...],
        *,
        kind: MaskKind,
        void_value: int | None = None,
    ) -> None:
        self._frames = frames
        self._files = files
        self._kind = kind
        self._void_value = void_value

    @functools.cached_property
    def labelled(self) -> tuple[int, ...]:
        """Indices of the labelled frames; no file is read."""
        return tuple(i for i, files in enumerate(self._files) if files)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The mask files, in the order of frames and object ids."""
        return tuple(files[k] for files in self._files for k in sorted(files))

    @functools.cached_property
    def first_appearance(self) -> dict[int, int]:
        """Index of the first labelled frame where each object is visible, by object id.

        Raises:
            DatasetError: A mask cannot be used.
        """
        first: dict[int, int] = {}
        for index in self.labelled:
            for object_id in self.masks(index) or ():
                first.setdefault(object_id, index)
        return dict(sorted(first.items()))

    def masks(self, index: int) -> dict[int, np.ndarray] | None:
        """Return the (H, W) bool masks of the visible objects by object id; None without labels.

        Raises:
            DatasetError: The mask cannot be used.
        """
        files = self._files[index]
        if not files:
            return None
        if self._kind is MaskKind.PER_OBJECT:
            image = self._frames[index]
            read = {object_id: _read_binary(path, image) for object_id, path in files.items()}
            return {object_id: mask for object_id, mask in read.items() if mask.any()}
        ids = self._label_map(index).ids
        visible = np.flatnonzero(np.bincount(ids.ravel(), minlength=256)[1:]) + 1
        return {int(object_id): ids == object_id for object_id in visible}

    def label_map(self, index: int) -> LabelMap | None:
        """Return the object id of each pixel; None without labels.

        Raises:
            DatasetError: The mask cannot be used, or there is one file per object.
        """
        if not self._files[index]:
            return None
        if self._kind is MaskKind.PER_OBJECT:
            raise DatasetError(
                f'{self._frames[index]}: expected one mask for all objects, got one per object, '
                'and they may overlap; ask for masks instead of a label map'
            )
        return self._label_map(index)

    def void(self, index: int) -> np.ndarray | None:
        """Return the (H, W) bool mask of unlabelled pixels; None without labels or void value.

        Raises:
            DatasetError: The mask cannot be used.
        """
        if not self._files[index] or self._void_value is None:
            return None
        return self._label_map(index).void

    def _label_map(self, index: int) -> LabelMap:
        path, image = next(iter(self._files[index].values())), self._frames[index]
        if self._kind is MaskKind.BINARY:
            return LabelMap(_read_binary(path, image).astype(np.uint8))
        ids, _ = _read_ids(path, image)
        if self._detected_binary:
            return LabelMap(_only_0_and_255(path, ids))
        if self._void_value is None:
            if ids.max(initial=0) == 255:
                raise DatasetError(
                    f'{path}: expected object ids from 1 to 254, got the value 255; '
                    'pass void_value=255 if it marks unlabelled pixels'
                )
            return LabelMap(ids)
        void = ids == self._void_value
        return LabelMap(np.where(void, np.uint8(0), ids), void)

    @functools.cached_property
    def _detected_binary(self) -> bool:
        """Whether masks of kind DETECT are binary: grey, with one object of value 255.

        The first mask with an object decides; the others must agree.
        """
        if self._kind is not MaskKind.DETECT or self._void_value is not None:
            return False
        for index in self.labelled:
            values, mode = _read_ids(next(iter(self._files[index].values())), self._frames[index])
            if mode == 'P':
                return False
            if values.any():
                return set(np.unique(values)) <= {0, 255}
        return False


def read_image(path: Path) -> np.ndarray:
    """Read an image as (H, W, 3) uint8, RGB; EXIF orientation is ignored.

    Raises:
        DatasetError: The file is missing, truncated or no image.
    """
    # Not by OpenCV: it fills the rest of a truncated JPEG with grey and only prints a warning.
    with _opened(path) as image:
        return np.array(image.convert('RGB'))


def _read_ids(path: Path, image_path: Path) -> tuple[np.ndarray, str]:
    """Return the (H, W) uint8 pixel values of a mask and Pillow's name of its type."""
    # Not by OpenCV: it turns palette indices into colours.
    with _opened(path) as mask:
        _check_size(path, mask.size, image_path)
        if mask.mode not in {'P', 'L', '1'}:
            raise DatasetError(
                f'{path}: expected a palette or 8-bit grey PNG, whose values are object ids, '
                f'got the pixel type {mask.mode}; convert it'
            )
        return np.array(mask).astype(np.uint8, copy=False), mask.mode


def _read_binary(path: Path, image_path: Path) -> np.ndarray:
    """Read the mask of one object as (H, W) bool."""
    with _opened(path) as mask:
        _check_size(path, mask.size, image_path)
        if mask.mode == 'P':
            return np.array(mask) != 0
        values = np.array(mask.convert('L'))
    # Values between 0 and 255 come from smooth edges of a mask that was resized.
    return values >= 128 if values.max(initial=0) > 1 else values != 0


def _only_0_and_255(path: Path, values: np.ndarray) -> np.ndarray:
    """Return (H, W) uint8 of 0 and 1 for a mask of 0 and 255."""
    odd = (values != 0) & (values != 255)
    if odd.any():
        raise DatasetError(
            f'{path}: expected only 0 and 255 as in the masks before it, got the value '
            f'{values[odd][0]}; masks with object ids need void_value=255 if 255 is void in them'
        )
    return (values != 0).astype(np.uint8)


def _check_size(path: Path, size_wh: tuple[int, int], image_path: Path) -> None:
    with _opened(image_path) as image:
        expected_wh = image.size
    if size_wh != expected_wh:
        raise DatasetError(
            f'{path}: expected the size of {image_path.name}, '
            f'{expected_wh[0]}x{expected_wh[1]}, got {size_wh[0]}x{size_wh[1]}; '
            'use images and masks of the same resolution'
        )


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image; errors of Pillow on damaged files become a DatasetError."""
    try:
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise DatasetError(
            f'{path}: expected a whole JPEG or PNG file, got {error}; copy it again'
        ) from error
