"""Requests to the tracker, applied to the frame they refer to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger
from std_msgs.msg import Header

from robust_vos_ros.core.errors import NoFrameError
from robust_vos_ros.core.prompting.segmentation import segment_once
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.types import EventType, Frame, Prompt, TrackResult
from robust_vos_ros.node.conversions import to_reference_picture
from robust_vos_ros.node.pipeline import Pipeline
from robust_vos_ros.node.publishers import Publishers
from robust_vos_ros.node.word_requests import AppliedSearch, Asked
from robust_vos_ros.ros_types.images import stamp_to_ns


@dataclasses.dataclass(frozen=True, slots=True)
class Applied:
    """Result of a request.

    Attributes:
        header: Of the frame that the prompts were applied to.
        result: Of the newest frame, or of the segmented image.
    """

    header: Header
    result: TrackResult


class Requests:
    """Changes to the objects; everything runs on the worker thread.

    Args:
        tracker: The tracker.
        publishers: Publish the events.
        pipeline: Provides the newest frame.
        logger: Of the node.
    """

    def __init__(
        self,
        tracker: VideoTracker,
        publishers: Publishers,
        pipeline: Pipeline,
        *,
        logger: RcutilsLogger,
    ) -> None:
        self._tracker = tracker
        self._publishers = publishers
        self._pipeline = pipeline
        self._logger = logger

    def add(self, prompts: Sequence[Prompt], msg: Any | None, *, replace: bool) -> Applied:
        """Start tracking objects.

        Args:
            prompts: One per object.
            msg: The received image of the prompts; None = the newest processed one.
            replace: Replace live objects of the same id.

        Raises:
            PromptError: And all errors of `VideoTracker.add`.
        """
        frame, header = self.frame_of(msg)
        result = self._tracker.add(prompts, frame=frame, replace_existing=replace)
        self._pipeline.views.forget([prompt.object_id for prompt in prompts])
        return self._applied(result, header)

    def look_for(self, msgs: Sequence[Any], *, replace: bool) -> Applied:
        """Add objects by reference pictures.

        Args:
            msgs: robust_vos/ObjectPrompt, one per object, each with its picture.
            replace: Replace live objects of the same id.

        Raises:
            PromptError: And all errors of `VideoTracker.look_for`.
        """
        _, header = self.frame_of(None)
        scale = self._pipeline.settings.input.scale_16bit
        pictures = [to_reference_picture(msg, scale) for msg in msgs]
        result = self._tracker.look_for(pictures, replace_existing=replace)
        return self._applied(result, header)

    def find(self, asked: Asked) -> AppliedSearch:
        """Find things by words in the newest image, and track them.

        Args:
            asked: What for.

        Raises:
            PromptError: And all errors of `VideoTracker.find`.
        """
        _, header = self.frame_of(None)
        found = self._tracker.find(
            asked.text,
            max_objects=asked.max_objects,
            min_confidence=asked.min_confidence,
            mode=asked.mode,
        )
        self._applied(found.result, header)
        return AppliedSearch(header, found)

    def refine(self, prompt: Prompt, msg: Any | None) -> Applied:
        """Correct a live object; arguments and errors as in `add`."""
        frame, header = self.frame_of(msg)
        result = self._tracker.refine(prompt, frame=frame)
        self._pipeline.views.forget([prompt.object_id])
        return self._applied(result, header)

    def point(self, prompt: Prompt, msg: Any | None) -> None:
        """Add an object that is not live, or re-initialize an unseen one; otherwise do nothing.

        Args:
            prompt: For the object.
            msg: As in `add`.

        Raises:
            PromptError: And all errors of `VideoTracker.add`.
        """
        self.catch_up(msg)
        result = self._tracker.last_result
        if result is None or all(x.object_id != prompt.object_id for x in result.objects):
            self.add([prompt], msg, replace=False)
        else:
            self.reinitialize([prompt], msg)

    def reinitialize(self, prompts: Sequence[Prompt], msg: Any | None) -> tuple[int, ...]:
        """Re-initialize unseen objects from candidates.

        Args:
            prompts: Candidates; several for one object are alternatives.
            msg: As in `add`.

        Returns:
            Indices of the accepted prompts.

        Raises:
            PromptError: And all errors of `VideoTracker.reinitialize`.
        """
        if not prompts:
            return ()
        frame, header = self.frame_of(msg)
        done = self._tracker.reinitialize(prompts, frame=frame)
        for reason in done.rejected:
            self._logger.debug(f'not re-initialized: {reason}')
        for object_id in done.accepted:
            self._logger.info(f'{object_id!r} re-initialized where it was detected')
        self._pipeline.statistics.add(
            reinitializations_accepted=len(done.accepted),
            reinitializations_rejected=len(done.rejected),
        )
        self._applied(done.result, header)
        return done.rows

    def remove(self, object_ids: Sequence[str], why: str = '') -> list[str]:
        """Stop tracking objects, all if no id is given; returns the ids.

        Args:
            object_ids: Of the objects.
            why: Detail of the events; empty = by request.
        """
        events = self._tracker.remove(object_ids)
        if why:
            events = tuple(dataclasses.replace(event, detail=why) for event in events)
        self._publishers.publish_events(events, self._pipeline.newest_header())
        self._pipeline.save()
        return [event.object_id for event in events if event.type == EventType.REMOVED]

    def reset(self) -> None:
        """Clear all objects and frames."""
        self._pipeline.reset(self._pipeline.newest_header())

    def segment_once(self, prompts: Sequence[Prompt], msg: Any) -> Applied:
        """Segment objects in an image without tracking them.

        Args:
            prompts: One per object.
            msg: The image.
        """
        frame = self._pipeline.to_frame(msg)
        tracker = self._tracker
        limit = tracker.settings.max_objects
        return Applied(msg.header, segment_once(tracker.model, frame, prompts, limit))

    def catch_up(self, msg: Any | None) -> Header:
        """Process the waiting image if a request refers to it; returns the header referred to.

        Raises:
            NoFrameError: There is no image.
        """
        pipeline = self._pipeline
        newest = pipeline.newest
        if newest is None or (msg is not None and _stamp_ns(msg) > _stamp_ns(newest)):
            pipeline.process_waiting_image()
            newest = pipeline.newest
        if newest is None:
            raise NoFrameError('no image has been processed since activation; check the topic')
        if self._tracker.last_result is None:  # after a reset the tracker has no frame
            self._tracker.step(pipeline.to_frame(newest))
        return newest.header if msg is None else msg.header

    def frame_of(self, msg: Any | None) -> tuple[Frame | None, Header]:
        """Return the frame to prompt on (None = the newest processed one) and its header."""
        header = self.catch_up(msg)
        if msg is None or _stamp_ns(msg) == _stamp_ns(self._pipeline.newest):
            return None, header
        return self._pipeline.to_frame(msg), header

    def size_of(self, msg: Any) -> tuple[int, int]:
        """Return height and width of a received image; decodes it only if compressed."""
        if hasattr(msg, 'height'):
            return msg.height, msg.width
        return self._pipeline.to_frame(msg).size_hw

    def _applied(self, result: TrackResult, header: Header) -> Applied:
        self._publishers.publish_events(result.events, header)
        self._pipeline.save()
        return Applied(header, result)


def _stamp_ns(msg: Any) -> int:
    return stamp_to_ns(msg.header.stamp)
