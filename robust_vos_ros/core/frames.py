"""The frames of a tracker as the network sees them: whole, or through the window of a zoom.

What was prompted on a past frame is tracked forward through `ProcessedFrames`. These are decoded
and of the size of the network's input, so that seconds of them fit. The frame that a prompt points
at comes from outside, in full size and perhaps never tracked: the node keeps what it received for
that.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence

import torch

from robust_vos_ros.core.errors import NoFrameError, StampInFutureError, StampTooOldError
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.segmentation import Segments
from robust_vos_ros.core.tracking_settings import TrackerSettings, ZoomSettings
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.core.zoom.window import Record, make_record
from robust_vos_ros.core.zoom.zoom import Zoom


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


class Frames:
    """Recent frames, and the window that the newest one is seen through.

    Args:
        propagator: Knows the objects.
        settings: Which frames are kept, and whether there is a zoom.

    Attributes:
        history: Frames that prompts may refer to, seen as a whole.
        zoom: None where everything is seen as a whole.
    """

    def __init__(self, propagator: Propagator, settings: TrackerSettings) -> None:
        max_bytes = settings.prompt_buffer_mb * 1_000_000
        image_size = propagator.model.image_size
        self.history = ProcessedFrames(settings.prompt_buffer_s, max_bytes, image_size)
        self.zoom = Zoom(propagator, settings.zoom) if settings.zoom.enabled else None
        self._seen: Record | None = None  # the newest frame, where it is not seen as a whole

    def newest(self) -> Record:
        """Return the newest frame as the network saw it.

        Raises:
            NoFrameError: There is none.
        """
        return self.history.newest() if self._seen is None else self._seen

    def take(self, frame: Frame, items: Sequence[LiveObject], settings: ZoomSettings) -> Record:
        """Take the next frame; returns it as the network is to see it.

        Args:
            frame: The frame.
            items: All live objects, as they were in the frame before.
            settings: As they are now.
        """
        record = self.history.append(frame)
        if self.zoom is not None:
            record = self.zoom.look(frame, record, items, settings)
        self._seen = record
        return record

    def look_at(
        self,
        prompts: list[Prompt],
        record: Record,
        newer: list[Record],
        items: list[LiveObject],
        settings: ZoomSettings,
    ) -> Record:
        """Return the frame of prompts as the network is to see it.

        Args:
            prompts: Checked.
            record: Their frame, seen as a whole.
            newer: The frames after it, which are kept as a whole.
            items: The objects that stay.
            settings: As they are now.
        """
        if self.zoom is None:
            return record
        if newer or record.size_hw != self.history.newest().size_hw:
            self.see_all(items)
            return record
        self._seen = self.zoom.aim(prompts, record, items, settings)
        return self._seen

    def see_all(self, items: Sequence[LiveObject]) -> None:
        """See the whole image again."""
        if self.zoom is not None:
            self.zoom.see_all(items)
            self._seen = None

    def note_prompted(
        self,
        items: list[LiveObject],
        prompts: list[Prompt],
        segment: Segments,
        record: Record,
        frame: Frame | None,
    ) -> None:
        """Keep what was just pointed at, so that it can be remembered through another window."""
        if self.zoom is not None:
            rows = segment.rows
            self.zoom.note_prompted(
                [items[row] for row in rows], segment.kept.mask_logits[:, 0],
                [prompts[row] for row in rows], record, frame,
            )  # fmt: skip

    def note_tracked(self, items: Sequence[LiveObject]) -> None:
        """Keep the newest frame for the objects that remember it."""
        if self.zoom is not None:
            self.zoom.note_tracked(items)

    def forget(self, items: Sequence[LiveObject]) -> None:
        """Drop what is kept of some objects."""
        if self.zoom is not None:
            self.zoom.forget(items)

    def clear(self) -> None:
        """Forget the frames; what the memory of the objects was made of stays."""
        self.history.clear()
        self._seen = None

    def reset(self) -> None:
        """Begin again, without objects."""
        self.clear()
        self.history.num_frames = 0
        if self.zoom is not None:
            self.zoom.clear()

    def to_whole(self, logits: torch.Tensor) -> torch.Tensor:
        """Return (..., h, w) logits of what the network sees as they are in the whole image."""
        return logits if self.zoom is None else self.zoom.to_whole(logits)
