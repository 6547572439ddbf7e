"""What a benchmark measures on one sequence: numbers of every frame, before any averaging."""

from __future__ import annotations

import pydantic

CLEAN = 'clean'


class Record(pydantic.BaseModel):
    """Base of what is kept in files: immutable, and unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra='forbid', frozen=True)


class ObjectRecord(Record):
    """One object, from the frame of its prompt on; lists have an entry per labelled frame.

    Attributes:
        object_id: Of the data set.
        frames: Index of each labelled frame; the first is that of the prompt.
        j: Region similarity in [0, 1].
        f: Boundary accuracy in [0, 1].
        present: Whether the object is visible in truth.
        masked: Whether a mask was published.
        confidence: The published confidence in [0, 1].
        jitter: Mean change of the mask beyond the motion of the image, in [0, 1].
        true_jitter: The same of the true mask.
    """

    object_id: int
    frames: list[int]
    j: list[float]
    f: list[float]
    present: list[bool]
    masked: list[bool]
    confidence: list[float]
    jitter: float | None
    true_jitter: float | None


class Condition(Record):
    """How the images of a sequence were spoilt.

    Attributes:
        corruption: A name of `data.corruption`, or `clean`.
        severity: 0 to 5.
        profile: Severity over time, a name of `data.severity`.
        seed: Of the run; the seed of a clip comes from it and the name of the sequence.
    """

    corruption: str
    severity: float
    profile: str
    seed: int


class SequenceRecord(Record):
    """One tracker on one sequence under one condition.

    Attributes:
        variant: Name of what tracked.
        num_frames: Frames of the sequence, labelled or not.
        seconds: Time in the engine; the only number that differs from run to run.
        strip: JPEG of the frames around the worst one, in base64.
    """

    variant: str
    sequence: str
    condition: Condition
    num_frames: int
    seconds: float
    objects: list[ObjectRecord]
    strip: str
