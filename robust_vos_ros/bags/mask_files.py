"""Mask files as DAVIS has them: PNGs whose pixel values are objects, and who the values are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.settings import Settings, load_yaml, parse_settings, setting
from robust_vos_ros.files import write_json
from robust_vos_ros.visualization import label_colors

VOID = 255  # nobody said what is there
_MODES = ('P', 'L', '1', 'I;16')


class ObjectName(Settings):
    """Who a value of a mask file is."""

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
    """Write what `load_names` reads, as JSON."""
    write_json(path, {str(value): names[value].model_dump() for value in sorted(names)})


def read_labels(path: Path, *, void: int | None = VOID) -> np.ndarray:
    """Read a mask file.

    Args:
        path: A PNG of palette or grey values.
        void: Value that counts as background.

    Returns:
        (H, W) uint8 or uint16; 0 = background.

    Raises:
        ConfigError: The file is missing, damaged or a colour picture.
    """
    try:
        with Image.open(path) as picture:
            mode, labels = picture.mode, np.array(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise ConfigError(f'{path}: expected a PNG of masks: {error}') from error
    if mode not in _MODES:
        raise ConfigError(
            f'{path}: expected a PNG of palette or grey values, got a picture of mode {mode}'
        )
    labels = labels.astype(np.uint16 if labels.dtype.itemsize > 1 else np.uint8)
    return labels if void is None else np.where(labels == void, 0, labels)


def write_labels(path: Path, labels: np.ndarray) -> None:
    """Write (H, W) uint8 labels as a palette PNG.

    Raises:
        OSError: The file cannot be written.
    """
    picture = Image.fromarray(labels, 'P')
    picture.putpalette(label_colors().tobytes())
    picture.save(path)


def split_labels(labels: np.ndarray) -> dict[int, np.ndarray]:
    """Return the (H, W) bool mask of each value above 0, ascending."""
    return {int(value): labels == value for value in np.unique(labels) if value}
