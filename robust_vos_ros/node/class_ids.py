"""Pixel values of classes in the class mask, fixed for the lifetime of the node."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from robust_vos_ros.core.types import TrackedObject, TrackResult

BACKGROUND = 0
MAX_VALUE = 255  # of a mono8 image
NOTE = 'classes'  # name of the table in the state file


class ClassIds:
    """Pixel values by class name. An assigned value never changes, not even by a reset.

    Args:
        names: Classes with the values 1, 2, ... in this order; all others are unknown. Empty =
            each class gets the next value when it first appears.
        unknown_value: Pixel value of objects without a class, and of classes without a value.
    """

    def __init__(self, names: Sequence[str] = (), *, unknown_value: int = MAX_VALUE) -> None:
        self.unknown_value = unknown_value
        self._fixed = bool(names)
        self._values: dict[str, int] = {}
        for name in names:
            self._add(name)

    @property
    def values(self) -> dict[str, int]:
        """A copy of the table, by name."""
        return dict(self._values)

    @property
    def names(self) -> dict[int, str]:
        """Class names by value, as in a LabelInfo."""
        return {value: name for name, value in self._values.items()}

    def observe(self, objects: Iterable[TrackedObject]) -> None:
        """Assign a value to each new class, unless the classes are fixed by settings."""
        if self._fixed:
            return
        for item in objects:
            if item.class_id and item.class_id not in self._values:
                self._add(item.class_id)

    def value_of(self, class_id: str) -> int:
        """Return the pixel value of a class."""
        return self._values.get(class_id, self.unknown_value)

    def draw(self, result: TrackResult) -> np.ndarray:
        """Return the class mask.

        Args:
            result: What the engine found.

        Returns:
            (H, W) uint8, 0 = background.
        """
        labels = result.label_mask
        table = np.zeros(int(np.iinfo(labels.dtype).max) + 1, np.uint8)
        for item in result.objects:
            table[item.label] = self.value_of(item.class_id)
        return table[labels]

    def dump(self) -> str:
        """Return the table as text, for the state file."""
        return json.dumps(self._values)

    def load(self, text: str) -> None:
        """Load the table of a state file, unless the classes are fixed by settings.

        Raises:
            ValueError: The text is not what `dump` returns.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or not all(_is_entry(*entry) for entry in values.items()):
            raise ValueError(f'expected pixel values by class, got {text[:80]!r}')
        if len(set(values.values())) != len(values):
            raise ValueError(f'expected one class per pixel value, got {text[:80]!r}')
        if not self._fixed:
            self._values = {k: v for k, v in values.items() if v != self.unknown_value}

    def _add(self, name: str) -> None:
        taken = {BACKGROUND, self.unknown_value, *self._values.values()}
        free = next((value for value in range(1, MAX_VALUE + 1) if value not in taken), None)
        if free is not None:
            self._values[name] = free


def _is_entry(name: str, value: object) -> bool:
    return bool(name) and type(value) is int and BACKGROUND < value <= MAX_VALUE
