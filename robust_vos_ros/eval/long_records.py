"""What the suite of long clips measures on one clip: numbers of every frame."""

from __future__ import annotations

import numpy as np

from robust_vos_ros.eval.long import Rows
from robust_vos_ros.eval.records import Record


class LongObject(Record):
    """One prompted object; lists have an entry per frame.

    Attributes:
        j: Region similarity in [0, 1]; 1 where object and mask are both absent.
        f: Boundary accuracy in [0, 1]; likewise.
        visible_px: Pixels of it that are visible.
        inside_px: Pixels that would be visible if nothing were in front of it.
        full_px: Pixels of it, in the image or not.
        masked: Whether a mask was published.
        precision: Share of the mask's pixels that are on the object, 0 without a mask.
        confidence: As published, in [0, 1].
        state: Value of `core.types.ObjectState`.
    """

    j: list[float]
    f: list[float]
    visible_px: list[int]
    inside_px: list[int]
    full_px: list[int]
    masked: list[bool]
    precision: list[float]
    confidence: list[float]
    state: list[int]

    def rows(self, weather: list[str]) -> Rows:
        """Return the table that is judged.

        Args:
            weather: The corruption of each frame, empty = clean.
        """
        visible = np.array(self.visible_px) / np.maximum(self.full_px, 1)
        return Rows(
            j=np.array(self.j),
            f=np.array(self.f),
            visible=np.minimum(visible, 1.0),
            in_view=np.array(self.inside_px) > 0,
            masked=np.array(self.masked),
            precision=np.array(self.precision),
            confidence=np.array(self.confidence),
            state=np.array(self.state),
            weather=np.array([bool(name) for name in weather]),
        )


class LongRecord(Record):
    """One variant on one long clip.

    Attributes:
        variant: Name of what tracked.
        sequence: Name of the clip.
        rate_hz: Frames per second.
        seconds: Time in the engine; the only number that differs from run to run.
        weather: Corruption of each frame, empty = clean.
        objects: The prompted ones.
        film: JPEG of frames around the absence that went worst, in base64.
    """

    variant: str
    sequence: str
    rate_hz: int
    seconds: float
    weather: list[str]
    objects: list[LongObject]
    film: str

    def tables(self) -> list[Rows]:
        """Return the table of each object."""
        return [item.rows(self.weather) for item in self.objects]
