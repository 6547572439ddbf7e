"""What one tracker did on one sequence: numbers of every frame, before any averaging."""

from __future__ import annotations

import numpy as np
import pydantic

from robust_vos_ros.eval.absences import Rows

CLEAN = 'clean'
SPELLS = 'segments'


class Record(pydantic.BaseModel):
    """Base of what is kept in files: immutable, and unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra='forbid', frozen=True)


class Condition(Record):
    """In which weather a sequence was tracked.

    Attributes:
        corruption: A name of `data.corruption`; `clean`; or `segments`, the weather that a
            rendered clip has of its own.
        severity: 0 to 5.
        profile: Severity over time, a name of `data.severity`.
        seed: Of the run; the seed of a sequence comes from it and its name.
    """

    corruption: str
    severity: float
    profile: str
    seed: int

    @property
    def is_spoilt(self) -> bool:
        """Whether a corruption was put over images that are measured without it as well."""
        return self.corruption not in {CLEAN, SPELLS}


class ObjectRecord(Record):
    """One object, from the frame of its prompt on; lists have an entry per labelled frame.

    Attributes:
        object_id: Of the data set.
        frames: Index of each labelled frame; the first is that of the prompt.
        j: Region similarity in [0, 1]; 1 where object and mask are both absent.
        f: Boundary accuracy in [0, 1]; likewise.
        visible: Share of the object that is visible; 1 or 0 where only that is known.
        in_view: Whether the image would show it if nothing were in front; empty if not known.
        masked: Whether a mask was published.
        precision: Share of the mask's pixels that are on the object, 0 without a mask.
        confidence: The published confidence in [0, 1].
        state: Value of `core.types.ObjectState`.
        jitter: Mean change of the mask beyond the motion of the image, in [0, 1].
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
        """Return the table that measures are made from.

        Args:
            weather: The corruption of each frame of the sequence, empty = clean.
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
            weather=np.array([bool(weather[index]) for index in self.frames]),
        )


class SequenceRecord(Record):
    """One tracker on one sequence under one condition.

    Attributes:
        variant: Name of what tracked.
        rate_hz: Frames per second.
        seconds: Time in the engine; the only number that differs from run to run.
        weather: Corruption of each frame, labelled or not; empty = clean.
        strip: JPEG of the frames around what went worst, in base64.
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
        """Frames of the sequence, labelled or not."""
        return len(self.weather)

    def tables(self) -> list[Rows]:
        """Return the table of each object."""
        return [item.rows(self.weather) for item in self.objects]
