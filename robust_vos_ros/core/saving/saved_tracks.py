"""Serialize all tracks of a tracker; check and load them into another one.

One format serves two uses: another tracker continues with identical bits, or a restarted node
re-detects its objects. Bytes that are damaged, of another format or made for another model raise
SavedTracksError.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping

import torch

from robust_vos_ros.core.confidence import states
from robust_vos_ros.core.errors import ConfigError, SavedTracksError
from robust_vos_ros.core.objects import Count, LiveObject, TimeNs
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.saving.format import pack, unpack
from robust_vos_ros.core.saving.named_tensors import Tensors, below, expect, prefixed
from robust_vos_ros.core.settings import Settings, parse_settings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.tracks import Tracks
from robust_vos_ros.core.words.search import Search
from robust_vos_ros.core.zoom.sources import SavedZoom
from robust_vos_ros.core.zoom.zoom import Zoom

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


def save_tracks(
    tracks: Tracks, searches: tuple[Search, ...], notes: Mapping[str, str] | None
) -> bytes:
    """Return tracks as bytes; changes no state.

    Args:
        tracks: The tracks.
        searches: As in `Header`.
        notes: Texts by name that the owner of the tracker wants to find again.
    """
    objects, propagator, zoom = tracks.objects, tracks.propagator, tracks.frames.zoom
    tensors: Tensors = {}
    for number, item in enumerate(objects):
        tensors |= prefixed(str(number), _save_object(item.slot, propagator))
    saved_zoom = None
    if zoom is not None:
        saved_zoom, pictures = zoom.save()
        tensors |= prefixed(_ZOOM, pictures)
    header = Header(
        made_with=_made_with(propagator),
        num_frames=tracks.frames.history.num_frames,
        num_added=objects.num_added,
        session=objects.session,
        restored_ns=tracks.restored_ns,
        objects=list(objects),
        zoom=saved_zoom,
        searches=searches,
    )
    return pack(header.model_dump(mode='json'), tensors, notes)


def restore_tracks(
    tracks: Tracks, data: bytes, settings: TrackerSettings, *, lost: bool
) -> tuple[Search, ...]:
    """Load saved tracks; returns the searches that lasted.

    Args:
        tracks: Without objects.
        data: Result of `save_tracks`, or arbitrary bytes.
        settings: Of tracking.
        lost: See `VideoTracker.restore`.

    Raises:
        SavedTracksError: The data cannot be loaded, or there are objects. No object is added; no
            state is changed.
    """
    if len(tracks.objects):
        raise SavedTracksError(
            f'expected a tracker without objects, got one with {len(tracks.objects)}; remove '
            'them, or restore first'
        )
    propagator, frames = tracks.propagator, tracks.frames
    header, tensors = _read_tracks(data, propagator)
    items = _load_objects(header, tensors, propagator)
    zoom = frames.zoom or Zoom(propagator, settings.zoom)
    _load_zoom(header, tensors, zoom)
    if lost or frames.zoom is None:
        with tracks.model.inference():
            zoom.reset_window(items)
    tracks.objects.take_over(items, header.num_added, header.session, same_run=not lost)
    frames.history.num_frames = max(frames.history.num_frames, header.num_frames)
    tracks.restored_ns = None if lost else header.restored_ns
    tracks.forget_frames()
    if lost:
        propagator.keep_best(items)
        for item in items:
            states.lose(item)
    return header.searches


def _read_tracks(data: bytes, propagator: Propagator) -> tuple[Header, Tensors]:
    """Read saved tracks and check that they fit; the message names saved and present values."""
    values, tensors = unpack(data)
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
    return header, tensors


def _load_objects(header: Header, tensors: Tensors, propagator: Propagator) -> list[LiveObject]:
    """Load the memory of the objects into free slots; returns the objects.

    After a SavedTracksError, slots filled before stay unused.
    """
    for number, item in enumerate(header.objects):
        try:
            mine = below(str(number), tensors)
            _load_object(item.slot, mine, propagator, header.num_frames)
        except SavedTracksError as error:
            raise SavedTracksError(f'{item.object_id!r}: {error}') from error
    return list(header.objects)


def _save_object(slot: int, propagator: Propagator) -> Tensors:
    """Return all tensors of one object that later frames depend on, by name."""
    return {
        'masks': propagator.logits[slot, : len(propagator.tree.scores(slot))],
        **propagator.tree.save(slot),
        **propagator.memory.save(slot),
        **prefixed('gallery', propagator.reidentifier.gallery.save(slot)),
        **prefixed('references', propagator.references.save(slot)),
    }


def _load_object(slot: int, saved: Tensors, propagator: Propagator, num_frames: int) -> None:
    """Load what `_save_object` returned for the same slot, after `num_frames` frames."""
    logits = propagator.logits
    count = propagator.tree.load(slot, saved)
    masks = expect(saved, 'masks', torch.float32, (count, *logits.shape[2:]))
    logits[slot, :count] = masks.to(logits.device)
    propagator.memory.load(slot, saved, num_frames)
    propagator.reidentifier.gallery.load(slot, below('gallery', saved))
    propagator.references.load(slot, below('references', saved))
    unknown = saved.keys() - _save_object(slot, propagator).keys()
    if unknown:
        raise SavedTracksError(f'expected no other tensors, got {sorted(unknown)}')


def _load_zoom(header: Header, tensors: Tensors, zoom: Zoom) -> None:
    """Load the window and source frames into a zoom; clear it if none were saved."""
    if header.zoom is None:
        zoom.clear()
    else:
        slots = {item.slot for item in header.objects}
        zoom.load(header.zoom, below(_ZOOM, tensors), slots, header.num_frames)


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
