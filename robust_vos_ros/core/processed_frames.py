"""The frames through which a prompt on a past frame is tracked forward, as the network saw them.

They are decoded and of the size of the network's input, so that seconds of them fit. The frame
that a prompt points at comes from outside, in full size and perhaps never tracked: the node keeps
what it received for that.
"""

from __future__ import annotations

import collections
import dataclasses

import torch

from robust_vos_ros.core.errors import NoFrameError, StampInFutureError, StampTooOldError
from robust_vos_ros.core.types import Frame
from robust_vos_ros.core.zoom.window import Window, resize


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """One processed frame as the model sees it.

    Attributes:
        image: (image_size, image_size, 3) uint8, RGB: what the window shows.
        size_hw: Height and width of the camera image.
        window: The part of the camera image that the model sees.
    """

    image: torch.Tensor
    size_hw: tuple[int, int]
    stamp_ns: int
    frame_id: str
    frame_index: int
    window: Window


def make_record(frame: Frame, image_size: int, frame_index: int) -> Record:
    """Resize a camera image to the model's square input, without keeping its aspect ratio."""
    return Record(
        resize(frame.rgb, image_size),
        frame.size_hw,
        frame.stamp_ns,
        frame.frame_id,
        frame_index,
        Window.whole(frame.size_hw),
    )


class ProcessedFrames:
    """Processed frames of the last seconds in order of time; always the newest one.

    Args:
        seconds: How far back.
        max_bytes: Most memory for them, whatever the frame rate.
        image_size: Side of what the model sees, in pixels.

    Attributes:
        num_frames: Processed so far.
    """

    def __init__(self, seconds: float, max_bytes: int, image_size: int) -> None:
        self.num_frames = 0
        self._span_ns = int(seconds * 1e9)
        self._image_size = image_size
        max_frames = max(1, max_bytes // (3 * image_size**2))
        self._records: collections.deque[Record] = collections.deque(maxlen=max_frames)

    def __len__(self) -> int:
        return len(self._records)

    def append(self, frame: Frame) -> Record:
        """Add a frame and drop those that are too old, or newer because time stepped back."""
        record = make_record(frame, self._image_size, self.num_frames)
        self.num_frames += 1
        while self._records and self._records[-1].stamp_ns > record.stamp_ns:
            self._records.pop()
        self._records.append(record)
        while record.stamp_ns - self._records[0].stamp_ns > self._span_ns:
            self._records.popleft()
        return record

    def clear(self) -> None:
        """Forget all frames."""
        self._records.clear()

    def newest(self) -> Record:
        """Return the newest frame.

        Raises:
            NoFrameError: There is none.
        """
        if not self._records:
            raise NoFrameError('no frame has been processed yet; send an image first')
        return self._records[-1]

    def locate(self, frame: Frame | None) -> tuple[Record, list[Record]]:
        """Find where a past frame belongs.

        Args:
            frame: The frame; None = the newest one.

        Returns:
            It as the model sees it, and the processed frames after it.

        Raises:
            NoFrameError, StampTooOldError, StampInFutureError: It is outside the history.
        """
        newest, oldest = self.newest(), self._records[0]
        if frame is None:
            return newest, []
        stamp_ns = frame.stamp_ns
        if stamp_ns > newest.stamp_ns:
            raise StampInFutureError(
                f'stamp {stamp_ns} ns is {(stamp_ns - newest.stamp_ns) / 1e9:.3f} s newer than '
                'the newest processed frame; use the stamp of a published image, or 0'
            )
        if stamp_ns < oldest.stamp_ns:
            age_ns = newest.stamp_ns - stamp_ns
            raise StampTooOldError(
                f'stamp {stamp_ns} ns is {age_ns / 1e9:.3f} s old, the history reaches back '
                f'{(newest.stamp_ns - oldest.stamp_ns) / 1e9:.3f} s; {self._advice(age_ns)}'
            )
        index = max(r.frame_index for r in self._records if r.stamp_ns <= stamp_ns)
        record = make_record(frame, self._image_size, index)
        return record, [r for r in self._records if r.stamp_ns > stamp_ns]

    def _advice(self, age_ns: int) -> str:
        """Say which settings keep the history from reaching back as far as this."""
        limits = ['tracking.prompt_buffer_s'] if age_ns > self._span_ns else []
        if len(self._records) == self._records.maxlen:
            limits.append('tracking.prompt_buffer_mb')
        if not limits:
            return 'there were no frames before; use the stamp of a newer one'
        return f'prompt sooner or raise {" and ".join(limits)}'
