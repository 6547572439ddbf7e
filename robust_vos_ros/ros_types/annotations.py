"""Annotations for viewers: names of labels, and outlines with a text per object.

The messages are vision_msgs/LabelInfo and foxglove_msgs/ImageAnnotations, of the given classes: of
rclpy in the node, of rosbags for bags. ROS is not imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import cv2
import numpy as np

from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.visualization import label_colors

LABEL_INFO = 'vision_msgs/msg/LabelInfo'
ANNOTATIONS = 'foxglove_msgs/msg/ImageAnnotations'
_LINE_LOOP = 2
_LINE_PX, _TEXT_PX = 2.0, 16.0
_FILL_OPACITY, _TEXT_BACKGROUND_OPACITY = 0.25, 0.6
_TOLERANCE_PX = 1.0  # maximum distance of an outline from its polygon

Classes = Mapping[str, Callable[..., Any]]


class Annotatable(Protocol):
    """Attributes that annotations use, of a `core.types.TrackedObject` or a message."""

    @property
    def object_id(self) -> str:
        """Its name."""

    @property
    def class_id(self) -> str:
        """Free text, may be empty."""

    @property
    def label(self) -> int:
        """Pixel value in the label mask."""

    @property
    def state(self) -> int:
        """An ObjectState."""

    @property
    def confidence(self) -> float:
        """In [0, 1]."""


def label_names(objects: Iterable[Annotatable]) -> dict[int, str]:
    """Return the name of each label: the class of the object, or its id without a class."""
    return {item.label: item.class_id or item.object_id for item in objects}


def make_label_info(classes: Classes, names: dict[int, str], header: Any) -> Any:
    """Return a vision_msgs/LabelInfo.

    Args:
        classes: Message classes that take their fields as keywords.
        names: By label.
        header: Of the first frame for which they apply.
    """
    kind = classes['vision_msgs/msg/VisionClass']
    class_map = [kind(class_id=label, class_name=name) for label, name in names.items()]
    return classes[LABEL_INFO](header=header, class_map=class_map, threshold=0.0)


def make_annotations(
    classes: Classes, objects: Iterable[Annotatable], label_mask: np.ndarray, header: Any
) -> Any:
    """Return a foxglove_msgs/ImageAnnotations: outlines with id, confidence and state.

    Objects without a mask are listed in a corner of the image.

    Args:
        classes: Message classes that take their fields as keywords.
        objects: Of one frame.
        label_mask: (H, W) labels of that frame.
        header: Of that frame.
    """
    color, point = classes['foxglove_msgs/msg/Color'], classes['foxglove_msgs/msg/Point2']
    background = color(r=0.0, g=0.0, b=0.0, a=_TEXT_BACKGROUND_OPACITY)
    points, texts = [], []
    for row, item in enumerate(objects):
        red, green, blue = (float(value) / 255 for value in label_colors()[item.label % 256])
        solid = color(r=red, g=green, b=blue, a=1.0)
        outlines = list(find_outlines(label_mask, item.label))
        x, y = np.concatenate(outlines).min(axis=0) if outlines else (0.0, _TEXT_PX * (row + 1))
        texts.append(
            classes['foxglove_msgs/msg/TextAnnotation'](
                timestamp=header.stamp, position=point(x=float(x), y=float(y)),
                text=f'{item.object_id} {item.confidence:.2f} {ObjectState(item.state).name}',
                font_size=_TEXT_PX, text_color=solid, background_color=background,
            )
        )  # fmt: skip
        points += [
            classes['foxglove_msgs/msg/PointsAnnotation'](
                timestamp=header.stamp, type=_LINE_LOOP,
                points=[point(x=float(x), y=float(y)) for x, y in outline], outline_color=solid,
                outline_colors=[], fill_color=color(r=red, g=green, b=blue, a=_FILL_OPACITY),
                thickness=_LINE_PX,
            )
            for outline in outlines
        ]  # fmt: skip
    return classes[ANNOTATIONS](circles=[], points=points, texts=texts)


def find_outlines(label_mask: np.ndarray, label: int) -> Iterator[np.ndarray]:
    """Yield an (N, 2) float64 array of (x, y) pixels per part of an object.

    The origin is the corner of the first pixel, as in Foxglove.
    """
    mask = (label_mask == label).view(np.uint8)
    parts, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for part in parts:
        yield cv2.approxPolyDP(part, _TOLERANCE_PX, closed=True)[:, 0] + 0.5
