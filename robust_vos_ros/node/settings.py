"""Every parameter of the node, defined once, and the commented YAML file made from it.

`python -m robust_vos_ros.node.settings > config/robust_vos.yaml` writes that file again.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
import typing
from collections.abc import Iterator
from typing import Any, Literal

import pydantic
from pydantic.fields import FieldInfo

from robust_vos_ros.core.settings import (
    ModelSettings,
    Scale16Settings,
    Settings,
    StreamSettings,
    setting,
)
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.spatial.settings import SpatialSettings

WIDTH = 99
MAX_CLASSES = 254  # pixel values of a mono8 mask but those of the background and of the unknown
HEADER = """\
# Parameters of the node robust_vos, with their default values.
# Made by `python -m robust_vos_ros.node.settings`: change robust_vos_ros/node/settings.py or
# robust_vos_ros/core/settings.py, not this copy. For a robot, copy the keys you change to a file
# of your own and pass it as params_file:= to robust_vos.launch.py.
# `live` values may change at any time (ros2 param set); the others while the node is unconfigured.
"""


class InputSettings(Settings):
    """Which images come in."""

    transport: Literal['raw', 'compressed'] = setting(
        'raw', 'raw subscribes to sensor_msgs/Image on `image`, compressed to '
        'sensor_msgs/CompressedImage on `image/compressed`.',
    )  # fmt: skip
    reliability: Literal['best_effort', 'reliable'] = setting(
        'best_effort', 'Of the image subscription. best_effort receives from every publisher; '
        'reliable from reliable ones only, but loses no large images on a busy machine.',
    )  # fmt: skip
    max_frame_age_s: float = setting(
        0.0, 'A frame whose stamp is older than this when its turn comes is dropped; 0 = off.',
        unit='s', dynamic=True, ge=0.0, le=3600.0,
    )  # fmt: skip
    prompt_buffer_mb: int = setting(
        256, 'Most memory for received images that prompts with a past stamp may refer to.',
        unit='MB', ge=0, le=16384,
    )  # fmt: skip
    rectified: bool = setting(
        False, 'The images are rectified: points in space and pixels belong together by P of '
        'camera_info, else by K and the distortion.', dynamic=True,
    )  # fmt: skip
    cv_bridge: bool = setting(
        False, 'Convert raw images with cv_bridge, where that knows their encoding; false = with '
        'OpenCV, as bags are.',
    )  # fmt: skip
    scale_16bit: Scale16Settings = Scale16Settings()


class PublishSettings(Settings):
    """What is published besides `~/objects` and `~/events`; images only while somebody listens."""

    label_mask: bool = setting(True, 'Publish ~/label_mask.', dynamic=True)
    label_mask_compressed: bool = setting(
        True, 'Publish ~/label_mask/compressed, a PNG.', dynamic=True
    )
    class_mask: bool = setting(
        True, 'Publish ~/class_mask: the class of the object at each pixel.', dynamic=True
    )
    class_mask_compressed: bool = setting(
        True, 'Publish ~/class_mask/compressed, a PNG.', dynamic=True
    )
    camera_info: bool = setting(
        True, 'Publish ~/camera_info: the newest message of `camera_info` for images of this '
        'size, with the header of each result.', dynamic=True,
    )  # fmt: skip
    confidence_mask: bool = setting(
        True, 'Publish ~/confidence_mask: the confidence of the object at each pixel times 255.',
        dynamic=True,
    )  # fmt: skip
    overlay: bool = setting(True, 'Publish ~/overlay: the image with the masks.', dynamic=True)
    detections: bool = setting(
        True, 'Publish ~/detections (vision_msgs/Detection2DArray) if vision_msgs is installed.',
        dynamic=True,
    )  # fmt: skip
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
        'Effort of the PNG compression: 0 = none, 1 = fast, 9 = small.',
        dynamic=True,
        ge=0,
        le=9,
    )


class ClassInfoSettings(Settings):
    """What the pixel values of `~/class_mask` mean."""

    unknown_value: int = setting(
        255, 'Pixel value of objects without a class, and of classes that have no value.',
        ge=1, le=255,
    )  # fmt: skip
    background_name: str = setting(
        '', 'Name of pixel value 0 in ~/class_info; empty = it is not listed.'
    )
    unknown_name: str = setting(
        '', 'Name of unknown_value in ~/class_info; empty = it is not listed.'
    )


class DiagnosticsSettings(Settings):
    """When /diagnostics raises the alarm."""

    stale_after_s: float = setting(
        2.0, 'The input counts as stale when no image came for this long.',
        unit='s', dynamic=True, ge=0.1, le=3600.0,
    )  # fmt: skip
    error_hold_s: float = setting(
        5.0, 'An error or a rejected image shows in the level for this long.',
        unit='s', dynamic=True, ge=0.0, le=3600.0,
    )  # fmt: skip


# The names of data.corruption, which the node does not import; a test compares them.
CorruptionName = Literal[
    'none', 'color_jitter', 'fog', 'gaussian_noise', 'iso_noise', 'motion_blur', 'rain',
    'resampling_blur', 'snow', 'night', 'droplets', 'defocus', 'jpeg', 'fog_noise',
    'night_blur', 'rain_snow', 'fog_blur_noise', 'blur_7', 'blur_9', 'salt_pepper_1k',
    'salt_pepper_5k', 'noise_10', 'noise_30',
]  # fmt: skip


class DebugSettings(Settings):
    """For demonstrations and trials, not for a robot at work."""

    corruption: CorruptionName = setting(
        'none', 'Spoil every image by this before it is tracked; the overlay shows it.',
        dynamic=True,
    )  # fmt: skip
    severity: float = setting(3.0, 'Severity of debug.corruption.', dynamic=True, ge=0.0, le=5.0)


class NodeSettings(StreamSettings):
    """All settings of the node."""

    autostart: bool = setting(True, 'Configure and activate the node when the program starts.')
    bond: bool = setting(
        False, "Publish the heartbeat on `bond` that nav2's lifecycle manager waits for while the "
        'node is active; needs the package bond.',
    )  # fmt: skip
    enabled: bool = setting(
        True, 'Process images; ~/set_enabled changes it. Disabled, tracks are kept.', dynamic=True
    )
    prompt_timeout_s: float = setting(
        10.0, 'A service request not answered by the tracker within this time gets TIMEOUT.',
        unit='s', dynamic=True, ge=0.1, le=600.0,
    )  # fmt: skip
    max_pending_requests: int = setting(
        32, 'Service requests that may wait for the tracker; more get QUEUE_FULL.', ge=1, le=1000
    )
    click_object_prefix: str = setting(
        'click', 'Objects added by clicks in a viewer are named <prefix>_1, <prefix>_2, ...',
        dynamic=True, min_length=1,
    )  # fmt: skip
    classes: list[str] = setting(
        [''], 'Classes of ~/class_mask: they have the pixel values 1, 2, ... in this order, all '
        'others are unknown. [""] = each class gets the next value when it appears first.',
    )  # fmt: skip
    state_file: str = setting(
        '', 'File that keeps the objects, so that a node that was killed or cleaned up goes on '
        'with them; empty = none. An absolute path, another one for each node.',
    )  # fmt: skip
    state_save_interval_s: float = setting(
        5.0, 'The state file is written this often while there are objects, and whenever one is '
        'removed.', unit='s', dynamic=True, ge=0.1, le=3600.0,
    )  # fmt: skip
    input: InputSettings = InputSettings()
    model: ModelSettings = ModelSettings()
    tracking: TrackerSettings = TrackerSettings()
    publish: PublishSettings = PublishSettings()
    class_info: ClassInfoSettings = ClassInfoSettings()
    spatial: SpatialSettings = SpatialSettings()
    diagnostics: DiagnosticsSettings = DiagnosticsSettings()
    debug: DebugSettings = DebugSettings()

    @property
    def class_names(self) -> list[str]:
        """The given classes; empty when they are not given."""
        return [name for name in self.classes if name]

    @pydantic.model_validator(mode='after')
    def _check_classes(self) -> NodeSettings:
        names = self.class_names
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f'classes: each one once, got {", ".join(twice)} several times')
        if len(names) > MAX_CLASSES:
            raise ValueError(f'classes: at most {MAX_CLASSES}, got {len(names)}')
        return self


@dataclasses.dataclass(frozen=True, slots=True)
class Leaf:
    """One setting, flat.

    Attributes:
        name: Dotted name, as of the ROS parameter.
        type: bool, int, float, str, or list for a list of str.
        choices: Allowed values, empty when any.
        lower: Least value or None; `upper` likewise.
    """

    name: str
    type: type
    default: Any
    description: str
    unit: str
    dynamic: bool
    choices: tuple[str, ...]
    lower: float | None
    upper: float | None

    @property
    def range_text(self) -> str:
        """Allowed values for people."""
        if self.choices:
            return 'one of ' + ', '.join(self.choices)
        if self.type is bool:
            return 'true or false'
        if self.lower is None and self.upper is None:
            return ''
        return f'{self.lower} to {self.upper}' + (f' {self.unit}' if self.unit else '')


def leaves(cls: type[Settings] = NodeSettings, prefix: str = '') -> Iterator[Leaf]:
    """Yield every setting of a component and of those inside it, in order of definition."""
    for name, field in cls.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Settings):
            yield from leaves(annotation, f'{prefix}{name}.')
        else:
            yield _leaf(prefix + name, field)


def _leaf(name: str, field: FieldInfo) -> Leaf:
    origin = typing.get_origin(field.annotation)
    choices = typing.get_args(field.annotation) if origin is Literal else ()
    lower = upper = None
    for bound in field.metadata:  # annotated_types.Ge, Gt, Le and Lt name their value so
        lower = getattr(bound, 'ge', getattr(bound, 'gt', lower))
        upper = getattr(bound, 'le', getattr(bound, 'lt', upper))
    extra = typing.cast(dict[str, Any], field.json_schema_extra)
    return Leaf(
        name=name,
        type=str if choices else origin or typing.cast(type, field.annotation),
        default=field.default,
        description=field.description or '',
        unit=extra['unit'],
        dynamic=extra['dynamic'],
        choices=choices,
        lower=lower,
        upper=upper,
    )


def nest(values: dict[str, Any]) -> dict[str, Any]:
    """Turn {'tracking.visible_on': 0.5} into {'tracking': {'visible_on': 0.5}}."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        *groups, key = name.split('.')
        node = result
        for group in groups:
            node = node.setdefault(group, {})
        node[key] = value
    return result


