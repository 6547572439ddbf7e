"""The bytes of saved tracks: a safetensors file with a JSON text in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import safetensors.torch

from robust_vos_ros.core.errors import SavedTracksError
from robust_vos_ros.core.saving.named_tensors import Tensors

FORMAT = 'robust_vos tracks 7'
_TEXT = 'robust_vos'  # the only metadata key: several keys would have no fixed order
_LENGTH_BYTES = 8  # safetensors starts with the length of its JSON header


def pack(
    header: dict[str, Any], tensors: Tensors, notes: Mapping[str, str] | None = None
) -> bytes:
    """Serialize header, tensors and notes.

    Args:
        header: The `Header` as a JSON object.
        tensors: By name.
        notes: Texts by name that the owner of the tracker wants to find again (`read_notes`).
    """
    text = {'format': FORMAT, 'notes': dict(notes or {}), 'header': header}
    on_host = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    return safetensors.torch.save(on_host, {_TEXT: json.dumps(text, separators=(',', ':'))})


def unpack(data: bytes) -> tuple[dict[str, Any], Tensors]:
    """Return the header and the tensors of the result of `pack`.

    Raises:
        SavedTracksError: The bytes are damaged, of another format or version, or a number is not
            finite.
    """
    text = _read_text(data)
    try:
        tensors = safetensors.torch.load(data)
    except Exception as error:  # safetensors raises anything here
        raise _not_tracks(data, error) from error
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise SavedTracksError(f'{name}: expected finite numbers, got NaN or infinity')
    return text['header'], tensors


def read_notes(data: bytes) -> dict[str, str]:
    """Return the notes of saved tracks, by name, without reading the tensors.

    Raises:
        SavedTracksError: The bytes are damaged, or of another format or version.
    """
    return {str(name): str(note) for name, note in _read_text(data)['notes'].items()}


def _read_text(data: bytes) -> dict[str, Any]:
    """Return notes and header, after a check of the format."""
    try:
        length = int.from_bytes(data[:_LENGTH_BYTES], 'little')
        texts = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])['__metadata__']
        text = dict(json.loads(texts[_TEXT]))
        if text['format'] == FORMAT:
            return {'notes': dict(text['notes']), 'header': dict(text['header'])}
    except Exception as error:  # arbitrary bytes raise arbitrary errors
        raise _not_tracks(data, error) from error
    raise SavedTracksError(
        f'expected saved tracks of the format {FORMAT!r}, got {str(text["format"])!r}, of another '
        'version of this package; start without them, or use that version'
    )


def _not_tracks(data: bytes, error: Exception) -> SavedTracksError:
    return SavedTracksError(f'expected saved tracks, got {len(data)} other bytes: {error}')
