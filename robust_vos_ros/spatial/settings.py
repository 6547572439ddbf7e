"""Settings of positions in space."""

from __future__ import annotations

from typing import Literal

from robust_vos_ros.core.settings import Settings, setting


class LocateSettings(Settings):
    """How a position is made of a mask and a depth image."""

    min_range_m: float = setting(
        0.1, 'Depth below this is taken for unknown.', unit='m', dynamic=True, ge=0.0, le=1000.0
    )
    max_range_m: float = setting(
        50.0, 'Depth above this is taken for unknown.', unit='m', dynamic=True, ge=0.01, le=1000.0
    )
    erosion: float = setting(
        0.08, 'The border of a mask is left out, by this share of the square root of its area: '
        'depth mixes with the background there.', dynamic=True, ge=0.0, le=0.3,
    )  # fmt: skip
    outlier_mads: float = setting(
        3.0, 'Depth farther from the median than so many standard deviations (1.4826 times the '
        'median absolute deviation) is left out: flying pixels, holes.',
        dynamic=True, ge=1.0, le=20.0,
    )  # fmt: skip
    min_band_m: float = setting(
        0.05, 'Depth nearer to the median than this always counts.',
        unit='m', dynamic=True, ge=0.0, le=10.0,
    )  # fmt: skip
    min_points: int = setting(
        12, 'An object with fewer usable depth pixels has no position.',
        dynamic=True, ge=1, le=1000,
    )  # fmt: skip
    min_share: float = setting(
        0.1, 'An object with depth at a smaller share of its pixels has no position.',
        dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    max_points: int = setting(
        1000, 'About so many pixels per object are looked at, evenly spread over it.',
        dynamic=True, ge=100, le=100000,
    )  # fmt: skip
    extent_percentile: float = setting(
        2.0, 'The box of an object goes from this percentile of its points to the opposite one.',
        unit='%', dynamic=True, ge=0.0, le=25.0,
    )  # fmt: skip
    noise_floor_m: float = setting(
        0.005, 'Standard deviation of the depth camera at 0 m.',
        unit='m', dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    noise_per_m2: float = setting(
        0.003, 'What is added to it per square metre of range: a stereo camera gets worse with '
        'the square of the range.', unit='1/m', dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip


class SpatialSettings(Settings):
    """Positions in space, of `depth` or `depth/points`, and of camera_info."""

    enabled: bool = setting(
        False, 'Subscribe to depth, and publish where the objects are. Needs a depth image or an '
        'organised point cloud that is registered to the image.',
    )  # fmt: skip
    source: Literal['depth', 'cloud'] = setting(
        'depth', 'depth subscribes to sensor_msgs/Image on `depth`, cloud to an organised '
        'sensor_msgs/PointCloud2 on `depth/points`.',
    )  # fmt: skip
    sync_tolerance_s: float = setting(
        0.02, 'Most difference between the stamps of an image and of its depth.',
        unit='s', dynamic=True, ge=0.0, le=1.0,
    )  # fmt: skip
    max_wait_s: float = setting(
        0.2, 'A result whose depth has not come after this time has no positions.',
        unit='s', dynamic=True, ge=0.0, le=10.0,
    )  # fmt: skip
    queue_size: int = setting(
        15, 'Depth images, and results, that wait for each other; more drop the oldest. Depth '
        'must wait for as long as the tracker takes: 15 are half a second at 30 Hz.', ge=1, le=200,
    )  # fmt: skip
    check_frame: bool = setting(
        True, 'Refuse depth of another frame_id than the image: it is not registered to it.',
        dynamic=True,
    )  # fmt: skip
    target_frame: str = setting(
        '', 'Frame of the published positions, through tf2 where tf2_ros is installed; empty = '
        'that of the image.',
    )  # fmt: skip
    transform_timeout_s: float = setting(
        0.1, 'How long to wait for the transform to target_frame.',
        unit='s', dynamic=True, ge=0.0, le=5.0,
    )  # fmt: skip
    poses: Literal['auto', 'always', 'never'] = setting(
        'auto', 'Publish ~/poses/<object_id> of every TRACKED object: auto = where vision_msgs, '
        'and so ~/detections_3d, is not installed.',
    )  # fmt: skip
    tf: bool = setting(
        False, 'Publish the frame object/<object_id> of every TRACKED object on /tf, where '
        'tf2_msgs is installed.',
    )  # fmt: skip
    max_cloud_points: int = setting(
        20000, 'Points of ~/points at most, about: where the masks have more pixels, each second '
        '(third, ...) row and column is taken.', dynamic=True, ge=100, le=10000000,
    )  # fmt: skip
    locate: LocateSettings = LocateSettings()
