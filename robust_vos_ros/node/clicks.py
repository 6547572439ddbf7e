"""Objects added by clicking in a viewer: no service call needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point, PointStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.node.serving import Serving


class Clicks:
    """Every click on `clicked_point` or `<image>_mouse_left` adds an object on the newest frame.

    `<image>_mouse_left` is what rqt_image_view publishes when its mouse button is switched on.
    `clicked_point` takes pixels as well; points in space, as RViz publishes them, are refused.
    """

    def __init__(self, node: Node, serving: Serving, *, image_topic: str) -> None:
        """Subscribe.

        Args:
            node: Gets the subscriptions.
            serving: Adds the objects on the worker thread.
            image_topic: Resolved name of the image topic.
        """
        self._node = node
        self._serving = serving
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
        await self._add(msg.point, msg.header.frame_id)

    async def _on_point(self, point: Any) -> None:
        await self._add(point, '')

    async def _add(self, point: Any, frame_id: str) -> None:
        try:
            name = await self._serving.call_from_topic(lambda: self._add_now(point, frame_id))
        except Exception as error:  # a click outside the image must not take the node down
            self._serving.count_failure('click', error)
            return
        self._serving.pipeline.statistics.add(requests_served=1)
        self._node.get_logger().info(f'added {name} at ({point.x:g}, {point.y:g})')

    def _add_now(self, point: Any, frame_id: str) -> str:
        """Add an object under the next free name, which is returned; runs on the worker.

        Args:
            point: The click.
            frame_id: Its coordinate frame; empty = the image's.
        """
        requests, pipeline = self._serving.requests, self._serving.pipeline
        _, header = requests.frame_of(None)
        if (frame_id or header.frame_id) != header.frame_id or point.z != 0:
            raise PromptError(
                f'expected a pixel of the image, which is in frame {header.frame_id!r}, got '
                f'({point.x:g}, {point.y:g}, {point.z:g}) in {frame_id!r}: a point in space is no '
                'pixel. Click in a viewer of images, such as rqt_image_view'
            )
        result = pipeline.last_result
        taken = {item.object_id for item in result.objects} if result else set()
        prefix = pipeline.settings.click_object_prefix
        while (name := f'{prefix}_{self._number + 1}') in taken:
            self._number += 1
        points = np.array([(point.x, point.y)], np.float32)
        requests.add([Prompt(name, points, np.ones(1, np.int32))], None, replace=False)
        self._number += 1
        return name
