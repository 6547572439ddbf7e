"""Serialize all tracks of a tracker; check and load them into another one.

One format serves two uses: another tracker continues with identical bits, or a restarted node
re-detects its objects. It is a safetensors file with a JSON text in its metadata. Bytes that are
damaged, of another format or made for another model raise SavedTracksError.
"""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import safetensors.torch

from robust_vos_ros.core.errors import ConfigError, SavedTracksError
from robust_vos_ros.core.objects import Count, LiveObject, ObjectTable, TimeNs
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.saving.named_tensors import Tensors, below, prefixed
from robust_vos_ros.core.settings import Settings, parse_settings
from robust_vos_ros.core.words.searching import Search
from robust_vos_ros.core.zoom.sources import SavedZoom
from robust_vos_ros.core.zoom.zoom import Zoom

FORMAT = 'robust_vos tracks 7'
_TEXT = 'robust_vos'  # the only metadata key: several keys would have no fixed order
_LENGTH_BYTES = 8  # safetensors starts with the length of its JSON header
_ZOOM = 'zoom'


class Header(Settings):
    """State and sizes that belong to the saved tensors.

    Attributes:
        made_with: Model and sizes that must equal those of the loading tracker, by name.
        num_frames: Number of processed frames; `num_added` the number of added objects.
        session: Namespace of the objects' uuids.
        restored_ns: First stamp from which unseen time counts; None before the first frame.
        zoom: None without zoom.
        searches: By words, which last.
    """

    made_with: dict[str, str | int]
    num_frames: Count
    num_added: Count
    session: uuid.UUID
    restored_ns: TimeNs | None
    objects: list[LiveObject]
    zoom: SavedZoom | None
    searches: tuple[Search, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class SavedTracks:
    """Saved tracks that were checked against a tracker."""

    header: Header
    tensors: Tensors

    def load(self, propagator: Propagator) -> list[LiveObject]:
        """Load the memory of the objects into free slots; returns the objects.

        Raises:
            SavedTracksError: A tensor is missing or wrong. Slots filled before that stay unused.
        """
        for number, item in enumerate(self.header.objects):
            try:
                mine = below(str(number), self.tensors)
                propagator.load(item.slot, mine, self.header.num_frames)
            except SavedTracksError as error:
                raise SavedTracksError(f'{item.object_id!r}: {error}') from error
        return list(self.header.objects)

    def load_zoom(self, zoom: Zoom) -> None:
        """Load the window and source frames into a zoom; clear it if none were saved.

        Raises:
            SavedTracksError: They are missing or wrong.
        """
        if self.header.zoom is None:
            zoom.clear()
        else:
            slots = {item.slot for item in self.header.objects}
            zoom.load(self.header.zoom, below(_ZOOM, self.tensors), slots, self.header.num_frames)


def save_tracks(
    objects: ObjectTable,
    propagator: Propagator,
    zoom: Zoom | None,
    *,
    num_frames: int,
    restored_ns: int | None,
    searches: tuple[Search, ...],
    notes: Mapping[str, str] | None,
) -> bytes:
    """Return all tracks as bytes.

    Args:
        objects: The live objects.
        propagator: Holds the memory of the objects.
        zoom: Holds the window and source frames, or None.
        num_frames: As in `Header`; `restored_ns` and `searches` likewise.
        notes: Texts by name that the owner of the tracker wants to find again.
    """
    tensors: Tensors = {}
    for number, item in enumerate(objects):
        tensors |= prefixed(str(number), propagator.save(item.slot))
    saved_zoom = None
    if zoom is not None:
        saved_zoom, pictures = zoom.save()
        tensors |= prefixed(_ZOOM, pictures)
    header = Header(
        made_with=_made_with(propagator),
        num_frames=num_frames,
        num_added=objects.num_added,
        session=objects.session,
        restored_ns=restored_ns,
        objects=list(objects),
        zoom=saved_zoom,
        searches=searches,
    )
    return _pack(header.model_dump(mode='json'), tensors, notes)


def read_tracks(data: bytes, propagator: Propagator) -> SavedTracks:
    """Read saved tracks and check that they fit; changes no state.

    Args:
        data: Result of `save_tracks`, or arbitrary bytes.
        propagator: Where they will be loaded.

    Raises:
        SavedTracksError: They are damaged or do not fit; the message names the saved and the
            present value.
    """
    values, tensors = _unpack(data)
    try:
        header = parse_settings(Header, values)
    except ConfigError as error:
        raise SavedTracksError(
            f'expected the header of saved tracks, got another: {error}'
        ) from error
    here = _made_with(propagator)
    wrong = [
        f'{name} {header.made_with.get(name)}, here {ours}'
        for name, ours in here.items()
        if header.made_with.get(name) != ours
    ]
    if wrong:
        raise SavedTracksError(
            f'the tracks were saved with other settings: {"; ".join(wrong)}. Set them as they '
            'were, or start without the tracks'
        )
    _check_objects(header.objects, propagator.memory.shape.capacity)
    return SavedTracks(header, tensors)


def _made_with(propagator: Propagator) -> dict[str, str | int]:
    """Return the values of `Header.made_with`; `max_objects` may differ."""
    model, shape = propagator.model, propagator.memory.shape
    return {
        'model': model.name,
        'weights': model.weights_hash,
        'projection of embeddings': propagator.reidentifier.embedder.name,
        'max_prompted_entries': shape.num_prompted,
        'memory.anchors': shape.num_anchors,
        'tree.max_hypotheses': shape.num_hypotheses,
    }


def _check_objects(items: Iterable[LiveObject], capacity: int) -> None:
    items = list(items)
    highest = max((item.slot for item in items), default=-1)
    if highest >= capacity:
        raise SavedTracksError(
            f'the tracks need room for {highest + 1} objects, here max_objects is {capacity}; '
            'raise it, or start without them'
        )
    for name in ('object_id', 'uuid', 'slot'):
        values = [getattr(item, name) for item in items]
        if len(set(values)) != len(values):
            raise SavedTracksError(f'expected objects of different {name}, got {values}')


def _pack(
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


def _unpack(data: bytes) -> tuple[dict[str, Any], Tensors]:
    """Return the header and the tensors of the result of `_pack`.

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
