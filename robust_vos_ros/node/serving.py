"""Run calls from services and topics on the worker thread while the node is active."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from robust_vos_ros.core.network.optimize import free_cached_memory
from robust_vos_ros.node.error_codes import error_name
from robust_vos_ros.node.pipeline import THROTTLE_S, Pipeline
from robust_vos_ros.node.received_images import ReceivedImages
from robust_vos_ros.node.requests import Requests
from robust_vos_ros.node.worker import NotActiveError, QueueFullError, RequestTimeoutError
from robust_vos_ros.ros_types.images import stamp_to_ns

# Maximum number of waiting calls from topics, so that a flood of clicks leaves room for services.
MAX_TOPIC_CALLS = 8


class Serving:
    """Runs calls on the worker thread; created for each activation.

    Attributes:
        pipeline: Has the lane of the worker, and counters.
        requests: The operations.
        frames: Received images for prompts with a past stamp.
    """

    def __init__(
        self, node: Node, pipeline: Pipeline, requests: Requests, frames: ReceivedImages
    ) -> None:
        self.pipeline = pipeline
        self.requests = requests
        self.frames = frames
        self._node = node
        self._num_topic_calls = 0
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)  # ROS time may stand still

    async def call(
        self,
        function: Callable[[], Any],
        *,
        object_ids: Collection[str] | None = (),
        urgent: bool = False,
        cancel_waiting: bool = False,
    ) -> Any:
        """Run a function on the worker thread and await its result.

        Args:
            function: What to run.
            object_ids: As in `Lane.submit`.
            urgent: As in `Lane.submit`.
            cancel_waiting: As in `Lane.submit`.

        Raises:
            NotActiveError, QueueFullError, RequestTimeoutError, CancelledError: The function did
                not run, or did not end in time.
            Exception: Of the function.
        """
        lane = self.pipeline.lane
        if lane is None:
            raise NotActiveError('the node was deactivated')
        request = lane.submit(
            function,
            self._node.executor,
            object_ids=object_ids,
            urgent=urgent,
            cancel_waiting=cancel_waiting,
        )
        timeout_s = self.pipeline.settings.prompt_timeout_s

        def give_up() -> None:
            lane.discard(request)
            request.settle(
                error=RequestTimeoutError(
                    f'no answer within {timeout_s:g} s; if it is being processed it may still '
                    'take effect. Check with list_objects, or raise prompt_timeout_s'
                )
            )

        # A new callback group per request: groups never remove their members.
        group = ReentrantCallbackGroup()
        timer = self._node.create_timer(
            timeout_s, give_up, callback_group=group, clock=self._steady
        )
        try:
            result, error = await request.future
        finally:
            self._node.destroy_timer(timer)
        if error is not None:
            raise error
        return result

    async def call_from_topic(
        self, function: Callable[[], Any], *, object_ids: Collection[str] = ()
    ) -> Any:
        """As `call`, for a message without a response; at most MAX_TOPIC_CALLS may wait.

        Raises:
            QueueFullError: Too many of these are waiting.
        """
        if self._num_topic_calls >= MAX_TOPIC_CALLS:
            raise QueueFullError(
                f'{MAX_TOPIC_CALLS} clicks and prompts of topics are already waiting; send them '
                'more slowly'
            )
        self._num_topic_calls += 1
        try:
            return await self.call(function, object_ids=object_ids)
        finally:
            self._num_topic_calls -= 1

    def message_at(self, header: Any) -> Any | None:
        """Return the received image that a request refers to; None = the newest frame.

        Raises:
            NoFrameError, StampTooOldError, StampInFutureError, StampUnknownError: There is no
                such image.
        """
        stamp_ns = stamp_to_ns(header.stamp)
        return self.frames.find(stamp_ns) if stamp_ns else None

    def count_failure(self, what: str, error: Exception) -> str:
        """Count and log a failed request; returns the sentence for the caller."""
        text, statistics = str(error), self.pipeline.statistics
        if error_name(error) == 'INTERNAL':
            text = f'unexpected {type(error).__name__}: {error}'
            if isinstance(error, torch.OutOfMemoryError):
                free_cached_memory()
            statistics.add_error(f'{what}: {text}', requests_failed=1)
            self._node.get_logger().error(f'{what}: {text}', throttle_duration_sec=THROTTLE_S)
        else:
            statistics.add(requests_failed=1)
            self._node.get_logger().info(
                f'{what} refused: {text}', throttle_duration_sec=THROTTLE_S
            )
        return text
