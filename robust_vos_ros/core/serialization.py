"""All tracks as bytes, so that a new tracker goes on where another one ended.

A snapshot is a safetensors file: memory, galleries and masks as tensors, who the objects are as
JSON in its metadata. Nothing in it is believed before it is checked: bytes that are damaged,
foreign or made for another model raise SnapshotError, and change nothing.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from typing import Any

import numpy as np
import pydantic
import safetensors.torch
import torch

from robust_vos_ros.core.errors import SnapshotError
from robust_vos_ros.core.memory.bank import EMPTY, Bank
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.prompts import MAX_NAME
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.reid.appearance import Gallery
from robust_vos_ros.core.settings import Settings, parse_settings
from robust_vos_ros.core.types import ObjectState

FORMAT = 'robust_vos tracks 6'
BANKS = ('spatial', 'pointers')
_MAX_COUNT = 2**62
_MAX_NS = 2**31 * 10**9 - 1  # what a stamp of ROS can hold

Tensors = dict[str, torch.Tensor]


def _time() -> Any:
    return pydantic.Field(ge=-_MAX_NS, le=_MAX_NS)


def _share() -> Any:
    return pydantic.Field(ge=0.0, le=1.0)


def _count() -> Any:
    return pydantic.Field(ge=0, le=_MAX_COUNT)


class SavedObject(Settings):
    """Who one object is; fields as in `LiveObject`, NaN as None.

    Attributes:
        num_learned: Number of frames its gallery was learned from; `num_verified` of those in
            which a user pointed at it, or just after.
    """

    model_config = pydantic.ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False)

    object_id: str = pydantic.Field(min_length=1, max_length=MAX_NAME)
    uuid: uuid.UUID
    class_id: str = pydantic.Field(max_length=MAX_NAME)
    slot: int = _count()
    added_ns: int = _time()
    prompted_ns: int = _time()
    last_seen_ns: int = _time()
    remembered_ns: int = _time()
    jumped_ns: int = _time()
    anchored_ns: int = _time()
    shown_ns: int | None = _time()
    learned_ns: int = _time()
    returned_ns: int | None = _time()
    mean_similarity: float | None = pydantic.Field(ge=-1.0, le=1.0)
    confirmed: bool
    seen_existence: float = _share()
    mean_confidence: float = _share()
    prompted_coverage: float = _share()
    mean_coverage: float = _share()
    coverage: float = _share()
    reference_coverage: float = _share()
    reference_spread: float = _share()
    prompt_misfit: float = _share()
    changed: bool
    frames_since_seen: int = _count()
    num_learned: int = _count()
    num_verified: int = _count()


class SnapshotHeader(Settings):
    """What the tensors of a snapshot mean.

    Attributes:
        model: Name of the model; `weights_sha256` its weights.
        projection: Name of the map that embeddings are compared in.
        sizes: Of memory, galleries and masks; a tracker of other sizes cannot take them over.
        num_frames: Processed so far; `num_added` likewise of objects.
        session: Namespace of the objects' uuids.
    """

    format: str = FORMAT
    model: str
    weights_sha256: str
    projection: str
    sizes: dict[str, int]
    num_frames: int = _count()
    num_added: int = _count()
    session: uuid.UUID
    objects: list[SavedObject]


def sizes_of(propagator: Propagator) -> dict[str, int]:
    """Return all sizes that must be equal on both sides; `max_objects` may differ."""
    shape, gallery = propagator.memory.shape, propagator.reidentifier.gallery
    return {
        'hypotheses': shape.num_paths,
        'max_prompted_entries': shape.num_prompted,
        'anchors': shape.num_anchors,
        'recent entries': shape.num_recent,
        'pointers': shape.num_pointers,
        'cells of an entry': shape.entry_shape[0],
        'width of an entry': shape.entry_shape[1],
        'width of a pointer': shape.pointer_dim,
        'centers of a gallery': gallery.centers.shape[1],
        'verified exemplars': gallery.verified.shape[1],
        'samples of a gallery': gallery.samples.shape[1],
        'width of an embedding': gallery.samples.shape[2],
        'side of a mask': propagator.logits.shape[-1],
    }


def check_fit(header: SnapshotHeader, propagator: Propagator) -> None:
    """Raise SnapshotError unless the snapshot was made by a tracker like this one."""
    model, here = propagator.model, sizes_of(propagator)
    pairs = [
        ('format', header.format, FORMAT),
        ('model', header.model, model.name),
        ('weights', header.weights_sha256[:12], model.weights_hash[:12]),
        ('projection of embeddings', header.projection, propagator.reidentifier.embedder.name),
        *((name, header.sizes.get(name), size) for name, size in here.items()),
    ]
    wrong = [f'{name} {theirs}, here {ours}' for name, theirs, ours in pairs if theirs != ours]
    if wrong or header.weights_sha256 != model.weights_hash:
        raise SnapshotError(
            f'the snapshot was made with other settings: {"; ".join(wrong)}. Set them as they '
            'were, or start without it'
        )
    capacity = propagator.memory.shape.capacity
    highest = max((saved.slot for saved in header.objects), default=-1)
    if highest >= capacity:
        raise SnapshotError(
            f'the snapshot needs room for {highest + 1} objects, here max_objects is {capacity}; '
            'raise it, or start without the snapshot'
        )
    for name in ('object_id', 'uuid', 'slot'):
        values = [getattr(saved, name) for saved in header.objects]
        if len(set(values)) != len(values):
            raise SnapshotError(f'expected objects of different {name}, got {values}')


def check_object(
    saved: SavedObject, tensors: Tensors, num_frames: int, propagator: Propagator
) -> None:
    """Raise SnapshotError unless the tensors are those of an object of this tracker."""
    gallery = propagator.reidentifier.gallery
    _, num_centers, dim = gallery.centers.shape
    expected: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {
        'mask': (torch.float32, tuple(propagator.logits.shape[2:])),
        'gallery.centers': (torch.float32, (num_centers, dim)),
        'gallery.verified': (torch.float32, tuple(gallery.verified.shape[1:])),
        'gallery.samples': (torch.float32, (num_samples(saved.num_learned, gallery), dim)),
    }
    for name, value in propagator.references.tensors(0).items():
        expected[name] = (value.dtype, tuple(value.shape))
    for name, bank in zip(BANKS, propagator.memory.banks, strict=True):
        given = tensors.get(f'{name}.columns', torch.zeros(0))
        count = len(given) if given.ndim else 0
        expected |= {
            f'{name}.values': (bank.values.dtype, (count, *bank.values.shape[2:])),
            f'{name}.columns': (torch.int64, (count,)),
            f'{name}.frames': (torch.int64, (count,)),
            f'{name}.scores': (torch.float32, (count,)),
            f'{name}.recent': (torch.int64, (bank.recent.shape[2],)),
        }
    got = {name: (value.dtype, tuple(value.shape)) for name, value in tensors.items()}
    wrong = [n for n in expected.keys() | got.keys() if expected.get(n) != got.get(n)]
    if wrong:
        name = min(wrong)
        raise SnapshotError(
            f'{saved.object_id!r}: expected {name} to be {expected.get(name)}, got {got.get(name)}'
        )
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise SnapshotError(f'{saved.object_id!r}: expected finite numbers, got others')
    for name, bank in zip(BANKS, propagator.memory.banks, strict=True):
        columns = tensors[f'{name}.columns'].numpy()
        frames = tensors[f'{name}.frames'].numpy()
        recent = tensors[f'{name}.recent'].numpy()
        if not _is_sound(bank, columns, frames, recent, num_frames):
            raise SnapshotError(
                f'{saved.object_id!r}: expected {name} of {num_frames} frames with a prompted one '
                f'first, got frames {frames.tolist()} in {columns.tolist()}'
            )


def _is_sound(
    bank: Bank, columns: np.ndarray, frames: np.ndarray, recent: np.ndarray, num_frames: int
) -> bool:
    """Whether what is remembered could have been written by a tracker."""
    used = np.sort(recent[recent != EMPTY])
    return (
        len(columns) > 0
        and bool((np.diff(columns) > 0).all())
        and 0 <= columns[0] < bank.num_prompted
        and columns[-1] < bank.frames.shape[1]
        and bool(((frames >= 0) & (frames < num_frames)).all())
        and np.array_equal(used, columns[columns >= bank.num_fixed])
    )


def num_samples(count: int, gallery: Gallery) -> int:
    """Return how many embeddings are kept of those that were learned."""
    return min(count, gallery.samples.shape[1])


_LENGTH_BYTES = 8  # safetensors: the length of the JSON header, before the header
_NOTE_PREFIX = 'note.'
_COUNTS = {'num_learned', 'num_verified'}  # fields of `SavedObject` that `LiveObject` has not


def write(
    items: list[LiveObject],
    propagator: Propagator,
    *,
    num_frames: int,
    num_added: int,
    session: uuid.UUID,
    notes: Mapping[str, str] | None = None,
) -> bytes:
    """Return all tracks as bytes: of each object what its best hypothesis remembers.

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
        projection=propagator.reidentifier.embedder.name,
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
    gallery = propagator.reidentifier.gallery
    gallery.counts[slot], gallery.verified_counts[slot] = (
        saved.num_learned,
        saved.num_verified,
    )
    gallery.centers[slot] = tensors['gallery.centers'].to(gallery.centers.device)
    gallery.verified[slot] = tensors['gallery.verified'].to(gallery.verified.device)
    samples = tensors['gallery.samples'].to(gallery.samples.device)
    gallery.samples[slot, : len(samples)] = samples
    for name, values in propagator.references.tensors(slot).items():
        values.copy_(tensors[name])
    propagator.logits[slot, 0] = tensors['mask'].to(propagator.logits.device)
    known = saved.model_dump(exclude=_COUNTS)
    if known['mean_similarity'] is None:
        known['mean_similarity'] = math.nan
    return LiveObject(
        **known,
        state=ObjectState.LOST,
        visible=False,
        existence=saved.seen_existence,
        memory_updated=False,
    )


def _save_identity(item: LiveObject, propagator: Propagator) -> SavedObject:
    gallery = propagator.reidentifier.gallery
    known = {name: getattr(item, name) for name in SavedObject.model_fields.keys() - _COUNTS}
    if math.isnan(item.mean_similarity):
        known['mean_similarity'] = None
    return SavedObject(
        num_learned=int(gallery.counts[item.slot]),
        num_verified=int(gallery.verified_counts[item.slot]),
        **known,
    )


def _save_object(slot: int, propagator: Propagator) -> Tensors:
    gallery = propagator.reidentifier.gallery
    tensors = {
        'mask': propagator.logits[slot, 0],
        'gallery.centers': gallery.centers[slot],
        'gallery.verified': gallery.verified[slot],
        'gallery.samples': gallery.samples[
            slot, : num_samples(int(gallery.counts[slot]), gallery)
        ],
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
