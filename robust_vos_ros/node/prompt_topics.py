"""Topics for prompts and detector boxes, which have no response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.serialization import deserialize_message
from robust_vos.msg import ObjectPromptStamped

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.types import UNSEEN_STATES
from robust_vos_ros.node import messages
from robust_vos_ros.node.conversions import to_prompt
from robust_vos_ros.node.detector import Detector
from robust_vos_ros.node.serving import Serving

DETECTOR_TOPIC, OLD_DETECTOR_TOPIC = '~/detector_boxes', '~/detector'
# Maximum bytes per box. A box with one hypothesis has about 440, which rclpy deserializes in up to
# a millisecond.
BYTES_PER_BOX = 1000


class PromptTopics:
    """`~/prompts` adds and re-initializes objects; `~/detector_boxes` may also correct them.

    `~/detector_boxes` (vision_msgs/Detection2DArray) exists if vision_msgs is installed; its
    arrays go to the `Detector`. An array is skipped while the previous one is being applied, and
    in mode restart while all objects are visible.
    """

    def __init__(self, node: Node, serving: Serving, detector: Detector) -> None:
        """Subscribe.

        Args:
            node: Gets the subscriptions.
            serving: Runs calls on the worker thread.
            detector: Applies the boxes on that thread.
        """
        self._node = node
        self._serving = serving
        self._detector = detector
        self._busy = False
        self._warned = False
        group = ReentrantCallbackGroup()  # prompts await the tracker; images must not
        topics = [(ObjectPromptStamped, '~/prompts', self._on_prompt, QoSProfile(depth=10))]
        if messages.Detection2DArray is not None:
            kind = messages.Detection2DArray
            qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
            topics.append((kind, DETECTOR_TOPIC, self._on_bytes, qos))
            topics.append((kind, OLD_DETECTOR_TOPIC, self._on_deprecated_topic, qos))
        self._subscriptions = [
            # As bytes, because deserialization is slow and not needed for skipped arrays.
            node.create_subscription(
                kind, topic, callback, qos, callback_group=group,
                raw=kind is messages.Detection2DArray,
            )
            for kind, topic, callback, qos in topics
        ]  # fmt: skip

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    async def on_detections(self, read: Callable[[], Any]) -> None:
        """Apply the boxes of an array to the objects.

        Args:
            read: Returns the array; called only if needed.
        """
        serving, pipeline = self._serving, self._serving.pipeline
        statistics, settings = pipeline.statistics.detector, pipeline.settings
        statistics.add(received=1)
        if self._busy or not settings.enabled:
            statistics.add(left_out=1)
            return
        if settings.detector.mode == 'restart' and not self._is_any_unseen():
            statistics.add(not_needed=1)
            return
        self._busy = True
        try:
            array = read()
            image = serving.message_at(array.header)
            await serving.call(lambda: self._detector.apply(array, image))
        except Exception as error:  # an invalid detection must not end the node
            statistics.add(failed=1)
            statistics.note_problem(serving.count_failure('detections', error))
        finally:
            self._busy = False

    async def _on_bytes(self, data: bytes) -> None:
        await self.on_detections(lambda: self._read(data))

    def _read(self, data: bytes) -> Any:
        limit = self._serving.pipeline.settings.detector.max_boxes * BYTES_PER_BOX
        if len(data) > limit:
            raise PromptError(
                f'expected an array of at most {limit} bytes, got {len(data)}; let the detector '
                'send fewer boxes, or raise detector.max_boxes'
            )
        return deserialize_message(data, messages.Detection2DArray)

    async def _on_deprecated_topic(self, data: bytes) -> None:
        if not self._warned:
            self._warned = True
            self._node.get_logger().warning(
                f'{OLD_DETECTOR_TOPIC} is deprecated and will go with the next release: publish '
                f'on {DETECTOR_TOPIC}'
            )
        await self._on_bytes(data)

    async def _on_prompt(self, msg: Any) -> None:
        serving = self._serving
        try:
            prompt = to_prompt(msg.prompt)
            image = serving.message_at(msg.header)
            await serving.call_from_topic(
                lambda: serving.requests.point(prompt, image), object_ids=[prompt.object_id]
            )
        except Exception as error:
            serving.count_failure('prompt', error)
            return
        serving.pipeline.statistics.add(requests_served=1)

    def _is_any_unseen(self) -> bool:
        result = self._serving.pipeline.last_result
        return result is not None and any(x.state in UNSEEN_STATES for x in result.objects)
