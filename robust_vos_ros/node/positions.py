"""Positions in space: depth beside the results of the tracker, in a thread of its own.

Whatever is wrong with the depth stops nothing: results are published before they come here, and
what cannot be used is counted and named.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.types import UNSEEN_STATES, TrackResult
from robust_vos_ros.node import transforms
from robust_vos_ros.node.camera_info import CameraInfoCounts, CameraInfos
from robust_vos_ros.node.depth_matcher import DepthMatcher, MatchCounts
from robust_vos_ros.node.position_messages import (
    Detection3DArray,
    Placed,
    PositionPublishers,
)
from robust_vos_ros.node.settings import NodeSettings
from robust_vos_ros.ros_types.images import stamp_to_ns
from robust_vos_ros.spatial.depth import DepthImage, read_depth
from robust_vos_ros.spatial.locate import locate
from robust_vos_ros.spatial.registration import choose_camera
from robust_vos_ros.spatial.rigid import IDENTITY, Rigid

_THROTTLE_S = 5.0
_STOP_TIMEOUT_S = 2.0
_TIMES = 256


@dataclasses.dataclass(frozen=True, slots=True)
class PositionReport:
    """What the positions are like; for diagnostics.

    Attributes:
        camera: Of `depth/camera_info`.
        handled: Pairs that were worked on; refused ones are among them.
        published: Arrays of positions.
        refused: Pairs that could not be used.
        without_position: Visible objects with too little depth.
        problem: Of the newest refused pair; empty when the newest pair was usable.
        since_depth_s: Since the newest depth image, None before the first.
        times_ms: (N,) float64, time spent per image, newest last.
    """

    matches: MatchCounts
    camera: CameraInfoCounts
    handled: int
    published: int
    refused: int
    without_position: int
    problem: str
    since_depth_s: float | None
    times_ms: np.ndarray


class Positions:
    """Subscribes to depth and publishes positions, from construction to `destroy`.

    Args:
        node: Gets subscriptions and publishers.
        cameras: Of the images.
        settings: Returns the present settings.
    """

    def __init__(
        self,
        node: LifecycleNode,
        cameras: CameraInfos,
        settings: Callable[[], NodeSettings],
    ) -> None:
        self._node = node
        self._cameras = cameras
        self._settings = settings
        now = settings().spatial
        self._matcher: DepthMatcher[tuple[TrackResult, Header], Any] = DepthMatcher(
            tolerance_ns=round(now.sync_tolerance_s * 1e9),
            max_wait_s=now.max_wait_s,
            queue_size=now.queue_size,
        )
        self._counts = collections.Counter[str]()
        self._problem = ''
        self._depth_s: float | None = None
        self._times: collections.deque[float] = collections.deque(maxlen=_TIMES)
        poses = now.poses == 'always' or (now.poses == 'auto' and Detection3DArray is None)
        self._publishers = PositionPublishers(node, poses=poses)
        # Only where it is asked for: /tf is a busy topic.
        self._transforms = transforms.listen(node) if now.target_frame else None
        self._depth_cameras = CameraInfos()
        self._depth_cameras.subscribe(node, 'depth/camera_info')
        qos = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        self._subscription = node.create_subscription(
            Image, 'depth', self._receive, qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
        # A daemon: the process must be able to end while tf2 waits.
        self._thread = threading.Thread(target=self._run, name='robust_vos positions', daemon=True)
        self._thread.start()

    def destroy(self) -> None:
        """Stop receiving and publishing."""
        self._matcher.close()
        self._node.destroy_subscription(self._subscription)
        self._depth_cameras.destroy()
        if self._transforms is not None:
            self._transforms.destroy()
        self._thread.join(_STOP_TIMEOUT_S)
        self._publishers.destroy()

    def offer(self, result: TrackResult, header: Header) -> None:
        """Take a result of the tracker, under the header of its image; safe from any thread."""
        self._matcher.offer_result(result.stamp_ns, (result, header))

    def forget_transforms(self) -> None:
        """The time jumped: transforms of the other time are none of this one."""
        if self._transforms is not None:
            self._transforms.clear()

    def report(self) -> PositionReport:
        """Return how it goes."""
        then = self._depth_s
        return PositionReport(
            matches=self._matcher.counts,
            camera=self._depth_cameras.counts,
            handled=self._counts['handled'],
            published=self._counts['published'],
            refused=self._counts['refused'],
            without_position=self._counts['without_position'],
            problem=self._problem,
            since_depth_s=None if then is None else time.monotonic() - then,
            times_ms=np.array(self._times),
        )

    def _receive(self, msg: Image) -> None:
        self._depth_s = time.monotonic()
        self._matcher.offer_depth(stamp_to_ns(msg.header.stamp), msg)

    def _run(self) -> None:
        while (pair := self._matcher.take()) is not None:
            (result, header), msg = pair
            start = time.perf_counter()
            try:
                self._process(result, header, msg)
            except Exception as error:  # one bad pair must not end the thread
                self._refuse(error)
            else:
                self._problem = ''
            self._times.append((time.perf_counter() - start) * 1e3)
            self._counts['handled'] += 1

    def _process(self, result: TrackResult, header: Header, msg: Image) -> None:
        """Publish where the objects of one image are."""
        settings = self._settings()
        self._publishers.follow(result.objects)
        depth = read_depth(msg)
        placed = self._place(result, header, depth, msg.header.frame_id, settings)
        if not self._publishers.wanted:
            return
        frame, rigid = self._find_frame(header, settings.spatial.target_frame)
        if rigid is not IDENTITY:
            placed = [(item, rigid.apply(located)) for item, located in placed]
        self._publishers.publish(placed, Header(stamp=header.stamp, frame_id=frame), rigid)
        self._counts['published'] += 1

    def _place(
        self,
        result: TrackResult,
        header: Header,
        depth: DepthImage,
        depth_frame: str,
        settings: NodeSettings,
    ) -> list[Placed]:
        """Locate the visible objects in the frame of the image."""
        size_hw = result.label_mask.shape[0], result.label_mask.shape[1]
        camera = choose_camera(
            self._cameras.newest,
            self._depth_cameras.newest,
            image_size_hw=size_hw,
            depth_size_hw=depth.size_hw,
            frames=(header.frame_id, depth_frame) if settings.spatial.check_frame else None,
            rectified=settings.input.rectified,
        )
        placed = []
        for item in result.objects:
            if item.area_px == 0 or item.state in UNSEEN_STATES:
                continue
            x, y, width, height = item.box_xywh
            mask = result.label_mask[y : y + height, x : x + width] == item.label
            located = locate(
                depth,
                mask,
                camera,
                settings.spatial.locate,
                origin_xy=(x, y),
                size_hw=size_hw,
            )
            if located is None:
                self._counts['without_position'] += 1
            else:
                placed.append((item, located))
        return placed

    def _find_frame(self, header: Header, target: str) -> tuple[str, Rigid]:
        """Return the frame to publish in, and the way there from that of the image."""
        if self._transforms is None or target == header.frame_id:
            return header.frame_id, IDENTITY
        rigid = self._transforms.lookup(
            target,
            header.frame_id,
            stamp_to_ns(header.stamp),
            timeout_s=self._settings().spatial.transform_timeout_s,
        )
        return target, rigid

    def _refuse(self, error: Exception) -> None:
        self._counts['refused'] += 1
        known = isinstance(error, RobustVosError)
        self._problem = str(error) if known else f'unexpected {type(error).__name__}: {error}'
        self._node.get_logger().warning(
            f'no positions: {self._problem}', throttle_duration_sec=_THROTTLE_S
        )
