"""Protocols: which frames and objects are scored."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from robust_vos_ros.eval.metrics import SequenceScore, mean_of
from robust_vos_ros.eval.records import ObjectRecord, SequenceRecord

CLIPS = 'clips'
NOTES = {
    'davis': 'without the frame of the prompt and the last one; absent objects must have no mask',
    'davis-all': 'all labelled frames, that of the prompt and the last one as well',
    'robustpvos': 'all labelled frames that show the object; not comparable with the other '
    'protocols, as a mask on an absent object costs nothing',
    CLIPS: 'frames as in davis; every clip counts alike, whatever its number of objects',
}


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectScores:
    """The scored frames of one object.

    Attributes:
        sequence: Name of its sequence.
        frames: (N,) int index of each scored frame.
        j: (N,) float64, in [0, 1].
        f: (N,) float64, in [0, 1].
        seen: (N,) bool, whether any of its pixels is visible.
        num_frames: Number of frames of the sequence.
    """

    sequence: str
    frames: np.ndarray
    j: np.ndarray
    f: np.ndarray
    seen: np.ndarray
    num_frames: int

    @property
    def jf(self) -> np.ndarray:
        """(N,) J&F of each frame, in [0, 1]."""
        return (self.j + self.f) / 2

    @property
    def mean(self) -> SequenceScore:
        """Mean over frames."""
        return SequenceScore(float(self.j.mean()), float(self.f.mean()))


def scored_objects(record: SequenceRecord, protocol: str) -> list[ObjectScores]:
    """Return the objects of a sequence that have at least one scored frame.

    Args:
        record: Of the sequence.
        protocol: A key of `NOTES`.
    """
    found = []
    for item in record.objects:
        kept = _scored(item, record.num_frames, protocol)
        if kept.any():
            found.append(
                ObjectScores(
                    record.sequence,
                    np.array(item.frames)[kept],
                    np.array(item.j)[kept],
                    np.array(item.f)[kept],
                    np.array(item.visible)[kept] > 0.0,
                    record.num_frames,
                )
            )
    return found


def _scored(item: ObjectRecord, num_frames: int, protocol: str) -> np.ndarray:
    """Return (N,) bool, whether each labelled frame of an object is scored."""
    frames = np.array(item.frames)
    if protocol == 'robustpvos':
        return np.array(item.visible) > 0.0
    if protocol == 'davis-all':
        return np.ones(len(frames), bool)
    return (frames != frames[0]) & (frames != num_frames - 1)


def mean_score(objects: Sequence[ObjectScores]) -> SequenceScore:
    """Return the mean over objects, not per sequence first, as in DAVIS-2017."""
    return mean_of([item.mean for item in objects])
