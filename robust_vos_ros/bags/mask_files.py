"""Mask files as of DAVIS: PNGs whose pixel values are objects, and the names of these objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.settings import Settings, load_yaml, parse_settings, setting
from robust_vos_ros.files import write_json
from robust_vos_ros.visualization import label_colors

VOID = 255  # value of unlabelled pixels
_MODES = ('P', 'L', '1', 'I;16')


class ObjectName(Settings):
    """Name of the object that a value of a mask file stands for."""

    object_id: str = setting(..., 'Name of the object.', min_length=1)
    class_id: str = setting('', 'Its class, free text.')


def load_names(path: Path) -> dict[int, ObjectName]:
    """Read a YAML or JSON file such as `{1: {object_id: fish, class_id: animal}}`.

    Raises:
        ConfigError: The file cannot be used.
    """
    names = {}
    for value, fields in load_yaml(path).items():
        if not str(value).isdecimal() or not isinstance(fields, dict):
            raise ConfigError(
                f'{path}: expected entries such as 1: {{object_id: fish}}, got {value!r}'
            )
        names[int(value)] = parse_settings(ObjectName, fields)
    return names


def save_names(path: Path, names: Mapping[int, ObjectName]) -> None:
    """Write the file that `load_names` reads, as JSON."""
    write_json(path, {str(value): names[value].model_dump() for value in sorted(names)})


def read_labels(path: Path, *, void: int | None = VOID) -> np.ndarray:
    """Read a mask file.

    Args:
        path: A palette or grey PNG.
        void: Value that counts as background; None = none.

    Returns:
        (H, W) uint8 or uint16; 0 = background.

    Raises:
        ConfigError: The file is missing, damaged or a colour image.
    """
    try:
        with Image.open(path) as image:
            mode, labels = image.mode, np.array(image)
    # DecompressionBombError: more pixels than PIL admits.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ConfigError(f'{path}: expected a PNG of masks: {error}') from error
    if mode not in _MODES:
        raise ConfigError(
            f'{path}: expected a palette or grey PNG, got an image of mode {mode}; convert it'
        )
    labels = labels.astype(np.uint16 if labels.dtype.itemsize > 1 else np.uint8)
    return labels if void is None else np.where(labels == void, 0, labels)


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Write (H, W) uint8 labels as a palette PNG.

    Raises:
        OSError: The file cannot be written.
    """
    image = Image.fromarray(labels, 'P')
    image.putpalette(label_colors().tobytes())
    image.save(path)


def split_labels(labels: np.ndarray) -> dict[int, np.ndarray]:
    """Return the (H, W) bool mask of each value above 0, ascending."""
    return {int(value): labels == value for value in np.unique(labels) if value}
