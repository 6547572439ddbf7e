"""The image subscription: checks images, keeps them for prompts, offers them to the worker."""

from __future__ import annotations

import time
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSHistoryPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image

from robust_vos_ros.core.errors import ImageError
from robust_vos_ros.node.pipeline import Pipeline, ReceivedImage
from robust_vos_ros.node.received_images import ReceivedImages
from robust_vos_ros.ros_types.discontinuities import is_time_jump
from robust_vos_ros.ros_types.images import check_image, stamp_to_ns

_DEPTH = 4  # images; the callback is quick, as it does not decode


class Receiver:
    """Receives images from construction to `destroy`; exists only while the node is active.

    rclpy does not stop the subscriptions of an inactive node, so they are destroyed.

    Attributes:
        frames: Received images for prompts with a past stamp.
    """

    def __init__(self, node: Node, pipeline: Pipeline) -> None:
        """Subscribe to `image` or `image/compressed`."""
        settings = pipeline.settings
        self.frames = ReceivedImages(
            max_age_s=settings.tracking.prompt_buffer_s,
            max_bytes=settings.input.prompt_buffer_mb * 1_000_000,
        )
        self._node = node
        self._pipeline = pipeline
        self._newest_ns: int | None = None
        kind, topic = (
            (Image, 'image')
            if settings.input.transport == 'raw'
            else (CompressedImage, 'image/compressed')
        )
        self._subscription = node.create_subscription(
            kind,
            topic,
            self._receive,
            QoSProfile(
                history=QoSHistoryPolicy.KEEP_LAST,
                # Only the newest image is tracked, but prompts may refer to any recent one: images
                # that arrive while this thread is busy must not be lost.
                depth=_DEPTH,
                reliability=QoSReliabilityPolicy[settings.input.reliability.upper()],
            ),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    @property
    def topic(self) -> str:
        """Resolved name of the topic."""
        return str(self._subscription.topic_name)

    def destroy(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)

    def _receive(self, msg: Any) -> None:
        received_ns = time.monotonic_ns()
        pipeline, settings = self._pipeline, self._pipeline.settings
        pipeline.statistics.add_received(received_ns)
        if not settings.enabled or pipeline.lane is None:
            pipeline.statistics.add(ignored=1)
            return
        try:
            check_image(msg)
        except ImageError as error:
            pipeline.reject(error)
            return
        stamp_ns = stamp_to_ns(msg.header.stamp)
        if self._newest_ns is not None and is_time_jump(
            self._newest_ns, stamp_ns, settings.time_jump_tolerance_s
        ):
            self.frames.clear()  # after a time jump, stamps would be ambiguous
        self._newest_ns = stamp_ns
        self.frames.append(msg)
        pipeline.offer(ReceivedImage(msg, received_ns))
