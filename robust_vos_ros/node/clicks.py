"""Objects added by clicking in a viewer: no service call needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point, PointStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from robust_vos_ros.core.types import Prompt
from robust_vos_ros.node.pipeline import Pipeline
from robust_vos_ros.node.requests import Requests
from robust_vos_ros.node.services import Services


class Clicks:
    """Every click on `clicked_point` or `<image>_mouse_left` adds an object on the newest frame.

    `<image>_mouse_left` is what rqt_image_view publishes when its mouse button is switched on.
    """

    def __init__(
        self,
        node: Node,
        pipeline: Pipeline,
        requests: Requests,
        services: Services,
        *,
        image_topic: str,
    ) -> None:
        """Subscribe.

        Args:
            node: Gets the subscriptions.
            pipeline: Knows the objects, and counts.
            requests: Adds them.
            services: Runs the request on the worker thread.
            image_topic: Resolved name of the image topic.
        """
        self._node = node
        self._pipeline = pipeline
        self._requests = requests
        self._services = services
        group = ReentrantCallbackGroup()  # a click waits for the tracker, images go on meanwhile
        self._subscriptions = [
            node.create_subscription(
                kind, topic, callback, QoSProfile(depth=10), callback_group=group
            )
            for kind, topic, callback in (
                (PointStamped, 'clicked_point', self._on_point_stamped),
                (Point, f'{image_topic}_mouse_left', self._on_point),
            )
        ]
        self._number = 0

    def destroy(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    async def _on_point_stamped(self, msg: Any) -> None:
        await self._on_point(msg.point)

    async def _on_point(self, point: Any) -> None:
        try:
            name = await self._services.call(lambda: self._add(point.x, point.y))
        except Exception as error:  # a click outside the image must not take the node down
            self._services.count_failure('click', error)
            return
        self._pipeline.statistics.add(requests_served=1)
        self._node.get_logger().info(f'added {name} at ({point.x:g}, {point.y:g})')

    def _add(self, x: float, y: float) -> str:
        """Add an object under the next free name, which is returned; runs on the worker."""
        result = self._pipeline.last_result
        taken = {item.object_id for item in result.objects} if result else set()
        prefix = self._pipeline.settings.click_object_prefix
        while (name := f'{prefix}_{self._number + 1}') in taken:
            self._number += 1
        points = np.array([(x, y)], np.float32)
        self._requests.add([Prompt(name, points, np.ones(1, np.int32))], None, replace=False)
        self._number += 1
        return name
