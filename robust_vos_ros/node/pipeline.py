"""Processing of images on the worker thread."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rclpy.impl.rcutils_logger import RcutilsLogger
from std_msgs.msg import Header

from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.errors import ImageError, RobustVosError
from robust_vos_ros.core.network.checkpoints import find_adapter
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.types import Frame, TrackResult
from robust_vos_ros.node.publishers import Publishers
from robust_vos_ros.node.settings import NodeSettings
from robust_vos_ros.node.state_file import StateFile
from robust_vos_ros.node.statistics import Statistics
from robust_vos_ros.node.views import Views
from robust_vos_ros.node.worker import Worker
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
        worker: The running worker; None while inactive. For the executor's thread only.
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
        settings: Callable[[], NodeSettings],
        now_ns: Callable[[], int],
        logger: RcutilsLogger,
    ) -> None:
        """Create an inactive pipeline.

        Args:
            tracker: The tracker.
            publishers: Publish the results.
            state: Saves the objects.
            corrupt: Corrupts images if debug.corruption is set.
            convert: Converter of raw images that is tried first (input.cv_bridge), or None.
            settings: Returns the present settings.
            now_ns: Returns the time of the node's clock.
            logger: Of the node.
        """
        self.worker: Worker | None = None
        self._last_worker: Worker | None = None
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
        self._adapter = settings().model.adapter
        self._previous: Previous | None = None
        self.newest: Any | None = None
        self.on_result: Callable[[TrackResult, Header, np.ndarray], None] | None = None
        self._clock_jumped = threading.Event()

    def activate(self) -> None:
        """Start the worker, with statistics from zero.

        Raises:
            RobustVosError: The worker of the last activation has not ended.
        """
        if self._last_worker is not None and not self._last_worker.stop(0.0):
            raise RobustVosError('the last frame is still being processed; activate again later')
        self.statistics = Statistics()
        self.newest = None
        self._last_worker = self.worker = Worker(
            self.process,
            max_requests=self.settings.max_pending_requests,
            on_error=self._fail,
        )
        self._publishers.start(self._note_picture_error)
        self.worker.start()

    def deactivate(self, timeout_s: float) -> bool:
        """Stop worker and pictures, save the objects; returns False if the worker does not end."""
        worker, self.worker = self.worker, None
        if worker is None:
            return True
        ended = worker.stop(timeout_s)
        self._publishers.stop()
        if ended:  # otherwise the worker still uses the tracker
            self._state.finish(self._tracker, timeout_s)
        return ended

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
        worker = self._last_worker  # also while it is being stopped
        replaced = 0 if worker is None else worker.counts.dropped
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
        settings = self.settings
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
        self._switch_adapter(settings)
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

    def _switch_adapter(self, settings: NodeSettings) -> None:
        """Switch to the adapter of the settings, or keep the old one on an error; tracks stay."""
        if settings.model.adapter == self._adapter:
            return
        self._adapter = settings.model.adapter
        try:
            adapters.use(self._tracker.model, find_adapter(settings.model))
            self._logger.info(f'adapter: {self._adapter}')
        except RobustVosError as error:
            text = f'adapter {self._adapter} not used: {error}'
            self._logger.error(text)  # noqa: TRY400  the logger of ROS knows no exception()

    def reject(self, error: ImageError) -> None:
        """Count and log an invalid image; thread-safe."""
        self.statistics.add_invalid(str(error))
        self._logger.warning(f'image rejected: {error}', throttle_duration_sec=THROTTLE_S)

    def _fail(self, error: Exception) -> None:
        """Count and log an unexpected error of a frame."""
        self.statistics.add_error(f'{type(error).__name__}: {error}', failed=1)
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
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
        if self._last_worker is not None:
            self._last_worker.process_waiting_image()
