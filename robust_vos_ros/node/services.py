"""The services: convert, hand to the worker, await its answer; always answer, never raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from robust_vos.msg import ErrorCode
from robust_vos.srv import AddObjects, ListObjects, RefineObject, RemoveObjects, SegmentOnce
from std_srvs.srv import SetBool, Trigger

from robust_vos_ros.core import errors
from robust_vos_ros.core.images import stamp_to_ns
from robust_vos_ros.node import messages
from robust_vos_ros.node.conversions import to_prompt
from robust_vos_ros.node.frame_buffer import FrameBuffer
from robust_vos_ros.node.pipeline import THROTTLE_S, Pipeline
from robust_vos_ros.node.requests import Applied, Requests
from robust_vos_ros.node.worker import NotActiveError, QueueFullError, RequestTimeoutError

# With the usual 10, DDS silently drops requests of a burst, and their callers wait for ever.
REQUEST_DEPTH = 1000
# The first match counts, so subclasses come before their base.
ERROR_CODES: tuple[tuple[type[Exception], int], ...] = (
    (errors.NoFrameError, ErrorCode.NO_IMAGE),
    (errors.StampTooOldError, ErrorCode.STAMP_TOO_OLD),
    (errors.StampInFutureError, ErrorCode.STAMP_IN_FUTURE),
    (errors.DuplicateIdError, ErrorCode.DUPLICATE_ID),
    (errors.UnknownIdError, ErrorCode.UNKNOWN_ID),
    (errors.CapacityError, ErrorCode.CAPACITY),
    (errors.PromptError, ErrorCode.BAD_PROMPT),
    (errors.ImageError, ErrorCode.BAD_PROMPT),
    (QueueFullError, ErrorCode.QUEUE_FULL),
    (NotActiveError, ErrorCode.NOT_ACTIVE),
    (RequestTimeoutError, ErrorCode.TIMEOUT),
)


def error_code(error: Exception) -> int:
    """Return the ErrorCode of an exception; INTERNAL for the unexpected."""
    for kind, code in ERROR_CODES:
        if isinstance(error, kind):
            return code
    return ErrorCode.INTERNAL


class Services:
    """All services of the node, from configure to clean-up.

    The handlers are coroutines in a re-entrant group: while one awaits the worker, the executor
    goes on with images and other requests.
    """

    def __init__(
        self,
        node: Node,
        pipeline: Pipeline,
        requests: Requests,
        *,
        timeout_s: Callable[[], float],
        set_enabled: Callable[[bool], None],
    ) -> None:
        """Create the services.

        Args:
            node: Gets the services.
            pipeline: Has the worker, and counts.
            requests: What they ask for.
            timeout_s: Returns how long a request may take.
            set_enabled: Switches the processing of images on and off.
        """
        self.frames: FrameBuffer | None = None
        self._node = node
        self._pipeline = pipeline
        self._requests = requests
        self._timeout_s = timeout_s
        self._set_enabled = set_enabled
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)  # runs while ROS time stands still
        group = ReentrantCallbackGroup()
        table = (
            (AddObjects, '~/add_objects', self._add_objects),
            (RefineObject, '~/refine_object', self._refine_object),
            (RemoveObjects, '~/remove_objects', self._remove_objects),
            (ListObjects, '~/list_objects', self._list_objects),
            (SegmentOnce, '~/segment_once', self._segment_once),
            (Trigger, '~/reset', self._reset),
            (SetBool, '~/set_enabled', self._enable),
        )
        self._services = [
            node.create_service(
                kind,
                name,
                handler,
                qos_profile=QoSProfile(depth=REQUEST_DEPTH),
                callback_group=group,
            )
            for kind, name, handler in table
        ]

    def destroy(self) -> None:
        """Destroy the services."""
        for service in self._services:
            self._node.destroy_service(service)

    async def call(self, function: Callable[[], Any]) -> Any:
        """Run a function on the worker thread and await its result.

        Raises:
            NotActiveError, QueueFullError, RequestTimeoutError: It did not get its turn.
            Exception: Whatever the function raises.
        """
        worker = self._pipeline.worker
        if worker is None:
            raise NotActiveError('the node is not active; activate it first (ros2 lifecycle set)')
        request = worker.submit(function, self._node.executor)
        timeout_s = self._timeout_s()

        def give_up() -> None:
            request.settle(
                error=RequestTimeoutError(
                    f'no answer within {timeout_s:g} s; if it is being worked on it may still '
                    'take effect. Look with list_objects, or raise prompt_timeout_s'
                )
            )

        # A group of its own: groups never forget their members, and requests are many.
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

    def count_failure(self, what: str, error: Exception) -> str:
        """Count and log a failed request; return the sentence for the caller."""
        text = str(error)
        if error_code(error) == ErrorCode.INTERNAL:
            text = f'unexpected {type(error).__name__}: {error}'
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            self._pipeline.statistics.add_error(f'{what}: {text}', requests_failed=1)
            self._node.get_logger().error(f'{what}: {text}', throttle_duration_sec=THROTTLE_S)
        else:
            self._pipeline.statistics.add(requests_failed=1)
            self._node.get_logger().info(
                f'{what} refused: {text}', throttle_duration_sec=THROTTLE_S
            )
        return text

    async def _answer(self, name: str, response: Any, serve: Callable[[], Any]) -> Any:
        """Fill in success, error_code and message; `serve` fills in the rest."""
        try:
            response.message = await serve() or ''
        except Exception as error:  # a service that raises would take the node down
            response.success = False
            response.message = self.count_failure(name, error)
            code = error_code(error)
        else:
            response.success = True
            code = ErrorCode.OK
            self._pipeline.statistics.add(requests_served=1)
        if hasattr(response, 'error_code'):  # std_srvs have none
            response.error_code = code
        return response

    def message_at(self, header: Any) -> Any | None:
        """Return the received image a request refers to; None = the newest frame.

        Raises:
            NotActiveError: Nothing is received.
            NoFrameError, StampTooOldError, StampInFutureError: There is no such image.
        """
        stamp_ns = stamp_to_ns(header.stamp)
        if stamp_ns == 0:
            return None
        return self._active_frames().find(stamp_ns)

    def _active_frames(self) -> FrameBuffer:
        if self.frames is None:
            raise NotActiveError('the node is not active; activate it first (ros2 lifecycle set)')
        return self.frames

    async def _add_objects(self, request: Any, response: Any) -> Any:
        async def serve() -> str:
            prompts = _to_prompts(request.prompts)
            msg = self.message_at(request.header)
            applied = await self.call(
                lambda: self._requests.add(prompts, msg, replace=request.replace_existing)
            )
            ids = [prompt.object_id for prompt in prompts]
            _fill(response, applied, ids)
            return '; '.join([f'added {", ".join(ids)}', *applied.result.warnings])

        return await self._answer('add_objects', response, serve)

    async def _refine_object(self, request: Any, response: Any) -> Any:
        async def serve() -> str:
            prompt = to_prompt(request.prompt)
            msg = self.message_at(request.header)
            applied = await self.call(lambda: self._requests.refine(prompt, msg))
            response.applied_stamp = applied.header.stamp
            (response.object,) = _select(applied, [prompt.object_id])
            return '; '.join([f'refined {prompt.object_id}', *applied.result.warnings])

        return await self._answer('refine_object', response, serve)

    async def _remove_objects(self, request: Any, response: Any) -> Any:
        async def serve() -> str:
            ids = list(request.object_ids)
            response.removed = await self.call(lambda: self._requests.remove(ids))
            return f'removed {", ".join(response.removed) or "nothing"}'

        return await self._answer('remove_objects', response, serve)

    async def _list_objects(self, _request: Any, response: Any) -> Any:
        async def serve() -> str:
            if self._pipeline.worker is None:
                raise NotActiveError(
                    'the node is not active; activate it first (ros2 lifecycle set)'
                )
            result = self._pipeline.last_result
            if result is None:
                return 'no frame has been processed yet'
            response.header = messages.to_header(result)
            response.objects = [messages.to_object(item) for item in result.objects]
            return f'{len(result.objects)} objects'

        return await self._answer('list_objects', response, serve)

    async def _segment_once(self, request: Any, response: Any) -> Any:
        async def serve() -> str:
            prompts = _to_prompts(request.prompts)
            if request.image:
                msg = request.image[0]
            else:
                msg = self.message_at(request.header) or self._active_frames().newest()
            applied = await self.call(lambda: self._requests.segment_once(prompts, msg))
            _fill(response, applied, [prompt.object_id for prompt in prompts])
            response.label_mask = messages.to_label_mask(applied.result, applied.header)
            return '; '.join([f'segmented {len(prompts)} objects', *applied.result.warnings])

        return await self._answer('segment_once', response, serve)

    async def _reset(self, _request: Any, response: Any) -> Any:
        async def serve() -> str:
            await self.call(self._requests.reset)
            return 'all objects and frames forgotten'

        return await self._answer('reset', response, serve)

    async def _enable(self, request: Any, response: Any) -> Any:
        async def serve() -> str:
            self._set_enabled(request.data)
            return (
                'processing images' if request.data else 'not processing images, tracks are kept'
            )

        return await self._answer('set_enabled', response, serve)


def _to_prompts(msgs: Any) -> list[Any]:
    if not msgs:
        raise errors.PromptError('expected at least one prompt, got none')
    return [to_prompt(msg) for msg in msgs]


def _select(applied: Applied, ids: list[str]) -> list[Any]:
    return [messages.to_object(item) for item in applied.result.objects if item.object_id in ids]


def _fill(response: Any, applied: Applied, ids: list[str]) -> None:
    response.applied_stamp = applied.header.stamp
    response.objects = _select(applied, ids)