def flatten(settings: Settings) -> dict[str, Any]:
    """Turn settings into {'tracking.visible_on': 0.5, ...}."""
    result: dict[str, Any] = {}
    for leaf in leaves(type(settings)):
        value: Any = settings
        for part in leaf.name.split('.'):
            value = getattr(value, part)
        result[leaf.name] = value
    return result


def to_yaml() -> str:
    """Return the parameter file: every setting with its default, description, unit and range."""
    lines = [HEADER.rstrip(), '/**:', '  ros__parameters:']
    group: list[str] = []
    for leaf in leaves():
        *groups, key = leaf.name.split('.')
        if groups != group:
            same = sum(1 for old, new in zip(group, groups, strict=False) if old == new)
            lines.append('')
            lines += [
                f'{" " * (4 + 2 * depth)}{groups[depth]}:' for depth in range(same, len(groups))
            ]
            group = groups
        indent = ' ' * (4 + 2 * len(groups))
        notes = [leaf.range_text, 'live' if leaf.dynamic else '']
        text = f'{leaf.description} [{"; ".join(note for note in notes if note)}]'
        comment = text.removesuffix(' []')
        lines += textwrap.wrap(
            comment, WIDTH, initial_indent=f'{indent}# ', subsequent_indent=f'{indent}# '
        )
        lines.append(f'{indent}{key}: {json.dumps(leaf.default)}')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    sys.stdout.write(to_yaml())
