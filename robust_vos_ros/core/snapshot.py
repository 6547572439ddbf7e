"""All tracks as bytes, so that a new tracker goes on where another one ended.

A snapshot is a safetensors file: memory, looks and masks as tensors, who the objects are as JSON
in its metadata. Nothing in it is believed before it is checked: bytes that are damaged, foreign or
made for another model raise SnapshotError, and change nothing.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping

import numpy as np
import safetensors.torch
import torch

from robust_vos_ros.core.config import parse_settings
from robust_vos_ros.core.errors import SnapshotError
from robust_vos_ros.core.memory_bank import EMPTY
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.snapshot_format import (
    BANKS,
    SavedObject,
    SnapshotHeader,
    Tensors,
    check_fit,
    check_object,
    num_samples,
    sizes_of,
)
from robust_vos_ros.core.types import ObjectState

_LENGTH_BYTES = 8  # safetensors: the length of the JSON header, before the header
_NOTE_PREFIX = 'note.'
_LOOKS = {'looks', 'trusted_looks'}  # fields of `SavedObject` that `LiveObject` has not


def write(
    items: list[LiveObject],
    propagator: Propagator,
    *,
    num_frames: int,
    num_added: int,
    session: uuid.UUID,
    notes: Mapping[str, str] | None = None,
) -> bytes:
    """Return all tracks as bytes: of each object what its best pathway remembers.

    Args:
        items: The live objects.
        propagator: Holds their memory.
        num_frames: As in `SnapshotHeader`; `num_added` and `session` likewise.
        notes: Texts by name that the owner of the tracker wants to find again (`read_notes`).
    """
    tensors: Tensors = {}
    objects = []
    for number, item in enumerate(items):
        parts = _save_object(item.slot, propagator)
        tensors |= {f'{number}.{name}': value for name, value in parts.items()}
        objects.append(_save_identity(item, propagator))
    header = SnapshotHeader(
        model=propagator.model.name,
        weights_sha256=propagator.model.weights_hash,
        looks=propagator.likeness.looks.name,
        sizes=sizes_of(propagator),
        num_frames=num_frames,
        num_added=num_added,
        session=session,
        objects=objects,
    )
    known = {f'{_NOTE_PREFIX}{name}': text for name, text in (notes or {}).items()}
    return safetensors.torch.save(tensors, {'robust_vos': header.model_dump_json(), **known})


def read_notes(data: bytes) -> dict[str, str]:
    """Return the notes of a snapshot, by name; the rest of it is neither read nor checked.

    Raises:
        SnapshotError: It is damaged or none.
    """
    try:
        texts = _read_texts(data).items()
        return {k.removeprefix(_NOTE_PREFIX): v for k, v in texts if k.startswith(_NOTE_PREFIX)}
    except Exception as error:  # bytes that are anything
        raise SnapshotError(
            f'expected a snapshot of tracks, got {len(data)} bytes that are none: {error}'
        ) from error


def _read_texts(data: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file; raise anything where it is none."""
    length = int.from_bytes(data[:_LENGTH_BYTES], 'little')
    texts: dict[str, str] = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])[
        '__metadata__'
    ]
    return texts


def read(data: bytes, propagator: Propagator) -> tuple[SnapshotHeader, list[Tensors]]:
    """Read and check a snapshot; nothing is changed.

    Args:
        data: What `write` returned, or anything else.
        propagator: What it is to be taken over by.

    Returns:
        The header, and the tensors of each object for `load`.

    Raises:
        SnapshotError: It is damaged or does not fit; names both sides.
    """
    try:
        tensors = safetensors.torch.load(data)
        header = parse_settings(SnapshotHeader, json.loads(_read_texts(data)['robust_vos']))
    except Exception as error:  # safetensors, json and pydantic raise anything here
        raise SnapshotError(
            f'expected a snapshot of tracks, got {len(data)} bytes that are none: {error}'
        ) from error
    check_fit(header, propagator)
    parts = []
    for number, saved in enumerate(header.objects):
        prefix = f'{number}.'
        mine = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        check_object(saved, mine, header.num_frames, propagator)
        parts.append(mine)
    return header, parts


def load(saved: SavedObject, tensors: Tensors, propagator: Propagator) -> LiveObject:
    """Take over one object of a snapshot that `read` accepted; it is LOST until seen again."""
    slot = saved.slot
    propagator.memory.clear(np.array([slot]))
    propagator.tree.collapse(np.array([slot]))
    for name, bank in zip(BANKS, propagator.memory.banks, strict=True):
        columns = tensors[f'{name}.columns'].numpy()
        bank.values[slot, columns] = tensors[f'{name}.values'].to(bank.values.device)
        bank.frames[slot, columns] = tensors[f'{name}.frames'].numpy()
        bank.scores[slot, columns] = tensors[f'{name}.scores'].numpy()
        bank.recent[slot, 0] = tensors[f'{name}.recent'].numpy()
    looks = propagator.likeness.prototypes
    looks.counts[slot], looks.trusted_counts[slot] = saved.looks, saved.trusted_looks
    looks.centers[slot] = tensors['looks.centers'].to(looks.centers.device)
    looks.trusted[slot] = tensors['looks.trusted'].to(looks.trusted.device)
    samples = tensors['looks.samples'].to(looks.samples.device)
    looks.samples[slot, : len(samples)] = samples
    for name, values in propagator.references.tensors(slot).items():
        values.copy_(tensors[name])
    propagator.logits[slot, 0] = tensors['mask'].to(propagator.logits.device)
    known = saved.model_dump(exclude=_LOOKS)
    if known['usual_similarity'] is None:
        known['usual_similarity'] = math.nan
    return LiveObject(
        **known,
        state=ObjectState.LOST,
        visible=False,
        existence=saved.seen_existence,
        memory_updated=False,
    )


def _save_identity(item: LiveObject, propagator: Propagator) -> SavedObject:
    prototypes = propagator.likeness.prototypes
    known = {name: getattr(item, name) for name in SavedObject.model_fields.keys() - _LOOKS}
    if math.isnan(item.usual_similarity):
        known['usual_similarity'] = None
    return SavedObject(
        looks=int(prototypes.counts[item.slot]),
        trusted_looks=int(prototypes.trusted_counts[item.slot]),
        **known,
    )


def _save_object(slot: int, propagator: Propagator) -> Tensors:
    looks = propagator.likeness.prototypes
    tensors = {
        'mask': propagator.logits[slot, 0],
        'looks.centers': looks.centers[slot],
        'looks.trusted': looks.trusted[slot],
        'looks.samples': looks.samples[slot, : num_samples(int(looks.counts[slot]), looks)],
        **propagator.references.tensors(slot),
    }
    for name, bank in zip(BANKS, propagator.memory.banks, strict=True):
        recent = bank.recent[slot, 0]
        fixed = np.flatnonzero(bank.frames[slot, : bank.num_fixed] != EMPTY)
        columns = np.concatenate([fixed, np.sort(recent[recent != EMPTY])])
        tensors |= {
            f'{name}.values': bank.values[slot, columns],
            f'{name}.columns': torch.from_numpy(columns),
            f'{name}.frames': torch.from_numpy(bank.frames[slot, columns]),
            f'{name}.scores': torch.from_numpy(bank.scores[slot, columns]),
            f'{name}.recent': torch.from_numpy(recent.copy()),
        }
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
