"""Processing of images on the worker thread."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rclpy.impl.rcutils_logger import RcutilsLogger
from std_msgs.msg import Header

from robust_vos_ros.core.errors import ImageError
from robust_vos_ros.core.network.optimize import free_cached_memory
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.types import Frame, TrackResult
from robust_vos_ros.node.overload import Overload
from robust_vos_ros.node.publishers import Publishers
from robust_vos_ros.node.settings import NodeSettings
from robust_vos_ros.node.state_file import StateFile
from robust_vos_ros.node.statistics import Statistics
from robust_vos_ros.node.threads import Owner
from robust_vos_ros.node.views import Views
from robust_vos_ros.node.worker import Lane, Worker
from robust_vos_ros.ros_types.discontinuities import Action, Previous, find_discontinuities
from robust_vos_ros.ros_types.images import NS_PER_S, Convert, stamp_to_ns, to_frame

THROTTLE_S = 5.0

# (image, corruption, severity, stamp in ns) -> image; images are (H, W, 3) uint8 RGB.
Corrupt = Callable[[np.ndarray, str, float, int], np.ndarray]


@dataclasses.dataclass(frozen=True, slots=True)
class ReceivedImage:
    """An image message and the time.monotonic_ns() of its arrival."""

    msg: Any
    received_ns: int


class Pipeline:
    """Passes image messages through the tracker to the publishers.

    `process` and what it calls run on the worker thread only, everything else on the executor's
    thread.

    Attributes:
        newest: The newest processed image message; None before the first of this activation.
        on_result: Called with every published result, its header and its image, (H, W, 3) uint8;
            must return quickly.
        camera: Name of the camera; empty if the node has only one.
        lane: Queue to the running worker; None while inactive. For the executor's thread only.
        statistics: Of this activation, or of the last one.
        views: Tracked objects of the last seconds. For the worker thread only.
    """

    def __init__(
        self,
        tracker: VideoTracker,
        publishers: Publishers,
        *,
        state: StateFile,
        corrupt: Corrupt,
        convert: Convert | None,
        follow_model: Callable[[ModelSettings], None],
        settings: Callable[[], NodeSettings],
        camera: str = '',
        now_ns: Callable[[], int],
        logger: RcutilsLogger,
        owner: Owner,
    ) -> None:
        """Create an inactive pipeline.

        Args:
            tracker: The tracker.
            publishers: Publish the results.
            state: Saves the objects.
            corrupt: Corrupts images if debug.corruption is set.
            convert: Converter of raw images that is tried first (input.cv_bridge), or None.
            follow_model: Applies changed settings of the model.
            settings: Returns the present settings.
            camera: Name of the camera; empty if the node has only one.
            now_ns: Returns the time of the node's clock.
            logger: Of the node.
            owner: The thread that uses the tracker.
        """
        self.camera = camera
        self.lane: Lane | None = None
        self._last_lane: Lane | None = None
        self._overload: Overload | None = None
        self.statistics = Statistics()
        self.views = Views()
        self._tracker = tracker
        self._publishers = publishers
        self._state = state
        self._corrupt = corrupt
        self._convert = convert
        self._settings = settings
        self._now_ns = now_ns
        self._logger = logger
        self._owner = owner
        self._follow_model = follow_model
        self._previous: Previous | None = None
        self.newest: Any | None = None
        self.on_result: Callable[[TrackResult, Header, np.ndarray], None] | None = None
        self._clock_jumped = threading.Event()

    def activate(self, worker: Worker, overload: Overload) -> None:
        """Add a lane to a worker that does not run yet; statistics start from zero.

        Args:
            worker: Of all cameras.
            overload: Measures the load of that worker.
        """
        self.statistics = Statistics()
        self.newest = None
        self._overload = overload
        self._last_lane = self.lane = worker.add_lane(
            self.process,
            max_requests=self.settings.max_pending_requests,
            on_error=self._fail,
        )
        self._owner.release()
        self._publishers.start(self._note_picture_error)

    def deactivate(self, timeout_s: float, *, may_save: bool) -> None:
        """Stop the pictures and save the objects, after the worker was stopped.

        Args:
            timeout_s: Maximum time for writing.
            may_save: Whether the worker has ended; otherwise it still uses the tracker.
        """
        self._publishers.stop()
        if may_save:
            self._owner.release()
            self._state.finish(self._tracker, timeout_s)

    @property
    def settings(self) -> NodeSettings:
        """The present settings."""
        return self._settings()

    @property
    def last_result(self) -> TrackResult | None:
        """Result of the newest processed frame; immutable, so any thread may read it."""
        return self._tracker.last_result

    @property
    def num_dropped(self) -> int:
        """Number of frames since activation that were replaced by newer ones or stale."""
        lane = self._last_lane  # also while it is being stopped
        replaced = 0 if lane is None else lane.counts.dropped
        return replaced + self.statistics.counts.stale

    def notify_clock_jump(self) -> None:
        """Note that the ROS clock went backwards; the next frame counts as a time jump."""
        self._clock_jumped.set()

    @property
    def pictures_dropped(self) -> int:
        """Number of pictures since activation that were left out to keep pace."""
        return self._publishers.num_dropped

    def process(self, image: ReceivedImage) -> None:
        """Track all objects into an image and publish the result."""
        start_s, settings = time.monotonic(), self.settings
        msg = image.msg
        if not settings.enabled:
            self.statistics.add(ignored=1)
            return
        if self._is_stale(msg, settings.input.max_frame_age_s):
            self.statistics.add(stale=1)
            return
        try:
            frame = self.to_frame(msg)
        except ImageError as error:
            self.reject(error)
            return
        self._tracker.settings = settings.tracking
        if self._overload is not None:
            self._tracker.reduction = self._overload.reduction
        self._follow_model(settings.model)
        self._handle_changes(frame, msg.header, settings)
        result = self._tracker.step(frame)
        self.views.append(result, settings.tracking.prompt_buffer_s)
        self._previous = Previous(frame.stamp_ns, frame.size_hw, frame.frame_id)
        self.newest = msg
        self.statistics.add(processed=1)
        latency_ns = self._publishers.publish_result(
            result,
            msg.header,
            frame.rgb,
            settings.publish,
            settings.class_info,
            received_ns=image.received_ns,
            frames_dropped=self.num_dropped,
        )
        self.statistics.add_latency(latency_ns)
        if (on_result := self.on_result) is not None:  # the executor may set it to None meanwhile
            on_result(result, msg.header, frame.rgb)
        self.save()
        if self._overload is not None:
            self._overload.note_frame(self.camera, time.monotonic() - start_s)

    def offer(self, image: ReceivedImage) -> None:
        """Offer an image to the worker; for the executor's thread, while active."""
        assert self.lane is not None
        assert self._overload is not None
        self._overload.note_arrival(self.camera)
        self.lane.offer(image)

    def reject(self, error: ImageError) -> None:
        """Count and log an invalid image; thread-safe."""
        self.statistics.add_invalid(str(error))
        self._logger.warning(f'image rejected: {error}', throttle_duration_sec=THROTTLE_S)

    def _fail(self, error: Exception) -> None:
        """Count and log an unexpected error of a frame."""
        self.statistics.add_error(f'{type(error).__name__}: {error}', failed=1)
        if isinstance(error, torch.OutOfMemoryError):
            free_cached_memory()
        self._logger.error(
            f'frame failed, continuing with the next: {type(error).__name__}: {error}',
            throttle_duration_sec=THROTTLE_S,
        )

    def _note_picture_error(self, error: Exception) -> None:
        """Log and report an unexpected error of a picture; its frame has been published."""
        text = f'picture failed: {type(error).__name__}: {error}'
        self.statistics.add_error(text)
        self._logger.error(text, throttle_duration_sec=THROTTLE_S)

    def _is_stale(self, msg: Any, max_age_s: float) -> bool:
        age_ns = self._now_ns() - stamp_to_ns(msg.header.stamp)
        return max_age_s > 0 and age_ns > max_age_s * NS_PER_S

    def _handle_changes(self, frame: Frame, header: Header, settings: NodeSettings) -> None:
        clock_jumped = self._clock_jumped.is_set()
        self._clock_jumped.clear()
        changes = find_discontinuities(self._previous, frame, settings, clock_jumped=clock_jumped)
        if not changes:
            return
        for change in changes:
            self.statistics.add(**{change.counter: 1})
            self._logger.warning(
                f'{change.text}: {change.action.name}', throttle_duration_sec=THROTTLE_S
            )
        action = max(change.action for change in changes)
        if action == Action.reset_memory:
            self._tracker.reset_memory()
            self.views.clear()
        elif action == Action.remove_objects:
            self.reset(header)

    def reset(self, header: Header) -> None:
        """Clear all objects and frames, and publish the events."""
        self._publishers.publish_events(self._tracker.reset(), header)
        self._previous = None
        self.views.clear()
        self.save()

    def save(self) -> None:
        """Write the state file, if it is due."""
        self._state.keep(self._tracker, self.settings.state_save_interval_s)

    def newest_header(self) -> Header:
        """Return the header of the newest processed image; an empty one before the first."""
        return Header() if self.newest is None else self.newest.header

    def to_frame(self, msg: Any) -> Frame:
        """Decode a message, and corrupt it if debug.corruption is set; raises ImageError."""
        settings = self.settings
        debug = settings.debug
        frame = to_frame(msg, settings.input.scale_16bit, self._convert)
        if debug.corruption == 'none':
            return frame
        rgb = self._corrupt(frame.rgb, debug.corruption, debug.severity, frame.stamp_ns)
        return dataclasses.replace(frame, rgb=rgb)

    def process_waiting_image(self) -> None:
        """Process the waiting image, if any."""
        if self._last_lane is not None:
            self._last_lane.process_waiting_image()
