"""Start objects from prompts, and correct live ones.

The network segments before any state changes: after an error in it nothing has changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from robust_vos_ros.core.confidence.evidence import warn_of_misfit, warn_of_size
from robust_vos_ros.core.objects import LiveObject, slots_of
from robust_vos_ros.core.prompting.prompts import check_prompt
from robust_vos_ros.core.prompting.segmentation import Context, Segments
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.tracks import Tracks, make_event
from robust_vos_ros.core.types import EventType, Frame, Prompt, TrackEvent
from robust_vos_ros.core.zoom.window import Record


@dataclasses.dataclass(frozen=True, slots=True)
class PromptedFrame:
    """Prompts, and the frame they were made on.

    Attributes:
        prompts: Checked.
        record: The whole frame.
        newer: The whole frames after it.
        frame: A past frame; None = the newest one.
    """

    prompts: list[Prompt]
    record: Record
    newer: list[Record] = dataclasses.field(default_factory=list)
    frame: Frame | None = None

    @classmethod
    def check(
        cls,
        prompts: Sequence[Prompt],
        record: Record,
        newer: Sequence[Record] = (),
        frame: Frame | None = None,
    ) -> PromptedFrame:
        """Check prompts for a frame; raises PromptError if one cannot be used."""
        checked = [check_prompt(prompt, record.size_hw) for prompt in prompts]
        return cls(checked, record, list(newer), frame)


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What prompts changed.

    Attributes:
        events: Of the objects.
        warnings: About the prompts, a sentence each.
    """

    events: list[TrackEvent]
    warnings: list[str]


def add_objects(tracks: Tracks, given: PromptedFrame, settings: TrackerSettings) -> Change:
    """Add an object per prompt, in place of those of the same ids.

    Args:
        tracks: Have room for the objects.
        given: The prompts. The objects are tracked forward to the newest frame, independently of
            the other ones.
        settings: Of tracking.
    """
    ids = {prompt.object_id for prompt in given.prompts}
    others = [item for item in tracks.objects if item.object_id not in ids]
    with tracks.model.inference():
        record = _view(tracks, given, others, settings)
        segments = tracks.segmenter.segment(given.prompts, record)
        items, events = tracks.add(given.prompts, record.stamp_ns)
        warnings = []
        for segment in segments:
            warnings += _start(
                tracks, [items[row] for row in segment.rows], segment, record, settings
            )
            tracks.frames.note_prompted(items, given.prompts, segment, record, given.frame)
        events += [make_event(EventType.ADDED, item, 'added by a prompt') for item in items]
        for later in given.newer if items else ():
            events += tracks.follow(items, later, settings)
    return Change(events, warnings)


def refine_object(
    tracks: Tracks, item: LiveObject, given: PromptedFrame, settings: TrackerSettings
) -> Change:
    """Correct a live object by one prompt; see `VideoTracker.refine`."""
    (prompt,) = given.prompts
    with tracks.model.inference():
        record = _view(tracks, given, list(tracks.objects), settings)
        clicks_only = prompt.box is None and prompt.mask is None
        context = _context(tracks, item, record, settings) if clicks_only else None
        (segment,) = tracks.segmenter.segment([prompt], record, context)
        tracks.propagator.forget_recent([item])
        warnings = _start(tracks, [item], segment, record, settings)
        tracks.frames.note_prompted([item], [prompt], segment, record, given.frame)
        rename(item, prompt)
        events = [
            event for later in given.newer for event in tracks.follow([item], later, settings)
        ]
    return Change(events, warnings)


def rename(item: LiveObject, prompt: Prompt) -> None:
    """Change class and words of an object to those of a prompt that has any."""
    item.class_id = prompt.class_id or item.class_id
    item.text = prompt.text or item.text


def _view(
    tracks: Tracks, given: PromptedFrame, others: list[LiveObject], settings: TrackerSettings
) -> Record:
    """Return the network's input for a prompted frame."""
    return tracks.frames.view_prompted(
        given.prompts, given.record, given.newer, others, settings.zoom
    )


def _context(
    tracks: Tracks, item: LiveObject, record: Record, settings: TrackerSettings
) -> Context:
    """Return the decoder inputs for clicks on a live object."""
    model, propagator = tracks.model, tracks.propagator
    features = tracks.segmenter.encode(record)
    slots, modulation = slots_of([item]), settings.memory.modulation
    view = propagator.memory.view(slots, slots * 0, record.frame_index, modulation=modulation)
    previous = None
    if record is tracks.frames.newest() and item.track.visible:
        previous = propagator.masks([item]).unsqueeze(1)
    return Context(model.attend(features, view, model.gates(features, view)), previous)


def _start(
    tracks: Tracks,
    items: list[LiveObject],
    segment: Segments,
    record: Record,
    settings: TrackerSettings,
) -> list[str]:
    """Initialize objects from prompted masks; returns warnings about the masks."""
    features = tracks.segmenter.encode(record)
    tracks.propagator.start(items, features, segment.kept, segment.spatial, record)
    warnings = []
    for item, misfit in zip(items, segment.misfit, strict=True):
        warnings += warn_of_misfit(item, misfit, settings.guard)
        warnings += warn_of_size(item, zoomed=settings.zoom.enabled)
    return warnings
