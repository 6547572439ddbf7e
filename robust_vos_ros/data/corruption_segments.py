"""Segments of corruptions over a long clip, with clean frames between them."""

from __future__ import annotations

import bisect
import dataclasses

import numpy as np

from robust_vos_ros.data.corruption import CORRUPTIONS, ROBUSTPVOS
from robust_vos_ros.data.severity import Profile

_CLEAN_S = (2.0, 5.0)
_SEGMENT_S = (3.0, 5.0)
_SEVERITY = (1.0, 3.5)
_FADE_S = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """One corruption over some frames.

    Attributes:
        corruption: A name of `data.corruption.ROBUSTPVOS`.
        profile: Severity over the frames of the segment.
        start: Its first frame.
        fade: Number of frames in which the severity rises, and of those in which it falls.
        seed: Of the corruption.
    """

    corruption: str
    profile: Profile
    start: int
    fade: int
    seed: int

    def severity(self, frame: int, parameter: str = '') -> float:
        """Return the severity of a frame of the clip, 0 to 5; 0 outside of the segment."""
        inside = frame - self.start
        edge = min(inside + 1, self.profile.num_frames - inside)
        if edge <= 0:
            return 0.0
        return min(1.0, edge / self.fade) * self.profile.at(inside, self.seed, parameter)


class CorruptionSchedule:
    """The corruptions of one clip: a pure function of its seed.

    Each of the eight corruptions is used once before one is used again. The severity over a
    segment is a Fourier mixture or a burst.

    Args:
        rng: Source of randomness.
        num_frames: Of the clip.
        rate_hz: Frames per second.

    Attributes:
        segments: In order of time; frames between them are clean.
    """

    def __init__(self, rng: np.random.Generator, num_frames: int, rate_hz: float) -> None:
        names: list[str] = []
        segments: list[Segment] = []
        now = rng.uniform(*_CLEAN_S)
        while (start := round(now * rate_hz)) < num_frames:
            if not names:
                names = [str(name) for name in rng.permutation(list(ROBUSTPVOS))]
            lasts = rng.uniform(*_SEGMENT_S)
            kind = 'burst' if rng.random() < 0.3 else 'fourier'
            profile = Profile(kind, rng.uniform(*_SEVERITY), max(1, round(lasts * rate_hz)))
            fade = max(1, round(_FADE_S * rate_hz))
            segments.append(Segment(names.pop(), profile, start, fade, int(rng.integers(2**62))))
            now += lasts + rng.uniform(*_CLEAN_S)
        self.segments = tuple(segments)
        self._starts = [segment.start for segment in segments]

    def at(self, frame: int) -> tuple[str, float]:
        """Return the corruption of a frame and its severity; no name where it is clean."""
        segment = self._segment(frame)
        severity = segment.severity(frame) if segment else 0.0
        return (segment.corruption, severity) if segment and severity > 0.0 else ('', 0.0)

    def apply(self, image: np.ndarray, frame: int) -> np.ndarray:
        """Return a corrupted frame; the image itself where it is clean.

        Args:
            image: (H, W, 3) uint8, RGB.
            frame: Its index in the clip, from 0.
        """
        segment = self._segment(frame)
        if segment is None or not self.at(frame)[0]:
            return image

        def level(parameter: str) -> float:
            return segment.severity(frame, f'{segment.corruption}.{parameter}')

        corrupt = CORRUPTIONS[segment.corruption]
        return corrupt(image, level, segment.seed, frame - segment.start)

    def _segment(self, frame: int) -> Segment | None:
        position = bisect.bisect_right(self._starts, frame) - 1
        return self.segments[position] if position >= 0 else None
