"""Sections of the node's settings: input, publishing, overload, diagnostics and debugging."""

from __future__ import annotations

from typing import Literal

import pydantic

from robust_vos_ros.core.settings import Scale16Settings, Settings, setting


class InputSettings(Settings):
    """The image input."""

    transport: Literal['raw', 'compressed'] = setting(
        'raw', 'raw = subscribe to sensor_msgs/Image on `image`; compressed = subscribe to '
        'sensor_msgs/CompressedImage on `image/compressed`.',
    )  # fmt: skip
    reliability: Literal['best_effort', 'reliable'] = setting(
        'best_effort', 'Reliability of the image subscription. best_effort receives from every '
        'publisher; reliable needs a reliable publisher, and images lost on the way are '
        'sent again.',
    )  # fmt: skip
    max_frame_age_s: float = setting(
        0.0, 'A frame whose stamp is older than this when it is processed is dropped; 0 = off.',
        unit='s', dynamic=True, ge=0.0, le=3600.0,
    )  # fmt: skip
    prompt_buffer_mb: int = setting(
        256, 'Maximum memory for received images. A prompt with a past stamp needs its image '
        'there.',
        unit='MB', ge=0, le=16384,
    )  # fmt: skip
    rectified: bool = setting(
        False, 'The images are rectified. true = project points in space with P of camera_info; '
        'false = with K and the distortion.', dynamic=True,
    )  # fmt: skip
    cv_bridge: bool = setting(
        False, 'Convert raw images with cv_bridge, if it supports their encoding; false = with '
        'OpenCV, as for bags.',
    )  # fmt: skip
    scale_16bit: Scale16Settings = Scale16Settings()


class PublishSettings(Settings):
    """Topics published besides `~/objects` and `~/events`; images only if subscribed to."""

    label_mask: bool = setting(True, 'Publish ~/label_mask.', dynamic=True)
    label_mask_compressed: bool = setting(
        True, 'Publish ~/label_mask/compressed (PNG).', dynamic=True
    )
    class_mask: bool = setting(
        True, 'Publish ~/class_mask: the class of the object at each pixel.', dynamic=True
    )
    class_mask_compressed: bool = setting(
        True, 'Publish ~/class_mask/compressed (PNG).', dynamic=True
    )
    camera_info: bool = setting(
        True, 'Publish ~/camera_info: the newest camera_info of the same image size, with the '
        'header of each result.', dynamic=True,
    )  # fmt: skip
    confidence_mask: bool = setting(
        True, 'Publish ~/confidence_mask: 255 times the confidence of the object at each pixel.',
        dynamic=True,
    )  # fmt: skip
    overlay: bool = setting(
        True, 'Publish ~/overlay: the image with the masks drawn on it.', dynamic=True
    )
    tracked_boxes: bool = setting(
        True,
        'Publish ~/tracked_boxes (vision_msgs/Detection2DArray) if vision_msgs is installed.',
        dynamic=True,
    )
    annotations: bool = setting(
        True,
        'Publish ~/annotations (foxglove_msgs/ImageAnnotations) if foxglove_msgs is installed.',
        dynamic=True,
    )
    rle: bool = setting(
        False, 'Fill TrackedObject.rle with the mask as compressed COCO RLE.', dynamic=True
    )
    png_level: int = setting(
        1,
        'PNG compression level: 0 = none, 1 = fastest, 9 = smallest.',
        dynamic=True,
        ge=0,
        le=9,
    )


class ClassInfoSettings(Settings):
    """Pixel values of `~/class_mask` and their names."""

    unknown_value: int = setting(
        255, 'Pixel value of objects without a class, and of classes without a pixel value.',
        ge=1, le=255,
    )  # fmt: skip
    background_name: str = setting(
        '', 'Name of pixel value 0 in ~/class_info; empty = not listed.'
    )
    unknown_name: str = setting('', 'Name of unknown_value in ~/class_info; empty = not listed.')


class DiagnosticsSettings(Settings):
    """Limits for the level on /diagnostics."""

    stale_after_s: float = setting(
        2.0, '/diagnostics becomes STALE when no image has been received for this time.',
        unit='s', dynamic=True, ge=0.1, le=3600.0,
    )  # fmt: skip
    error_hold_s: float = setting(
        5.0, 'An error or a rejected image raises the level of /diagnostics for this time.',
        unit='s', dynamic=True, ge=0.0, le=3600.0,
    )  # fmt: skip


