"""Named tensors and texts as bytes, the format of saved tracks: a safetensors file.

Nothing in such bytes is believed before it is checked, see `expect`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch

from robust_vos_ros.core.errors import SnapshotError

FORMAT = 'robust_vos tracks 7'
_TEXT = 'robust_vos'  # the one entry of the metadata: more than one have no order
_LENGTH_BYTES = 8  # safetensors: the length of the JSON header, before the header

Tensors = dict[str, torch.Tensor]


def pack(
    header: dict[str, Any], tensors: Tensors, notes: Mapping[str, str] | None = None
) -> bytes:
    """Return everything as bytes.

    Args:
        header: What the tensors mean, as JSON has it.
        tensors: By name.
        notes: Texts by name that the owner of the tracker wants to find again (`read_notes`).
    """
    text = {'format': FORMAT, 'notes': dict(notes or {}), 'header': header}
    on_host = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return safetensors.torch.save(on_host, {_TEXT: json.dumps(text, separators=(',', ':'))})


def unpack(data: bytes) -> tuple[dict[str, Any], Tensors]:
    """Return the header and the tensors of what `pack` returned.

    Raises:
        SnapshotError: It is something else, damaged or of another version, or a number in it is
            infinite or none.
    """
    text = _read_text(data)
    try:
        tensors = safetensors.torch.load(data)
    except Exception as error:  # safetensors raises anything here
        raise _not_tracks(data, error) from error
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise SnapshotError(f'{name}: expected finite numbers, got others')
    return text['header'], tensors


def read_notes(data: bytes) -> dict[str, str]:
    """Return the notes of saved tracks, by name; the tensors are neither read nor checked.

    Raises:
        SnapshotError: It is damaged, of another version or something else.
    """
    return {str(name): str(note) for name, note in _read_text(data)['notes'].items()}


def expect(
    tensors: Tensors, name: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> torch.Tensor:
    """Return a tensor of that name.

    Args:
        tensors: Where it should be.
        name: Of the tensor.
        dtype: It must have.
        shape: It must have; -1 = any size above 0.

    Raises:
        SnapshotError: There is none, or it is another one.
    """
    value = tensors.get(name)
    if value is not None and value.dtype == dtype and value.ndim == len(shape):
        pairs = zip(value.shape, shape, strict=True)
        if all(got == size or (size == -1 and got > 0) for got, size in pairs):
            return value
    got = 'none' if value is None else f'{value.dtype} {tuple(value.shape)}'
    raise SnapshotError(f'expected {name} to be {dtype} {shape}, got {got}')


def prefixed(prefix: str, tensors: Tensors) -> Tensors:
    """Return tensors under longer names."""
    return {f'{prefix}.{name}': value for name, value in tensors.items()}


def below(prefix: str, tensors: Tensors) -> Tensors:
    """Return the tensors whose names `prefixed` made."""
    start = f'{prefix}.'
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _read_text(data: bytes) -> dict[str, Any]:
    """Return what `pack` wrote beside the tensors: format, notes and header."""
    try:
        length = int.from_bytes(data[:_LENGTH_BYTES], 'little')
        texts = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])['__metadata__']
        text = dict(json.loads(texts[_TEXT]))
        if text['format'] == FORMAT:
            return {'notes': dict(text['notes']), 'header': dict(text['header'])}
    except Exception as error:  # bytes that are anything
        raise _not_tracks(data, error) from error
    raise SnapshotError(
        f'expected saved tracks of the format {FORMAT!r}, got {str(text["format"])!r}, of another '
        'version of this package; start without them, or go on with that version'
    )


def _not_tracks(data: bytes, error: Exception) -> SnapshotError:
    return SnapshotError(f'expected saved tracks, got {len(data)} bytes that are none: {error}')
