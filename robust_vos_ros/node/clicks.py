"""Objects added by clicks in a viewer, without a service call."""

from __future__ import annotations

from typing import Any

import numpy as np
from geometry_msgs.msg import Point, PointStamped
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from robust_vos_ros.core.errors import StampInFutureError
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.node.camera_info import CameraInfos
from robust_vos_ros.node.serving import Serving
from robust_vos_ros.node.space_clicks import SpaceClicks


class Clicks:
    """Adds an object for each click on `clicked_point` or `<image>_mouse_left`.

    rqt_image_view publishes `<image>_mouse_left`, if enabled, without a stamp; it refers to the
    newest frame. `clicked_point` may be a pixel (z = 0 in the image's frame) of the image with its
    stamp, or a 3D point, as RViz publishes it, which `SpaceClicks` projects.
    """

    def __init__(
        self, node: Node, serving: Serving, cameras: CameraInfos, *, image_topic: str
    ) -> None:
        """Subscribe.

        Args:
            node: Gets the subscriptions.
            serving: Runs calls on the worker thread.
            cameras: Of the images.
            image_topic: Resolved name of the image topic.
        """
        self._node = node
        self._serving = serving
        self._space = SpaceClicks(node, serving.pipeline, cameras)
        group = ReentrantCallbackGroup()  # clicks await the tracker; images must not wait for them
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
        self._space.destroy()

    def forget_transforms(self) -> None:
        """Clear the transforms after a time jump."""
        self._space.clear()

    async def _on_point_stamped(self, msg: Any) -> None:
        await self._add(msg.point, msg.header)

    async def _on_point(self, point: Any) -> None:
        await self._add(point, Header())

    async def _add(self, point: Any, header: Header) -> None:
        serving = self._serving
        try:
            if self._is_pixel(point, header.frame_id):
                x, y, image = point.x, point.y, self._image_of(header)
            else:
                pixel = await self._space.find(point, header.frame_id)
                x, y, image = pixel.x, pixel.y, serving.message_at(pixel.header)
            name = await serving.call_from_topic(lambda: self._add_now(x, y, image))
        except Exception as error:  # an invalid click must not end the node
            serving.count_failure('click', error)
            return
        serving.pipeline.statistics.add(requests_served=1)
        self._node.get_logger().info(f'added {name} at ({x:g}, {y:g})')

    def _is_pixel(self, point: Any, frame_id: str) -> bool:
        """Whether a click is a pixel; otherwise it is a 3D point."""
        if point.z != 0:
            return False
        return not frame_id or frame_id == self._serving.frames.newest().header.frame_id

    def _image_of(self, header: Header) -> Any | None:
        """Return the image of a clicked pixel; None = the newest processed one.

        A stamp newer than all images is the time of the click, which some viewers send.
        """
        try:
            return self._serving.message_at(header)
        except StampInFutureError:
            return None

    def _add_now(self, x: float, y: float, image: Any | None) -> str:
        """Add an object under the next free name and return the name; runs on the worker thread.

        Args:
            x: Of the pixel, right; `y` down.
            image: The received image that was clicked; None = the newest processed one.
        """
        requests, pipeline = self._serving.requests, self._serving.pipeline
        result = pipeline.last_result
        taken = {item.object_id for item in result.objects} if result else set()
        prefix = pipeline.settings.click_object_prefix
        while (name := f'{prefix}_{self._number + 1}') in taken:
            self._number += 1
        with np.errstate(over='ignore'):  # too large for float32: inf, which is refused
            points = np.array([(x, y)], np.float32)
        requests.add([Prompt(name, points, np.ones(1, np.int32))], image, replace=False)
        self._number += 1
        return name
