"""Tensors by name, as they are saved: name, check and find them."""

from __future__ import annotations

from typing import TypeAlias

import torch

from robust_vos_ros.core.errors import SavedTracksError

Tensors: TypeAlias = dict[str, torch.Tensor]


def expect(
    tensors: Tensors, name: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> torch.Tensor:
    """Return the tensor of a name after a check of dtype and shape.

    Args:
        tensors: By name.
        name: Of the tensor.
        dtype: Expected dtype.
        shape: Expected shape; -1 = any size above 0.

    Raises:
        SavedTracksError: The tensor is missing, or has another dtype or shape.
    """
    value = tensors.get(name)
    if value is not None and value.dtype == dtype and value.ndim == len(shape):
        pairs = zip(value.shape, shape, strict=True)
        if all(got == size or (size == -1 and got > 0) for got, size in pairs):
            return value
    got = 'none' if value is None else f'{value.dtype} {tuple(value.shape)}'
    raise SavedTracksError(f'expected {name} to be {dtype} {shape}, got {got}')


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    """Return tensors with `<prefix>.` before each name."""
    return {f'{prefix}.{name}': value for name, value in tensors.items()}


def below(prefix: str, tensors: Tensors) -> Tensors:
    """Return the tensors below `<prefix>.`, without it: the inverse of `prefixed`."""
    start = f'{prefix}.'
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
