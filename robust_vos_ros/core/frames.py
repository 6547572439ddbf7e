"""The network's input images: resized whole frames, or crops chosen by the zoom.

An object prompted on a past frame is tracked forward through `ProcessedFrames`, which hold decoded
images of the network's input size, so that several seconds fit into memory. The caller passes the
prompted frame itself, in full size; it need not have been tracked. The node keeps the received
messages for this (node/received_images.py).
"""

from __future__ import annotations

import collections
from collections.abc import Sequence

import torch

from robust_vos_ros.core.errors import (
    NoFrameError,
    StampInFutureError,
    StampTooOldError,
    advise_too_old,
)
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.prompting.segmentation import Segments
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.tracking_sections import ZoomSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.core.zoom.window import Record, make_record
from robust_vos_ros.core.zoom.zoom import Zoom


class ProcessedFrames:
    """Processed frames of the last seconds, ordered by stamp; the newest one is always kept.

    Args:
        seconds: Maximum age of a frame relative to the newest one.
        max_bytes: Maximum memory for the images, whatever the frame rate.
        image_size: Side of the network's input image in pixels.

    Attributes:
        num_frames: Number of frames processed so far.
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
        """Add a frame; drop those that are too old, or newer after a backward time step."""
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

    def before(self, record: Record) -> list[Record]:
        """Return the processed frames before one of them, the oldest first."""
        return [one for one in self._records if one.frame_index < record.frame_index]

    def locate(self, frame: Frame | None) -> tuple[Record, list[Record]]:
        """Find the position of a past frame in the history.

        Args:
            frame: The past frame; None = the newest one.

        Returns:
            The frame as network input, and the processed frames after it.

        Raises:
            NoFrameError, StampTooOldError, StampInFutureError: The frame is outside the history.
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
                f'{(newest.stamp_ns - oldest.stamp_ns) / 1e9:.3f} s; '
                f'{advise_too_old(self._limits(age_ns))}'
            )
        index = max(r.frame_index for r in self._records if r.stamp_ns <= stamp_ns)
        record = make_record(frame, self._image_size, index)
        return record, [r for r in self._records if r.stamp_ns > stamp_ns]

    def _limits(self, age_ns: int) -> list[str]:
        """Name the settings that limit the history to less than this age."""
        limits = ['tracking.prompt_buffer_s'] if age_ns > self._span_ns else []
        if len(self._records) == self._records.maxlen:
            limits.append('tracking.prompt_buffer_mb')
        return limits


class Frames:
    """The history of frames, and the zoom window of the newest one.

    Args:
        propagator: Holds the memory and masks of the objects.
        settings: Length of the history, and settings of the zoom.

    Attributes:
        history: Whole frames that prompts may refer to.
        zoom: None where the network always gets the whole image.
    """

    def __init__(self, propagator: Propagator, settings: TrackerSettings) -> None:
        max_bytes = settings.prompt_buffer_mb * 1_000_000
        image_size = propagator.model.image_size
        self.history = ProcessedFrames(settings.prompt_buffer_s, max_bytes, image_size)
        self.zoom = Zoom(propagator, settings.zoom) if settings.zoom.enabled else None
        self._cropped: Record | None = None  # the newest frame, if it was cropped

    def newest(self) -> Record:
        """Return the newest frame as the network got it.

        Raises:
            NoFrameError: There is none.
        """
        return self.history.newest() if self._cropped is None else self._cropped

    def take(self, frame: Frame, items: Sequence[LiveObject], settings: ZoomSettings) -> Record:
        """Add the next frame to the history; returns the network's input for it.

        Args:
            frame: The frame.
            items: All live objects, with their state in the previous frame.
            settings: Current zoom settings.
        """
        record = self.history.append(frame)
        if self.zoom is not None:
            record = self.zoom.view_next(frame, record, items, settings)
        self._cropped = record
        return record

    def view_prompted(
        self,
        prompts: list[Prompt],
        record: Record,
        newer: list[Record],
        items: list[LiveObject],
        settings: ZoomSettings,
    ) -> Record:
        """Return the network's input for the frame of prompts.

        Args:
            prompts: Checked prompts.
            record: The whole frame of the prompts.
            newer: The whole frames after it.
            items: The objects that are not replaced by the prompts.
            settings: Current zoom settings.
        """
        if self.zoom is None:
            return record
        if newer or record.size_hw != self.history.newest().size_hw:
            self.reset_window(items)
            return record
        self._cropped = self.zoom.view_prompted(prompts, record, items, settings)
        return self._cropped

    def reset_window(self, items: Sequence[LiveObject]) -> None:
        """Make the network use the whole image again."""
        if self.zoom is not None:
            self.zoom.reset_window(items)
            self._cropped = None

    def note_prompted(
        self,
        items: list[LiveObject],
        prompts: list[Prompt],
        segment: Segments,
        record: Record,
        frame: Frame | None,
    ) -> None:
        """Keep prompted masks and frame, to encode the memory again in another window."""
        if self.zoom is not None:
            rows = segment.rows
            self.zoom.note_prompted(
                [items[row] for row in rows], segment.kept.mask_logits[:, 0],
                [prompts[row] for row in rows], record, frame,
            )  # fmt: skip

    def note_tracked(self, items: Sequence[LiveObject]) -> None:
        """Keep the newest frame for the objects whose memory it entered."""
        if self.zoom is not None:
            self.zoom.note_tracked(items)

    def forget(self, items: Sequence[LiveObject]) -> None:
        """Drop the frames and masks kept for some objects."""
        if self.zoom is not None:
            self.zoom.forget(items)

    def clear(self) -> None:
        """Forget the history; the frames kept for the zoom stay."""
        self.history.clear()
        self._cropped = None

    def reset(self) -> None:
        """Return to the initial state, without objects."""
        self.clear()
        self.history.num_frames = 0
        if self.zoom is not None:
            self.zoom.clear()

    def to_whole(self, logits: torch.Tensor) -> torch.Tensor:
        """Map (..., h, w) logits from the current window to the whole image."""
        return logits if self.zoom is None else self.zoom.to_whole(logits)
