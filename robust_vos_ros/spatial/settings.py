"""Settings of 3D positions."""

from __future__ import annotations

from typing import Literal

from robust_vos_ros.core.settings import Settings, setting


class LocateSettings(Settings):
    """Computation of a position from mask and depth."""

    min_range_m: float = setting(
        0.1, 'Smaller depth values are ignored.', unit='m', dynamic=True, ge=0.0, le=1000.0
    )
    max_range_m: float = setting(
        50.0, 'Larger depth values are ignored.', unit='m', dynamic=True, ge=0.01, le=1000.0
    )
    erosion: float = setting(
        0.08, 'Width of the border of a mask in which depth is ignored, as a share of the '
        'square root of the mask area. Depth there mixes object and background.',
        dynamic=True, ge=0.0, le=0.3,
    )  # fmt: skip
    outlier_mads: float = setting(
        3.0, 'Depth farther from the median than this many standard deviations is ignored '
        '(1.4826 times the median absolute deviation is one).',
        dynamic=True, ge=1.0, le=20.0,
    )  # fmt: skip
    min_band_m: float = setting(
        0.05, 'Depth nearer to the median than this is never ignored.',
        unit='m', dynamic=True, ge=0.0, le=10.0,
    )  # fmt: skip
    min_points: int = setting(
        12, 'Minimum number of usable depth pixels; with fewer, an object has no position.',
        dynamic=True, ge=1, le=1000,
    )  # fmt: skip
    min_share: float = setting(
        0.1, 'Minimum share of the pixels of a mask that have depth; with less, an object has '
        'no position.',
        dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    max_points: int = setting(
        1000, 'Approximate maximum number of pixels used per object, spread evenly over its '
        'mask.',
        dynamic=True, ge=100, le=100000,
    )  # fmt: skip
    extent_percentile: float = setting(
        2.0, 'The box of an object spans its points from this percentile to the opposite one.',
        unit='%', dynamic=True, ge=0.0, le=25.0,
    )  # fmt: skip
    noise_floor_m: float = setting(
        0.005, 'Standard deviation of the depth measurement at range 0.',
        unit='m', dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    noise_per_m2: float = setting(
        0.003, 'Increase of that standard deviation per squared range; the error of stereo '
        'cameras grows with the square of the range.', unit='1/m', dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip


class SpatialSettings(Settings):
    """3D positions from `depth` or `depth/points`, and camera_info."""

    enabled: bool = setting(
        False, 'Subscribe to depth, and publish where the objects are. Needs a depth image or an '
        'organised point cloud that is registered to the image.',
    )  # fmt: skip
    source: Literal['depth', 'cloud'] = setting(
        'depth', 'depth subscribes to sensor_msgs/Image on `depth`, cloud to an organised '
        'sensor_msgs/PointCloud2 on `depth/points`.',
    )  # fmt: skip
    sync_tolerance_s: float = setting(
        0.02, 'Maximum difference between the stamps of an image and its depth.',
        unit='s', dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    max_wait_s: float = setting(
        0.2, 'Maximum time to wait for the depth of an image; without it there are no '
        'positions.',
        unit='s', dynamic=True, ge=0.0, le=10.0,
    )  # fmt: skip
    queue_size: int = setting(
        15, 'Maximum number of waiting depth images, and of waiting results; the oldest is '
        'dropped. Depth waits as long as the tracker takes: 15 are half a second at 30 Hz.',
        ge=1, le=200,
    )  # fmt: skip
    check_frame: bool = setting(
        True, 'Reject depth whose frame_id is not that of the image.',
        dynamic=True,
    )  # fmt: skip
    target_frame: str = setting(
        '', 'Frame of the published positions; other than the frame of the image it needs '
        'tf2_ros. Empty = the frame of the image.',
    )  # fmt: skip
    transform_timeout_s: float = setting(
        0.1, 'Maximum time to wait for the transform to target_frame.',
        unit='s', dynamic=True, ge=0.0, le=5.0,
    )  # fmt: skip
    poses: Literal['auto', 'always', 'never'] = setting(
        'auto', 'Publish ~/poses/<object_id> of every TRACKED object. auto = only where '
        'vision_msgs, which ~/detections_3d needs, is not installed.',
    )  # fmt: skip
    tf: bool = setting(
        False, 'Publish the frame object/<object_id> of every TRACKED object on /tf, where '
        'tf2_msgs is installed.',
    )  # fmt: skip
    max_cloud_points: int = setting(
        20000, 'Approximate maximum number of points in ~/points: if the masks have more pixels, '
        'each second (third, ...) row and column is used.', dynamic=True, ge=100, le=10000000,
    )  # fmt: skip
    locate: LocateSettings = LocateSettings()
