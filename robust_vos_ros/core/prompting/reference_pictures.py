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
from robust_vos_ros.core.propagation import Propagator, reset_mask_priors
from robust_vos_ros.core.types import Frame, Prompt
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


@dataclasses.dataclass(frozen=True, slots=True)
class SegmentedPicture:
    """The segmented object of a reference picture.

    Attributes:
        prompt: The checked prompt.
        record: The picture, with index and stamp of the newest frame of the stream.
        segment: Its mask.
    """

    prompt: Prompt
    record: Record
    segment: Segments


def segment_pictures(
    pictures: Sequence[ReferencePicture], segmenter: Segmenter, newest: Record
) -> list[SegmentedPicture]:
    """Segment the object of each picture; changes no state.

    Args:
        pictures: One per object.
        segmenter: Segments prompts.
        newest: The newest frame of the stream.

    Raises:
        PromptError: A prompt cannot be used, or its mask is empty.
    """
    segmented = []
    for picture in pictures:
        prompt = check_prompt(picture.prompt, picture.frame.size_hw)
        record = make_record(picture.frame, segmenter.model.image_size, newest.frame_index)
        record = dataclasses.replace(record, stamp_ns=newest.stamp_ns)
        (segment,) = segmenter.segment([prompt], record)
        if not bool((segment.kept.mask_logits > 0).any()):
            raise PromptError(
                f'{prompt.object_id!r}: expected an object at the prompt in its reference '
                'picture, found none; send a mask of it, or another picture'
            )
        segmented.append(SegmentedPicture(prompt, record, segment))
    return segmented


def start_lost(
    item: LiveObject, picture: SegmentedPicture, segmenter: Segmenter, propagator: Propagator
) -> list[str]:
    """Initialize an object from its picture, in the state LOST.

    Args:
        item: The object, just added.
        picture: From `segment_pictures`.
        segmenter: Encodes the picture.
        propagator: Gets its memory.

    Returns:
        Warnings for the caller.
    """
    features = segmenter.encode(picture.record)
    propagator.start(
        [item], features, picture.segment.kept, picture.segment.spatial, picture.record
    )
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