class WatchdogSettings(Settings):
    """What happens when a frame or request does not end, or every frame fails."""

    after_s: float = setting(
        30.0, 'A frame or request that takes longer is reported as an error on /diagnostics, with '
        'the stacks of all threads in the log; 0 = off.',
        unit='s', dynamic=True, ge=0.0, le=3600.0,
    )  # fmt: skip
    after_failed_frames: int = setting(
        30, 'So many frames that fail in succession, with none processed in between, are reported '
        'as an error on /diagnostics: after some errors a GPU serves its process no more; 0 = '
        'off.',
        dynamic=True, ge=0, le=100_000,
    )  # fmt: skip
    action: Literal['report', 'bond', 'exit'] = setting(
        'report', 'report = only that; bond = also end the bond, so that the lifecycle manager '
        'of nav2 restarts the node (needs bond: true); exit = end the process with code 3, for '
        'whoever starts it again, which is the only remedy for a GPU that serves its process no '
        'more.',
        dynamic=True,
    )  # fmt: skip


# The names of data.corruption, which the node does not import; a test compares them.
CorruptionName = Literal[
    'none', 'color_jitter', 'fog', 'gaussian_noise', 'iso_noise', 'motion_blur', 'rain',
    'resampling_blur', 'snow', 'night', 'droplets', 'defocus', 'jpeg', 'fog_noise',
    'night_blur', 'rain_snow', 'fog_blur_noise', 'blur_7', 'blur_9', 'salt_pepper_1k',
    'salt_pepper_5k', 'noise_10', 'noise_30',
]  # fmt: skip


class DebugSettings(Settings):
    """For demonstrations and tests, not for operation."""

    corruption: CorruptionName = setting(
        'none', 'Corrupt every image before it is tracked, for demonstrations; ~/overlay shows '
        'the corrupted image.',
        dynamic=True,
    )  # fmt: skip
    severity: float = setting(
        3.0, 'Severity of debug.corruption; 0 = clean.', dynamic=True, ge=0.0, le=5.0
    )


class OverloadSettings(Settings):
    """What the node leaves out while images arrive faster than it can process them."""

    max_level: int = setting(
        3, 'While frames take longer than the period of the camera, leave out work, in up to this '
        'many steps. 1 = one hypothesis per object; 2 = also search for unseen objects less '
        'often; 3 = also track objects in turn (FLAG_AGED). 0 = off: only images are dropped.',
        dynamic=True, ge=0, le=3,
    )  # fmt: skip
    raise_load: float = setting(
        1.0, 'Take the next step when the load is above this. The load is the time per frame '
        'divided by the period of the camera, summed over all cameras.',
        dynamic=True, ge=0.1, le=10.0,
    )  # fmt: skip
    raise_after_s: float = setting(
        1.0, 'Time for which the load has to be above raise_load.',
        unit='s', dynamic=True, ge=0.0, le=3600.0,
    )  # fmt: skip
    lower_load: float = setting(
        0.7, 'Take a step back when the load is below this; at most raise_load.',
        dynamic=True, ge=0.0, le=10.0,
    )  # fmt: skip
    lower_after_s: float = setting(
        5.0, 'Time for which the load has to be below lower_load. It doubles, up to 60 s, each '
        'time that a step back is soon followed by overload.',
        unit='s', dynamic=True, ge=0.0, le=3600.0,
    )  # fmt: skip
    search_interval_s: float = setting(
        1.0, 'Minimum time between two searches for unseen objects, from level 2 on.',
        unit='s', dynamic=True, ge=0.0, le=60.0,
    )  # fmt: skip
    turns: int = setting(
        2, 'At level 3 each object is tracked into every frame of this number.',
        dynamic=True, ge=2, le=8,
    )  # fmt: skip

    @pydantic.model_validator(mode='after')
    def _check_hysteresis(self) -> OverloadSettings:
        if self.lower_load > self.raise_load:
            raise ValueError(
                f'lower_load must be at most raise_load, got {self.lower_load:g} and '
                f'{self.raise_load:g}'
            )
        return self
