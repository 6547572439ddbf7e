"""The publishers of the node, in order of importance and cost.

What a planner uses is published at once, by the worker thread. Pictures for people and recorders
follow from a thread of their own (`pictures.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from robust_vos.msg import TrackedObjectArray
from robust_vos.msg import TrackEvent as TrackEventMsg
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from robust_vos_ros.core.types import TrackEvent, TrackResult
from robust_vos_ros.node import class_ids, messages
from robust_vos_ros.node.camera_info import CameraInfos, with_header
from robust_vos_ros.node.class_ids import ClassIds
from robust_vos_ros.node.pictures import Picture, PictureThread
from robust_vos_ros.node.settings import ClassInfoSettings, PublishSettings
from robust_vos_ros.ros_types.annotations import label_names, make_annotations, make_label_info

BOXES_TOPIC, OLD_BOXES_TOPIC = '~/tracked_boxes', '~/detections'
# Small messages that a recorder must not miss: the queue holds about a second of them.
_DEPTH = 30


class Publishers:
    """Publishes results; used by the worker thread, except for `start` and `stop`."""

    def __init__(self, node: LifecycleNode, classes: ClassIds, cameras: CameraInfos) -> None:
        """Create the publishers; they are reliable, which matches every subscriber.

        Args:
            node: Gets the publishers.
            classes: Pixel values of the class mask.
            cameras: Of the images.
        """
        self._node = node
        self._classes = classes
        self._cameras = cameras
        self._all: list[Any] = []
        self._pictures: PictureThread | None = None
        # The last published LabelInfo of label mask and class mask.
        self._names: dict[int, str] | None = None
        self._class_names: dict[int, str] | None = None
        try:
            self._create_all()
        except Exception:  # an invalid QoS override
            self.destroy()
            raise

    def _create_all(self) -> None:
        create = self._create
        self._objects = create(TrackedObjectArray, '~/objects', _DEPTH)
        self._events = create(TrackEventMsg, '~/events', 50)
        self._label_mask = create(Image, '~/label_mask', 2)
        self._label_png = create(CompressedImage, '~/label_mask/compressed', _DEPTH)
        self._class_mask = create(Image, '~/class_mask', 2)
        self._class_png = create(CompressedImage, '~/class_mask/compressed', _DEPTH)
        self._camera_info = create(CameraInfo, '~/camera_info', _DEPTH)
        self._confidence_mask = create(Image, '~/confidence_mask', 2)
        self._overlay = create(Image, '~/overlay', 2)
        self._boxes = self._old_boxes = self._annotations = None
        self._label_info = self._class_info = None
        if messages.Detection2DArray is not None:
            self._boxes = create(messages.Detection2DArray, BOXES_TOPIC, 10)
            self._old_boxes = create(messages.Detection2DArray, OLD_BOXES_TOPIC, 10)
            self._label_info = create(messages.LabelInfo, '~/label_info', 1, latched=True)
            self._class_info = create(messages.LabelInfo, '~/class_info', 1, latched=True)
        if messages.ImageAnnotations is not None:
            self._annotations = create(messages.ImageAnnotations, '~/annotations', 10)

    def _create(self, kind: Any, topic: str, depth: int, *, latched: bool = False) -> Any:
        qos = QoSProfile(depth=depth)
        if latched:  # late subscribers get the last message
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        publisher = self._node.create_lifecycle_publisher(
            kind,
            topic,
            qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._all.append(publisher)
        return publisher

    def start(self, on_error: Callable[[Exception], None]) -> None:
        """Start to publish pictures.

        Args:
            on_error: Called with exceptions of pictures, on the thread of the pictures.
        """
        self._pictures = PictureThread(on_error)

    def stop(self) -> bool:
        """Stop to publish pictures and drop those that wait; returns False if it takes long."""
        return self._pictures is None or self._pictures.close()

    @property
    def num_dropped(self) -> int:
        """Number of pictures since `start` that were left out to keep pace."""
        return 0 if self._pictures is None else self._pictures.num_dropped

    def destroy(self) -> None:
        """Destroy the publishers."""
        self.stop()
        for publisher in self._all:
            self._node.destroy_lifecycle_publisher(publisher)
        self._all.clear()

    def publish_events(self, events: Iterable[TrackEvent], header: Header) -> None:
        """Publish one message per event."""
        for msg in messages.to_events(events, header):
            self._events.publish(msg)

    def publish_result(
        self,
        result: TrackResult,
        header: Header,
        rgb: np.ndarray,
        settings: PublishSettings,
        class_settings: ClassInfoSettings,
        *,
        received_ns: int,
        frames_dropped: int,
    ) -> int:
        """Publish a result: objects and events always, images if enabled and subscribed to.

        Pictures follow from another thread.

        Args:
            result: Of the engine.
            header: Of the source image, for every message.
            rgb: (H, W, 3) uint8, the source image.
            settings: Which topics to publish.
            class_settings: Names of the values of the class mask.
            received_ns: time.monotonic_ns() when the image arrived.
            frames_dropped: Since activation.

        Returns:
            The latency of the objects message in nanoseconds.
        """
        latency_ns = time.monotonic_ns() - received_ns
        self._objects.publish(
            messages.to_object_array(
                result,
                header,
                latency_ns=latency_ns,
                engine_ns=result.engine_ns,
                frames_dropped=frames_dropped,
                rle=settings.rle,
            )
        )
        self.publish_events(result.events, header)
        self._classes.observe(result.objects)
        self._publish_names(result, header, class_settings)
        self._publish_now(result, header, settings)
        if self._pictures is not None:
            self._pictures.offer(self._pictures_of(result, header, rgb, settings))
        return latency_ns

    def _publish_names(
        self, result: TrackResult, header: Header, settings: ClassInfoSettings
    ) -> None:
        """Publish the meaning of labels and classes, if it has changed."""
        if self._label_info is None or self._class_info is None:
            return
        names = label_names(result.objects)
        if names != self._names:
            self._names = names
            self._label_info.publish(make_label_info(messages.MARK_CLASSES, names, header))
        names = self._classes.names
        if settings.background_name:
            names[class_ids.BACKGROUND] = settings.background_name
        if settings.unknown_name:
            names[settings.unknown_value] = settings.unknown_name
        if names != self._class_names:
            self._class_names = names
            self._class_info.publish(make_label_info(messages.MARK_CLASSES, names, header))

    def _publish_now(self, result: TrackResult, header: Header, settings: PublishSettings) -> None:
        """Publish what a planner uses, if enabled and subscribed to, cheap messages first."""
        camera = self._cameras.find(result.label_mask.shape)
        extras: tuple[tuple[bool, Any, Callable[[], Any]], ...] = (
            (
                settings.tracked_boxes,
                self._boxes,
                lambda: messages.to_tracked_boxes(result, header),
            ),
            (
                settings.tracked_boxes,
                self._old_boxes,
                lambda: self._make_deprecated_boxes(result, header),
            ),
            (
                settings.camera_info and camera is not None,
                self._camera_info,
                lambda: with_header(camera, header),
            ),
            (
                settings.label_mask,
                self._label_mask,
                lambda: messages.to_label_mask(result, header),
            ),
            (
                settings.class_mask,
                self._class_mask,
                lambda: messages.to_image(self._classes.draw(result), 'mono8', header),
            ),
            (
                settings.confidence_mask,
                self._confidence_mask,
                lambda: messages.to_confidence_mask(result, header),
            ),
        )
        for enabled, publisher, make in extras:
            if enabled and _is_wanted(publisher):
                publisher.publish(make())

    def _pictures_of(
        self, result: TrackResult, header: Header, rgb: np.ndarray, settings: PublishSettings
    ) -> list[Picture]:
        """Return the costly messages, as far as enabled and subscribed to."""
        level = settings.png_level
        pictures = (
            (
                settings.label_mask_compressed,
                Picture(
                    self._label_png,
                    lambda: messages.to_label_png(result, header, level=level),
                    for_viewers=False,
                ),
            ),
            (
                settings.class_mask_compressed,
                Picture(
                    self._class_png,
                    lambda: messages.to_png(self._classes.draw(result), header, level=level),
                    for_viewers=False,
                ),
            ),
            (
                settings.annotations,
                Picture(
                    self._annotations,
                    lambda: make_annotations(
                        messages.MARK_CLASSES, result.objects, result.label_mask, header
                    ),
                    for_viewers=True,
                ),
            ),
            (
                settings.overlay,
                Picture(
                    self._overlay,
                    lambda: messages.to_overlay(result, rgb, header),
                    for_viewers=True,
                ),
            ),
        )
        return [
            picture for enabled, picture in pictures if enabled and _is_wanted(picture.publisher)
        ]

    def _make_deprecated_boxes(self, result: TrackResult, header: Header) -> Any:
        """Return the boxes for subscribers of the deprecated topic; logs a warning once."""
        self._node.get_logger().warning(
            f'{OLD_BOXES_TOPIC} is deprecated and will go with the next release: subscribe to '
            f'{BOXES_TOPIC}',
            once=True,
        )
        return messages.to_tracked_boxes(result, header)


def _is_wanted(publisher: Any) -> bool:
    """Whether a publisher exists and has subscribers."""
    return publisher is not None and publisher.get_subscription_count() > 0
