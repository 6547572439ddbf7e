"""Project clicks in a 3D view, such as RViz, to pixels of an image."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

from robust_vos_ros.core.errors import NoFrameError, PromptError
from robust_vos_ros.node import transforms
from robust_vos_ros.node.camera_info import CameraInfos
from robust_vos_ros.node.pipeline import Pipeline
from robust_vos_ros.node.projection import image_size, project
from robust_vos_ros.node.transforms import TransformError, Transforms
from robust_vos_ros.ros_types.images import stamp_to_ns
from robust_vos_ros.spatial.rigid import IDENTITY, Rigid

# The first click subscribes to TF; its transforms and camera_info may take a while to arrive.
START_S = 3.0
# The transform of a moving camera may arrive after the image.
TRANSFORM_S = 1.0
POLL_S = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class Pixel:
    """The pixel of a 3D point in an image.

    Attributes:
        header: Of the image.
        x: In pixels, to the right; `y` down.
    """

    header: Any
    x: float
    y: float


class SpaceClicks:
    """Projects 3D points into the newest processed image.

    Subscribes to TF at the first such click: /tf is costly, and most users click in images.
    """

    def __init__(
        self,
        node: Node,
        pipeline: Pipeline,
        cameras: CameraInfos,
        *,
        listen: Callable[[Node], Transforms | None] = transforms.listen,
    ) -> None:
        """Create it without a subscription to TF.

        Args:
            node: Gets the subscriptions.
            pipeline: Provides the newest image.
            cameras: Of the images.
            listen: Subscribes to TF; returns None without tf2_ros.
        """
        self._node = node
        self._pipeline = pipeline
        self._cameras = cameras
        self._listen = listen
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._transforms: Transforms | None = None
        self._busy = False

    def destroy(self) -> None:
        """Destroy the subscription to TF."""
        if self._transforms is not None:
            self._transforms.destroy()

    def clear(self) -> None:
        """Clear the transforms after a time jump."""
        if self._transforms is not None:
            self._transforms.clear()

    async def find(self, point: Any, frame_id: str) -> Pixel:
        """Return the pixel of a point in the newest processed image.

        Args:
            point: geometry_msgs/Point, metres.
            frame_id: Its frame.

        Raises:
            NoFrameError: No image has been processed yet.
            PromptError: There is no camera_info or transform, the point is not in the image, or
                another point is still being projected.
        """
        if self._busy:
            raise PromptError('another point in space is still being looked for; click again')
        self._busy = True
        try:
            return await self._find(point, frame_id)
        finally:
            self._busy = False

    async def _find(self, point: Any, frame_id: str) -> Pixel:
        self._start(frame_id)
        if not await self._becomes_true(START_S, lambda: self._cameras.received is not None):
            raise PromptError(
                f'a point in space needs the calibration of the camera, and nothing came on '
                f'{self._cameras.topic} within {START_S:g} s. Publish it, or click in a viewer '
                'of images'
            )
        await self._becomes_true(START_S, lambda: self._is_known(frame_id, 0))
        header = self._newest_header()
        stamp_ns = stamp_to_ns(header.stamp)
        await self._becomes_true(TRANSFORM_S, lambda: self._is_known(frame_id, stamp_ns))
        try:
            rigid = self._rigid(frame_id, stamp_ns)
        except TransformError as error:
            raise PromptError(
                f'the point is in frame {frame_id!r}, and TF does not connect it to the frame '
                f'{self._info.header.frame_id!r} of the camera at the time of the image: {error}'
            ) from error
        self._check_size()
        in_camera = rigid.move(np.array([point.x, point.y, point.z]))
        x, y = project(in_camera, self._info, rectified=self._pipeline.settings.input.rectified)
        return Pixel(header, x, y)

    def _start(self, frame_id: str) -> None:
        """Subscribe to TF, if not done yet."""
        if self._transforms is None:
            self._transforms = self._listen(self._node)
        if self._transforms is None:  # otherwise the user would wait for camera_info first
            camera = self._newest_header().frame_id
            if frame_id != camera:
                raise PromptError(_without_tf(frame_id, camera))

    @property
    def _info(self) -> Any:
        """The newest camera_info; valid only after one has arrived."""
        return self._cameras.received

    def _newest_header(self) -> Any:
        newest = self._pipeline.newest
        if newest is None:
            raise NoFrameError('no image has been processed since activation; check the topic')
        return newest.header

    def _rigid(self, frame_id: str, stamp_ns: int) -> Rigid:
        """Return the transform from a frame to the camera's."""
        camera = self._info.header.frame_id
        if camera == frame_id:
            return IDENTITY
        if self._transforms is None:
            raise PromptError(_without_tf(frame_id, camera))
        return self._transforms.lookup(camera, frame_id, stamp_ns)

    def _is_known(self, frame_id: str, stamp_ns: int) -> bool:
        with contextlib.suppress(TransformError):
            self._rigid(frame_id, stamp_ns)
            return True
        return False

    def _check_size(self) -> None:
        result = self._pipeline.last_result
        if result is None:
            return
        height, width = result.label_mask.shape[:2]
        if (width, height) != image_size(self._info):
            columns, rows = image_size(self._info)
            raise PromptError(
                f'{self._cameras.topic} describes images of {columns} x {rows}, but the image '
                f'has {width} x {height}. Publish the camera_info of this image beside it'
            )

    async def _becomes_true(self, timeout_s: float, condition: Callable[[], bool]) -> bool:
        """Await a condition without blocking the executor; returns whether it became true."""
        end = time.monotonic() + timeout_s
        while not (done := condition()) and time.monotonic() < end:
            future: Future = Future(executor=self._node.executor)
            timer = self._node.create_timer(
                POLL_S,
                lambda future=future: future.set_result(None),
                callback_group=ReentrantCallbackGroup(),
                clock=self._steady,
            )
            try:
                await future
            finally:
                self._node.destroy_timer(timer)
        return done


def _without_tf(frame_id: str, camera: str) -> str:
    return (
        f'the point is in frame {frame_id!r} and the camera in {camera!r}: to bring one to the '
        'other needs tf2_ros, which is not installed (apt install ros-<distro>-tf2-ros-py). '
        'Click in a viewer of images, such as rqt_image_view'
    )
