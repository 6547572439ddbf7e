"""The services of the node. Each call is converted, queued for the worker, and always answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from robust_vos.srv import AddObjects, Find, ListObjects, RefineObject, RemoveObjects, SegmentOnce
from std_srvs.srv import SetBool, Trigger

from robust_vos_ros.core.errors import CapacityError, PromptError
from robust_vos_ros.core.prompting.prompts import check_names
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.node import messages
from robust_vos_ros.node.conversions import to_prompt
from robust_vos_ros.node.error_codes import error_code, error_name
from robust_vos_ros.node.requests import Applied
from robust_vos_ros.node.serving import Serving
from robust_vos_ros.node.sub_node import SubNode
from robust_vos_ros.node.word_requests import describe_found, to_search
from robust_vos_ros.node.worker import NotActiveError

# With the default depth of 10, DDS silently drops requests of a burst, and their callers wait
# forever.
REQUEST_DEPTH = 1000


class Services:
    """All services of a camera. They exist as long as the node: a call always gets a response.

    The handlers are coroutines in a reentrant callback group: while one awaits the worker, the
    executor handles images and other requests. They never raise.

    Attributes:
        serving: Runs the calls; None while the node is not active.
    """

    def __init__(
        self,
        node: Node | SubNode,
        *,
        explain_inactive: Callable[[], str],
        set_enabled: Callable[[bool], None],
    ) -> None:
        """Create the services.

        Args:
            node: Gets the services; a SubNode for one of several cameras.
            explain_inactive: Returns why the node is not active and what to do.
            set_enabled: Enables and disables the processing of images.
        """
        self.serving: Serving | None = None
        self._node = node
        self._explain_inactive = explain_inactive
        self._set_enabled = set_enabled
        group = ReentrantCallbackGroup()
        table = (
            (AddObjects, '~/add_objects', self._add_objects),
            (RefineObject, '~/refine_object', self._refine_object),
            (RemoveObjects, '~/remove_objects', self._remove_objects),
            (ListObjects, '~/list_objects', self._list_objects),
            (SegmentOnce, '~/segment_once', self._segment_once),
            (Find, '~/find', self._find),
            (Trigger, '~/reset', self._reset),
            (SetBool, '~/set_enabled', self._enable),
        )
        for kind, name, handler in table:
            qos = QoSProfile(depth=REQUEST_DEPTH)
            node.create_service(kind, name, handler, qos_profile=qos, callback_group=group)

    async def _answer(
        self, name: str, response: Any, serve: Callable[[Serving], Awaitable[str]]
    ) -> Any:
        """Fill in success, error_code and message; `serve` fills in the other fields."""
        code, serving = 'OK', None
        try:
            serving = self._active()
            response.message = await serve(serving)
            serving.pipeline.statistics.add(requests_served=1)
        except Exception as error:  # an exception in a service would end the node
            code = error_name(error)
            response.message = serving.count_failure(name, error) if serving else str(error)
        response.success = code == 'OK'
        if hasattr(response, 'error_code'):
            response.error_code = error_code(code)
        elif not response.success:  # of std_srvs
            response.message = f'{code}: {response.message}'
        return response

    def _active(self) -> Serving:
        if self.serving is None:
            raise NotActiveError(self._explain_inactive())
        return self.serving

    async def _add_objects(self, request: Any, response: Any) -> Any:
        async def serve(serving: Serving) -> str:
            msgs, replace = request.prompts, request.replace_existing
            ids = [msg.object_id for msg in msgs]
            if _are_pictures(msgs, serving):
                applied = await serving.call(
                    lambda: serving.requests.look_for(msgs, replace=replace), object_ids=ids
                )
            else:
                prompts = _to_prompts(msgs, serving)
                image = serving.message_at(request.header)
                applied = await serving.call(
                    lambda: serving.requests.add(prompts, image, replace=replace), object_ids=ids
                )
            _fill(response, applied, ids)
            added = [item.object_id for item in response.objects]
            done = [f'added {", ".join(added)}'] if added else []
            return '; '.join([*done, *applied.result.warnings])

        return await self._answer('add_objects', response, serve)

    async def _refine_object(self, request: Any, response: Any) -> Any:
        async def serve(serving: Serving) -> str:
            prompt = to_prompt(request.prompt)
            msg = serving.message_at(request.header)
            applied = await serving.call(
                lambda: serving.requests.refine(prompt, msg), object_ids=[prompt.object_id]
            )
            response.applied_stamp = applied.header.stamp
            (response.object,) = _select(applied, [prompt.object_id])
            return '; '.join([f'refined {prompt.object_id}', *applied.result.warnings])

        return await self._answer('refine_object', response, serve)

    async def _remove_objects(self, request: Any, response: Any) -> Any:
        async def serve(serving: Serving) -> str:
            ids = list(request.object_ids)
            response.removed = await serving.call(
                lambda: serving.requests.remove(ids),
                object_ids=ids,
                urgent=True,
                cancel_waiting=not ids,
            )
            return f'removed {", ".join(response.removed) or "nothing"}'

        return await self._answer('remove_objects', response, serve)

    async def _list_objects(self, _request: Any, response: Any) -> Any:
        async def serve(serving: Serving) -> str:
            result = serving.pipeline.last_result
            if result is None:
                return 'no frame has been processed yet'
            response.header = messages.to_header(result)
            response.objects = [messages.to_object(item) for item in result.objects]
            return f'{len(result.objects)} objects'

        return await self._answer('list_objects', response, serve)

    async def _segment_once(self, request: Any, response: Any) -> Any:
        async def serve(serving: Serving) -> str:
            prompts = _to_prompts(request.prompts, serving)
            if request.image:
                msg = request.image[0]
            else:
                msg = serving.message_at(request.header) or serving.frames.newest()
            applied = await serving.call(
                lambda: serving.requests.segment_once(prompts, msg), object_ids=None
            )
            _fill(response, applied, [prompt.object_id for prompt in prompts])
            response.label_mask = messages.to_label_mask(applied.result, applied.header)
            return '; '.join([f'segmented {len(prompts)} objects', *applied.result.warnings])

        return await self._answer('segment_once', response, serve)

    async def _find(self, request: Any, response: Any) -> Any:
        async def serve(serving: Serving) -> str:
            asked = to_search(request)
            applied = await serving.call(lambda: serving.requests.find(asked))
            response.applied_stamp = applied.header.stamp
            found = applied.found
            response.object_ids = [sighting.object_id for sighting in found.sightings]
            response.confidences = [sighting.confidence for sighting in found.sightings]
            response.searching = found.lasts
            return describe_found(asked, found)

        return await self._answer('find', response, serve)

    async def _reset(self, _request: Any, response: Any) -> Any:
        async def serve(serving: Serving) -> str:
            await serving.call(serving.requests.reset, urgent=True, cancel_waiting=True)
            return 'all objects and frames removed'

        return await self._answer('reset', response, serve)

    async def _enable(self, request: Any, response: Any) -> Any:
        async def serve(_serving: Serving) -> str:
            self._set_enabled(request.data)  # immediate: does not queue behind waiting requests
            return (
                'processing images' if request.data else 'not processing images, tracks are kept'
            )

        return await self._answer('set_enabled', response, serve)


def _check_number(msgs: Any, serving: Serving) -> None:
    limit = serving.pipeline.settings.tracking.max_objects
    if not msgs:
        raise PromptError('expected at least one prompt, got none')
    if len(msgs) > limit:  # before conversion, which could take long
        raise CapacityError(f'{len(msgs)} prompts would exceed max_objects = {limit}; send fewer')


def _are_pictures(msgs: Any, serving: Serving) -> bool:
    """Whether the prompts are on reference pictures, not on an image of the stream."""
    _check_number(msgs, serving)
    with_picture = [msg for msg in msgs if msg.reference]
    if with_picture and len(with_picture) < len(msgs):
        raise PromptError(
            f'expected a reference picture with every prompt of a request or with none, got '
            f'{len(with_picture)} of {len(msgs)}; send two requests'
        )
    for msg in with_picture:
        check_names(msg.object_id, msg.class_id)
    return bool(with_picture)


def _to_prompts(msgs: Any, serving: Serving) -> list[Prompt]:
    _check_number(msgs, serving)
    return [to_prompt(msg) for msg in msgs]


def _select(applied: Applied, ids: list[str]) -> list[Any]:
    return [messages.to_object(item) for item in applied.result.objects if item.object_id in ids]


def _fill(response: Any, applied: Applied, ids: list[str]) -> None:
    response.applied_stamp = applied.header.stamp
    response.objects = _select(applied, ids)
