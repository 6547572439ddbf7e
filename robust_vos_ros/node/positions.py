"""3D positions from depth and the tracker's results, in a separate thread.

Invalid depth does not affect tracking: results are published before they arrive here, and unusable
depth is counted and reported.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.types import UNSEEN_STATES, ObjectFlag, TrackedObject, TrackResult
from robust_vos_ros.node import transforms
from robust_vos_ros.node.camera_info import CameraInfoCounts, CameraInfos
from robust_vos_ros.node.depth_matcher import DepthMatcher, MatchCounts
from robust_vos_ros.node.position_publishers import PositionPublishers
from robust_vos_ros.node.settings import NodeSettings
from robust_vos_ros.ros_types.images import stamp_to_ns
from robust_vos_ros.spatial.camera import Camera, CameraError
from robust_vos_ros.spatial.cloud import crop_cloud, read_cloud
from robust_vos_ros.spatial.depth import DepthImage, read_depth
from robust_vos_ros.spatial.locate import Located, locate
from robust_vos_ros.spatial.registration import choose_camera
from robust_vos_ros.spatial.rigid import IDENTITY, Rigid
from robust_vos_ros.spatial.settings import LocateSettings

_THROTTLE_S = 5.0
_STOP_TIMEOUT_S = 2.0
_TIMES = 256
_SOURCES: dict[str, tuple[Any, str, Callable[[Any], DepthImage]]] = {
    'depth': (Image, 'depth', read_depth),
    'cloud': (PointCloud2, 'depth/points', read_cloud),
}


@dataclasses.dataclass(frozen=True, slots=True)
class PositionReport:
    """Counts and problems of positions, for diagnostics.

    Attributes:
        camera: Of `depth/camera_info`.
        handled: Processed pairs, including refused ones.
        published: Published arrays of positions.
        refused: Unusable pairs.
        without_position: Visible objects without enough depth.
        problem: Of the newest pair; empty if there was none.
        since_depth_s: Time since the newest depth image or cloud; None before the first.
        times_ms: (N,) float64, processing time per image, newest last.
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


@dataclasses.dataclass(frozen=True, slots=True)
class _Tracked:
    """A result, and the header and the (H, W, 3) uint8 pixels of its image."""

    result: TrackResult
    header: Header
    rgb: np.ndarray


