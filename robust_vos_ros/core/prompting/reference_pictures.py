"""Objects given by a reference picture: they start LOST and are re-detected by appearance.

Memory and gallery are initialized from the picture. Position and size in the picture do not apply
to the stream: the expected size is unknown (`reference.coverage` 0) until the object is first seen
there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from robust_vos_ros.core.confidence.states import lose
from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.objects import LiveObject, SizeReference
from robust_vos_ros.core.prompting.prompts import check_prompt
from robust_vos_ros.core.prompting.segmentation import Segmenter, Segments
from robust_vos_ros.core.prompting.starting import Change
from robust_vos_ros.core.propagation import reset_mask_priors
from robust_vos_ros.core.tracks import Tracks, make_event
from robust_vos_ros.core.types import EventType, Frame, Prompt
from robust_vos_ros.core.zoom.window import Record, make_record

# An embedding is relative to the mean of its image, so an object that fills most of the picture
# gets a weak one: with nano, a disc was found when it filled a quarter of the picture, not half.
_MAX_SHARE = 0.4


@dataclasses.dataclass(frozen=True, slots=True)
class ReferencePicture:
    """A picture of an object.

    Attributes:
        prompt: The object, in pixels of the picture.
        frame: The picture, of any size; its stamp does not matter.
    """

    prompt: Prompt
    frame: Frame


def add_pictures(tracks: Tracks, pictures: Sequence[ReferencePicture]) -> Change:
    """Add an object per picture, LOST, in place of those of the same ids.

    Args:
        tracks: Have a frame, and room for the objects.
        pictures: One per object.

    Raises:
        PromptError: A prompt cannot be used, or its mask is empty; nothing has changed.
    """
    newest = tracks.frames.history.newest()
    with tracks.model.inference():
        segmented = [_segment(picture, tracks.segmenter, newest) for picture in pictures]
        tracks.frames.reset_window(list(tracks.objects))  # re-detection needs the whole image
        items, events = tracks.add([one.prompt for one in segmented], newest.stamp_ns)
        warnings = []
        for item, picture in zip(items, segmented, strict=True):
            warnings += _start_lost(item, picture, tracks)
    events += [make_event(EventType.ADDED, item, 'added by a reference picture') for item in items]
    return Change(events, warnings)


@dataclasses.dataclass(frozen=True, slots=True)
class _SegmentedPicture:
    """The segmented object of a reference picture.

    Attributes:
        prompt: The checked prompt.
        record: The picture, with index and stamp of the newest frame of the stream.
        segment: Its mask.
    """

    prompt: Prompt
    record: Record
    segment: Segments


def _segment(picture: ReferencePicture, segmenter: Segmenter, newest: Record) -> _SegmentedPicture:
    """Segment the object of a picture; changes no state."""
    prompt = check_prompt(picture.prompt, picture.frame.size_hw)
    record = make_record(picture.frame, segmenter.model.image_size, newest.frame_index)
    record = dataclasses.replace(record, stamp_ns=newest.stamp_ns)
    (segment,) = segmenter.segment([prompt], record)
    if not bool((segment.kept.mask_logits > 0).any()):
        raise PromptError(
            f'{prompt.object_id!r}: expected an object at the prompt in its reference '
            'picture, found none; send a mask of it, or another picture'
        )
    return _SegmentedPicture(prompt, record, segment)


def _start_lost(item: LiveObject, picture: _SegmentedPicture, tracks: Tracks) -> list[str]:
    """Initialize an object, just added, from its picture; returns warnings for the caller."""
    propagator, segment = tracks.propagator, picture.segment
    features = tracks.segmenter.encode(picture.record)
    propagator.start([item], features, segment.kept, segment.spatial, picture.record)
    reset_mask_priors(propagator.logits[item.slot])
    sentences = [f'{item.object_id!r} is LOST until it is re-detected by its reference picture']
    track = item.track
    if track.coverage > _MAX_SHARE:
        sentences.append(
            f'{item.object_id!r} covers {track.coverage:.0%} of its picture: re-detection is '
            'more reliable with a picture that shows more of its surroundings'
        )
    lose(item)
    track.updated_ns = picture.record.stamp_ns
    track.existence = track.seen_existence = 0.0  # not yet seen in the stream
    track.coverage, track.evidence, item.reid.verified_ns = 0.0, None, None
    # `memory.mean_coverage` stays: it is the size at which re-detection searches first.
    item.reference = SizeReference()
    return sentences
