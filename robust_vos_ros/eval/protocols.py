"""Which frames and objects count: the protocols of DAVIS and of RobustPVOS."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from robust_vos_ros.eval.metrics import SequenceScore, mean_of
from robust_vos_ros.eval.records import ObjectRecord, SequenceRecord

Protocol = Literal['davis', 'davis-all', 'robustpvos']
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
NOTES = {
    'davis': 'without the frame of the prompt and the last one; absent objects must have no mask',
    'davis-all': 'all labelled frames, that of the prompt and the last one as well',
    'robustpvos': 'all labelled frames that show the object; not comparable with the other '
    'protocols, as a mask on an absent object costs nothing',
}


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectScores:
    """The scored frames of one object.

    Attributes:
        sequence: Name of its sequence.
        frames: (N,) int index of each scored frame.
        j: (N,) float64, in [0, 1].
        f: (N,) float64, in [0, 1].
        num_frames: Frames of the sequence.
    """

    sequence: str
    frames: np.ndarray
    j: np.ndarray
    f: np.ndarray
    num_frames: int

    @property
    def mean(self) -> SequenceScore:
        """Mean over the frames."""
        return SequenceScore(float(self.j.mean()), float(self.f.mean()))


def scored_objects(records: Sequence[SequenceRecord], protocol: str) -> Iterator[ObjectScores]:
    """Yield the objects of some sequences that have a frame to score.

    Args:
        records: Of one variant.
        protocol: One of `PROTOCOLS`.
    """
    for record in records:
        for item in record.objects:
            kept = _scored(item, record.num_frames, protocol)
            if kept.any():
                yield ObjectScores(
                    record.sequence,
                    np.array(item.frames)[kept],
                    np.array(item.j)[kept],
                    np.array(item.f)[kept],
                    record.num_frames,
                )


def _scored(item: ObjectRecord, num_frames: int, protocol: str) -> np.ndarray:
    """Return (N,) bool, which of the labelled frames of an object count."""
    frames = np.array(item.frames)
    if protocol == 'robustpvos':
        return np.array(item.present)
    if protocol == 'davis-all':
        return np.ones(len(frames), bool)
    return (frames != frames[0]) & (frames != num_frames - 1)


def mean_score(objects: Sequence[ObjectScores]) -> SequenceScore:
    """Return the mean over objects, as DAVIS-2017 takes it: not per sequence first."""
    return mean_of([item.mean for item in objects])


def by_sequence(objects: Sequence[ObjectScores]) -> dict[str, SequenceScore]:
    """Return the mean over the objects of each sequence, by its name."""
    names = dict.fromkeys(item.sequence for item in objects)
    return {
        name: mean_score([item for item in objects if item.sequence == name]) for name in names
    }