class Positions:
    """Subscribes to depth and publishes positions, from construction to `destroy`.

    Args:
        node: Gets subscriptions and publishers.
        cameras: Of the images.
        settings: Returns the present settings.
        camera: Name of one of several cameras, for the frames of objects.
    """

    def __init__(
        self,
        node: LifecycleNode,
        cameras: CameraInfos,
        settings: Callable[[], NodeSettings],
        *,
        camera: str = '',
    ) -> None:
        self._node = node
        self._cameras = cameras
        self._settings = settings
        now = settings().spatial
        self._matcher: DepthMatcher[_Tracked, Any] = DepthMatcher(
            tolerance_ns=round(now.sync_tolerance_s * 1e9),
            max_wait_s=now.max_wait_s,
            queue_size=now.queue_size,
        )
        self._counts = collections.Counter[str]()
        self._problem = ''
        self._depth_s: float | None = None
        self._times: collections.deque[float] = collections.deque(maxlen=_TIMES)
        self._publishers = PositionPublishers(node, now, camera=camera)
        # Only if needed: /tf has a high rate.
        self._transforms = transforms.listen(node) if now.target_frame else None
        self._depth_cameras = CameraInfos()
        self._depth_cameras.subscribe(node, 'depth/camera_info')
        qos = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        kind, topic, self._read = _SOURCES[now.source]
        self._subscription = node.create_subscription(
            kind, topic, self._receive, qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )  # fmt: skip
        # A daemon thread: the process must be able to end while tf2 waits.
        self._thread = threading.Thread(target=self._run, name='robust_vos positions', daemon=True)
        self._thread.start()

    def destroy(self) -> None:
        """Destroy subscriptions, publishers and thread."""
        self._matcher.close()
        self._node.destroy_subscription(self._subscription)
        self._depth_cameras.destroy()
        if self._transforms is not None:
            self._transforms.destroy()
        self._thread.join(_STOP_TIMEOUT_S)
        self._publishers.destroy()

    def offer(self, result: TrackResult, header: Header, rgb: np.ndarray) -> None:
        """Queue a result of the tracker and its image; thread-safe.

        Args:
            result: Of the tracker.
            header: Of its image.
            rgb: (H, W, 3) uint8, the image.
        """
        now = self._settings().spatial
        self._matcher.tolerance_ns = round(now.sync_tolerance_s * 1e9)
        self._matcher.max_wait_s = now.max_wait_s
        self._matcher.offer_result(result.stamp_ns, _Tracked(result, header, rgb))

    def forget_transforms(self) -> None:
        """Clear the transforms after a time jump."""
        if self._transforms is not None:
            self._transforms.clear()

    def report(self) -> PositionReport:
        """Return counts and problems."""
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

    def _receive(self, msg: Any) -> None:
        self._depth_s = time.monotonic()
        self._matcher.offer_depth(stamp_to_ns(msg.header.stamp), msg)

    def _run(self) -> None:
        while (pair := self._matcher.take()) is not None:
            start = time.perf_counter()
            try:
                self._problem = self._process(*pair)
            except Exception as error:  # a bad pair must not end the thread
                self._refuse(error)
            self._times.append((time.perf_counter() - start) * 1e3)
            self._counts['handled'] += 1

    def _process(self, tracked: _Tracked, msg: Any) -> str:
        """Publish the positions of one image; returns a problem, or an empty string."""
        settings, header, result = self._settings(), tracked.header, tracked.result
        self._publishers.follow(result.objects)
        depth = self._read(msg)
        camera = self._choose_camera(tracked, depth, msg.header.frame_id, settings)
        in_camera = _locate(result, depth, camera, settings.spatial.locate)
        located = [(item, found) for item, found in in_camera if found is not None]
        self._counts['without_position'] += len(in_camera) - len(located)
        if self._publishers.wanted:
            frame, rigid = self._find_frame(header, settings.spatial.target_frame)
            crop = functools.partial(
                crop_cloud,
                depth,
                result.label_mask,
                {item.label: found.range_m for item, found in located},
                camera,
                rgb=tracked.rgb,
                rigid=rigid,
                max_points=settings.spatial.max_cloud_points,
            )
            if rigid is not IDENTITY:
                located = [(item, rigid.apply(found)) for item, found in located]
            self._publishers.publish(
                located, Header(stamp=header.stamp, frame_id=frame), rigid, crop
            )
            self._counts['published'] += 1
        if in_camera and not located:
            return (
                f'none of the {len(in_camera)} visible objects has enough known depth in its '
                'mask: is it 0 or NaN there, or outside of spatial.locate.min_range_m to '
                'max_range_m?'
            )
        return ''

    def _choose_camera(
        self, tracked: _Tracked, depth: DepthImage, depth_frame: str, settings: NodeSettings
    ) -> Camera:
        """Return the camera of the image; raises RobustVosError if the depth does not fit."""
        size_hw = tracked.result.label_mask.shape[0], tracked.result.label_mask.shape[1]
        frames = (tracked.header.frame_id, depth_frame)
        try:
            return choose_camera(
                self._cameras.newest,
                self._depth_cameras.newest,
                image_size_hw=size_hw,
                depth_size_hw=depth.size_hw,
                frames=frames if settings.spatial.check_frame else None,
                rectified=settings.input.rectified,
            )
        except CameraError as error:
            refusals = self._cameras.counts.refusal, self._depth_cameras.counts.refusal
            if why := next(filter(None, refusals), ''):
                raise CameraError(f'{error}; what came was refused: {why}') from error
            raise

    def _find_frame(self, header: Header, target: str) -> tuple[str, Rigid]:
        """Return the frame to publish in, and the transform to it from the image's frame."""
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


def _locate(
    result: TrackResult, depth: DepthImage, camera: Camera, settings: LocateSettings
) -> list[tuple[TrackedObject, Located | None]]:
    """Return the visible objects and their positions in the image's frame."""
    size_hw = result.label_mask.shape[0], result.label_mask.shape[1]
    found = []
    for item in result.objects:
        if item.area_px == 0 or item.state in UNSEEN_STATES or item.flags & ObjectFlag.AGED:
            continue  # without a mask, or with one of an earlier image
        x, y, width, height = item.box_xywh
        mask = result.label_mask[y : y + height, x : x + width] == item.label
        located = locate(depth, mask, camera, settings, origin_xy=(x, y), size_hw=size_hw)
        found.append((item, located))
    return found
