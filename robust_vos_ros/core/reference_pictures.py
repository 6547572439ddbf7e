"""Objects that a picture of another time shows: they start LOST and are looked for by their looks.

Memory and gallery come from the picture. Where the object is there, and how large, says nothing of
the stream: its size is unknown until it is seen for the first time (`reference.coverage` 0).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from robust_vos_ros.core.confidence.states import lose
from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.objects import LiveObject, SizeReference
from robust_vos_ros.core.prompts import check_prompt
from robust_vos_ros.core.propagation import Propagator, reset_mask_priors
from robust_vos_ros.core.segmentation import Segmenter, Segments
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.core.zoom.window import Record, make_record

# Embeddings are made of what sets the object apart from the rest of its picture: with nano, a disc
# was found by a picture of which it filled a quarter, not by one of which it filled half.
_MAX_SHARE = 0.4


@dataclasses.dataclass(frozen=True, slots=True)
class ReferencePicture:
    """A picture of an object.

    Attributes:
        prompt: Where the object is, in pixels of the picture.
        frame: The picture, of any size; its stamp does not matter.
    """

    prompt: Prompt
    frame: Frame


@dataclasses.dataclass(frozen=True, slots=True)
class SegmentedPicture:
    """An object as its picture shows it.

    Attributes:
        prompt: Checked.
        record: The picture, as a frame of the time it was sent.
        segment: The one mask.
    """

    prompt: Prompt
    record: Record
    segment: Segments


def segment_pictures(
    pictures: Sequence[ReferencePicture], segmenter: Segmenter, newest: Record
) -> list[SegmentedPicture]:
    """Segment the object of each picture; nothing is changed.

    Args:
        pictures: One per object.
        segmenter: Segments prompts.
        newest: The newest frame of the stream.

    Raises:
        PromptError: A prompt cannot be used, or shows nothing.
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
    """Let an object begin as its picture shows it; it is LOST until it is seen in the stream.

    Args:
        item: Just added.
        picture: From `segment_pictures`.
        segmenter: Encodes pictures.
        propagator: Remembers it.

    Returns:
        Sentences for who asked.
    """
    features = segmenter.encode(picture.record)
    propagator.start(
        [item], features, picture.segment.kept, picture.segment.spatial, picture.record
    )
    reset_mask_priors(propagator.logits[item.slot])
    sentences = [f'{item.object_id!r} starts LOST and is looked for by its reference picture']
    track = item.track
    if track.coverage > _MAX_SHARE:
        sentences.append(
            f'{item.object_id!r} covers {track.coverage:.0%} of its picture: it is found more '
            'surely by a picture that shows more of what is around it'
        )
    lose(item)
    track.updated_ns = picture.record.stamp_ns
    track.existence = track.seen_existence = 0.0  # nothing in the stream shows it
    track.coverage, track.evidence, item.reid.verified_ns = 0.0, None, None
    # Only `memory.mean_coverage` stays, as the size of the first places to look at.
    item.reference = SizeReference()
    return sentences
