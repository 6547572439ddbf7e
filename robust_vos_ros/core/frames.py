"""The frames of a tracker as the network sees them: whole, or through the window of a zoom."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.processed_frames import ProcessedFrames, Record
from robust_vos_ros.core.propagation import Propagator
from robust_vos_ros.core.segmentation import Segments
from robust_vos_ros.core.tracking_settings import TrackerSettings, ZoomSettings
from robust_vos_ros.core.types import Frame, Prompt
from robust_vos_ros.core.zoom.zoom import Zoom


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
