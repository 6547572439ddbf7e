"""Records of tracking one sequence: numbers of every frame, before any averaging."""

from __future__ import annotations

import numpy as np
import pydantic

from robust_vos_ros.eval.absences import Rows

CLEAN = 'clean'
SEGMENTS = 'segments'


class Record(pydantic.BaseModel):
    """Base of records in files: immutable; unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra='forbid', frozen=True)


class Condition(Record):
    """Corruption under which a sequence is tracked.

    Attributes:
        corruption: A name of `data.corruption`; `clean`; or `segments`, the corruptions that
            belong to a rendered clip.
        severity: 0 to 5.
        profile: Severity over time, a name of `data.severity`.
        seed: Of the run; the seed of a sequence comes from it and its name.
    """

    corruption: str
    severity: float
    profile: str
    seed: int

    @property
    def is_corrupted(self) -> bool:
        """Whether images are corrupted that are also measured clean."""
        return self.corruption not in {CLEAN, SEGMENTS}


class ObjectRecord(Record):
    """One object, from the frame of its prompt on; lists have an entry per labelled frame.

    Attributes:
        object_id: Its id in the data set.
        frames: Index of each labelled frame; the first is that of the prompt.
        j: Region similarity in [0, 1]; 1 where object and mask are both absent.
        f: Boundary accuracy in [0, 1]; likewise.
        visible: Share of the object that is visible; 1 or 0 if only that is known.
        in_view: Whether it is inside the image, occluded or not; empty if not known.
        masked: Whether a mask was published.
        precision: Share of the mask's pixels that are on the object, 0 without a mask.
        confidence: The published confidence in [0, 1].
        state: Value of `core.types.ObjectState`.
        jitter: Mean change of the mask that motion does not explain, in [0, 1].
        true_jitter: The same of the true mask.
    """

    object_id: int
    frames: list[int]
    j: list[float]
    f: list[float]
    visible: list[float]
    in_view: list[bool]
    masked: list[bool]
    precision: list[float]
    confidence: list[float]
    state: list[int]
    jitter: float | None
    true_jitter: float | None

    def rows(self, weather: list[str]) -> Rows:
        """Return the numbers as arrays.

        Args:
            weather: The corruption of each frame of the sequence; empty = clean.
        """
        return Rows(
            frames=np.array(self.frames),
            j=np.array(self.j),
            f=np.array(self.f),
            visible=np.array(self.visible),
            in_view=np.array(self.in_view) if self.in_view else None,
            masked=np.array(self.masked),
            precision=np.array(self.precision),
            confidence=np.array(self.confidence),
            state=np.array(self.state),
            corrupted=np.array([bool(weather[index]) for index in self.frames]),
        )


class SequenceRecord(Record):
    """One tracker on one sequence under one condition.

    Attributes:
        variant: Name of the variant.
        rate_hz: Frames per second.
        seconds: Time in the engine; the only number that differs from run to run.
        weather: Corruption of each frame, labelled or not; empty = clean.
        strip: Film strip of the worst part of the sequence: a JPEG in base64.
    """

    variant: str
    sequence: str
    condition: Condition
    rate_hz: int
    seconds: float
    weather: list[str]
    objects: list[ObjectRecord]
    strip: str

    @property
    def num_frames(self) -> int:
        """Number of frames of the sequence, labelled or not."""
        return len(self.weather)

    def tables(self) -> list[Rows]:
        """Return the arrays of each object."""
        return [item.rows(self.weather) for item in self.objects]
