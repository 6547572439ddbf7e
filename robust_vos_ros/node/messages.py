"""Convert core results to ROS messages."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point
from robust_vos.msg import TrackedObject as TrackedObjectMsg
from robust_vos.msg import TrackedObjectArray
from robust_vos.msg import TrackEvent as TrackEventMsg
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header
from unique_identifier_msgs.msg import UUID

from robust_vos_ros.core.types import ObjectState, TrackResult
from robust_vos_ros.ros_types.messages import MessageMaker
from robust_vos_ros.visualization import draw_objects

try:
    from vision_msgs.msg import (
        Detection2D,
        Detection2DArray,
        LabelInfo,
        ObjectHypothesisWithPose,
        VisionClass,
    )
except ImportError:  # optional: vision_msgs is not part of a minimal ROS installation
    Detection2DArray = LabelInfo = VisionClass = None
try:
    from foxglove_msgs.msg import (
        Color,
        ImageAnnotations,
        Point2,
        PointsAnnotation,
        TextAnnotation,
    )
except ImportError:  # optional as well
    ImageAnnotations = Color = Point2 = PointsAnnotation = TextAnnotation = None

# Message packages for viewers; None if not installed.
MARK_CLASSES = {
    'vision_msgs/msg/LabelInfo': LabelInfo,
    'vision_msgs/msg/VisionClass': VisionClass,
    'foxglove_msgs/msg/ImageAnnotations': ImageAnnotations,
    'foxglove_msgs/msg/Color': Color,
    'foxglove_msgs/msg/Point2': Point2,
    'foxglove_msgs/msg/PointsAnnotation': PointsAnnotation,
    'foxglove_msgs/msg/TextAnnotation': TextAnnotation,
}


def to_bytes(values: np.ndarray | bytes) -> array.array:
    """Return the content for a uint8[] field.

    rclpy copies an array.array as a whole (below 1 ms for a large image), but an ndarray value by
    value (a second).
    """
    result = array.array('B')
    if isinstance(values, np.ndarray):
        values = memoryview(np.ascontiguousarray(values)).cast('B')
    result.frombytes(values)
    return result


_maker = MessageMaker(
    {
        'builtin_interfaces/msg/Duration': Duration,
        'builtin_interfaces/msg/Time': Time,
        'geometry_msgs/msg/Point': Point,
        'robust_vos/msg/TrackedObject': TrackedObjectMsg,
        'robust_vos/msg/TrackedObjectArray': TrackedObjectArray,
        'robust_vos/msg/TrackEvent': TrackEventMsg,
        'sensor_msgs/msg/CompressedImage': CompressedImage,
        'sensor_msgs/msg/Image': Image,
        'sensor_msgs/msg/RegionOfInterest': RegionOfInterest,
        'std_msgs/msg/Header': Header,
        'unique_identifier_msgs/msg/UUID': UUID,
    },
    to_bytes,
)
to_header, to_object, to_object_array = _maker.to_header, _maker.to_object, _maker.to_object_array
to_events, to_label_mask, to_label_png = (
    _maker.to_events,
    _maker.to_label_mask,
    _maker.to_label_png,
)
to_image, to_png = _maker.to_image, _maker.to_png


def to_confidence_mask(result: TrackResult, header: Header) -> Image:
    """Return, as mono8, 255 times the confidence of the object at each pixel; 0 = background."""
    table = np.zeros(int(np.iinfo(result.label_mask.dtype).max) + 1, np.uint8)
    for item in result.objects:
        table[item.label] = round(255 * item.confidence)
    return _maker.to_image(table[result.label_mask], 'mono8', header)


def to_overlay(result: TrackResult, rgb: np.ndarray, header: Header) -> Image:
    """Return the image with the masks drawn on it, and id, state and confidence beside them.

    Args:
        result: Of the engine.
        rgb: (H, W, 3) uint8, the source image.
        header: Of the source image.
    """
    return _maker.to_image(draw_objects(rgb, result.label_mask, result.objects), 'rgb8', header)


def to_tracked_boxes(result: TrackResult, header: Header) -> Any:
    """Return visible objects as vision_msgs/Detection2DArray; needs vision_msgs."""
    msg = Detection2DArray(header=header)
    for item in result.objects:
        if item.area_px == 0 or item.state == ObjectState.LOST:
            continue
        x, y, width, height = item.box_xywh
        detection = Detection2D(header=header, id=item.object_id)
        detection.bbox.center.position.x = x + width / 2
        detection.bbox.center.position.y = y + height / 2
        detection.bbox.size_x, detection.bbox.size_y = float(width), float(height)
        hypothesis = ObjectHypothesisWithPose()
        hypothesis.hypothesis.class_id = item.class_id
        hypothesis.hypothesis.score = item.confidence
        detection.results = [hypothesis]
        msg.detections.append(detection)
    return msg
