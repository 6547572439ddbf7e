"""Prompts and detections that come as topics: nobody waits for an answer."""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from robust_vos.msg import ObjectPrompt

from robust_vos_ros.core.types import UNSEEN_STATES
from robust_vos_ros.node import messages
from robust_vos_ros.node.conversions import to_prompt
from robust_vos_ros.node.detections import to_boxes
from robust_vos_ros.node.serving import Serving


class PromptTopics:
    """`~/prompts` adds objects and starts those out of sight again; `~/detector` does the latter.

    `~/detector` (vision_msgs/Detection2DArray) exists where vision_msgs is installed. A message
    is left out while the one before is worked on, and while all objects are in view.
    """

    def __init__(self, node: Node, serving: Serving) -> None:
        """Subscribe.

        Args:
            node: Gets the subscriptions.
            serving: Applies the prompts on the worker thread.
        """
        self._node = node
        self._serving = serving
        self._busy = False
        group = ReentrantCallbackGroup()  # a prompt waits for the tracker, images go on meanwhile
        topics = [(ObjectPrompt, '~/prompts', self._on_prompt, QoSProfile(depth=10))]
        if messages.Detection2DArray is not None:
            qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
            topics.append((messages.Detection2DArray, '~/detector', self.on_detections, qos))
        self._subscriptions = [
            node.create_subscription(kind, topic, callback, qos, callback_group=group)
            for kind, topic, callback, qos in topics
        ]

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    async def on_detections(self, msg: Any) -> None:
        """Start objects out of sight again where a detector sees them."""
        if self._busy or not self._is_something_unseen():
            return
        self._busy = True
        serving = self._serving
        try:
            boxes = to_boxes(msg)
            image = serving.message_at(msg.header)
            await serving.call(lambda: serving.requests.detect(boxes, image))
        except Exception as error:  # a wrong detection must not take the node down
            serving.count_failure('detections', error)
        finally:
            self._busy = False

    async def _on_prompt(self, msg: Any) -> None:
        serving = self._serving
        try:
            prompt = to_prompt(msg)
            await serving.call_from_topic(
                lambda: serving.requests.point(prompt), object_ids=[prompt.object_id]
            )
        except Exception as error:
            serving.count_failure('prompt', error)
            return
        serving.pipeline.statistics.add(requests_served=1)

    def _is_something_unseen(self) -> bool:
        result = self._serving.pipeline.last_result
        return result is not None and any(x.state in UNSEEN_STATES for x in result.objects)
