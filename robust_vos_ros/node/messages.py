"""Core results to ROS messages; nothing here publishes."""

from __future__ import annotations

import array
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point
from robust_vos.msg import TrackedObject as TrackedObjectMsg
from robust_vos.msg import TrackedObjectArray
from robust_vos.msg import TrackEvent as TrackEventMsg
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header
from unique_identifier_msgs.msg import UUID

from robust_vos_ros.core.images import NS_PER_S
from robust_vos_ros.core.marks import (
    FILL_OPACITY,
    LINE_PX,
    TEXT_BACKGROUND_OPACITY,
    TEXT_PX,
    find_marks,
)
from robust_vos_ros.core.masks import encode_rle, overlay
from robust_vos_ros.core.types import ObjectState, TrackedObject, TrackEvent, TrackResult

try:
    from vision_msgs.msg import (
        Detection2D,
        Detection2DArray,
        LabelInfo,
        ObjectHypothesisWithPose,
        VisionClass,
    )
except ImportError:  # an extra: vision_msgs is not part of a minimal ROS installation
    Detection2DArray = LabelInfo = None
try:
    from foxglove_msgs.msg import (
        Color,
        ImageAnnotations,
        Point2,
        PointsAnnotation,
        TextAnnotation,
    )
except ImportError:  # the same
    ImageAnnotations = None

PNG_FORMAT = 'mono8; png compressed '  # what image_transport writes and reads, blank included
PNG_FORMAT_16 = '16UC1; png compressed '
MAX_MONO8_LABEL = 254  # 255 means `unlabelled` to many tools
_UINT32_MAX = 2**32 - 1


def to_bytes(values: np.ndarray | bytes) -> array.array:
    """Return the content for a uint8[] field.

    rclpy takes an array.array as it is (below 1 ms for a large image); an ndarray it would walk
    through value by value (a second).
    """
    result = array.array('B')
    if isinstance(values, np.ndarray):
        values = memoryview(np.ascontiguousarray(values)).cast('B')
    result.frombytes(values)
    return result


def to_time(stamp_ns: int) -> Time:
    """Return nanoseconds as builtin_interfaces/Time."""
    return Time(sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)


def to_duration(duration_ns: int) -> Duration:
    """Return nanoseconds as builtin_interfaces/Duration."""
    return Duration(sec=duration_ns // NS_PER_S, nanosec=duration_ns % NS_PER_S)


def to_uuid(value: uuid.UUID) -> UUID:
    """Return a UUID message."""
    return UUID(uuid=np.frombuffer(value.bytes, np.uint8))


def to_header(result: TrackResult) -> Header:
    """Return a header equal to the one of the image behind a result."""
    return Header(stamp=to_time(result.stamp_ns), frame_id=result.frame_id)


def to_object(item: TrackedObject, label_mask: np.ndarray | None = None) -> TrackedObjectMsg:
    """Return one object; with the label mask of its frame also its run lengths.

    Args:
        item: The object.
        label_mask: (H, W) labels; None leaves `rle` empty.
    """
    x, y, width, height = item.box_xywh
    msg = TrackedObjectMsg(
        object_id=item.object_id,
        uuid=to_uuid(item.uuid),
        label=item.label,
        class_id=item.class_id,
        state=int(item.state),
        confidence=item.confidence,
        existence_probability=item.existence_probability,
        mask_quality=item.mask_quality,
        gate_activity=item.gate_activity,
        memory_updated=item.memory_updated,
        path_switched=item.path_switched,
        last_seen=to_time(item.last_seen_ns),
        age=to_duration(item.age_ns),
        frames_since_seen=min(item.frames_since_seen, _UINT32_MAX),
        flags=int(item.flags),
        roi=RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
        centroid=Point(x=item.centroid_xy[0], y=item.centroid_xy[1]),
        area_px=item.area_px,
    )
    if label_mask is not None:
        msg.rle = to_bytes(encode_rle(label_mask == item.label))
    return msg


def to_object_array(
    result: TrackResult, header: Header, *, latency_ns: int, frames_dropped: int, rle: bool
) -> TrackedObjectArray:
    """Return all objects of a result.

    Args:
        result: What the engine found.
        header: Of the source image, used as it is.
        latency_ns: From receiving the image until now, in nanoseconds.
        frames_dropped: Since activation.
        rle: Whether to fill in the run lengths.
    """
    height, width = result.label_mask.shape
    mask = result.label_mask if rle else None
    return TrackedObjectArray(
        header=header,
        height=height,
        width=width,
        frame_index=result.frame_index,
        latency=to_duration(latency_ns),
        engine_time=to_duration(result.engine_ns),
        frames_dropped=min(frames_dropped, _UINT32_MAX),
        objects=[to_object(item, mask) for item in result.objects],
    )


def to_events(events: Iterable[TrackEvent], header: Header) -> Iterator[TrackEventMsg]:
    """Yield a message per event."""
    for event in events:
        yield TrackEventMsg(
            header=header,
            type=int(event.type),
            object_id=event.object_id,
            uuid=to_uuid(event.uuid),
            detail=event.detail,
        )


def _image(pixels: np.ndarray, encoding: str, header: Header) -> Image:
    height, width = pixels.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(pixels.dtype.byteorder == '>'),
        step=width * pixels.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1),
        data=to_bytes(pixels),
    )


def _label_pixels(result: TrackResult) -> np.ndarray:
    """Return the label mask as uint8, or as uint16 when a label exceeds 254."""
    highest = max((item.label for item in result.objects), default=0)
    dtype = np.uint8 if highest <= MAX_MONO8_LABEL else np.dtype('<u2')
    return result.label_mask.astype(dtype, copy=False)


def to_label_mask(result: TrackResult, header: Header) -> Image:
    """Return the label mask as mono8, or as 16UC1 when a label exceeds 254."""
    pixels = _label_pixels(result)
    return _image(pixels, 'mono8' if pixels.dtype == np.uint8 else '16UC1', header)


def to_label_png(result: TrackResult, header: Header, *, level: int) -> CompressedImage:
    """Return the label mask as a PNG that image_transport decodes.

    Args:
        result: What the engine found.
        header: Of the source image.
        level: PNG effort, 0 to 9.
    """
    pixels = _label_pixels(result)
    ok, png = cv2.imencode('.png', pixels, [cv2.IMWRITE_PNG_COMPRESSION, level])
    assert ok  # an 8 or 16 bit grey image always encodes
    form = PNG_FORMAT if pixels.dtype == np.uint8 else PNG_FORMAT_16
    return CompressedImage(header=header, format=form, data=to_bytes(png))


def to_confidence_mask(result: TrackResult, header: Header) -> Image:
    """Return, as mono8, 255 times the confidence of the object at each pixel; 0 = background."""
    table = np.zeros(int(np.iinfo(result.label_mask.dtype).max) + 1, np.uint8)
    for item in result.objects:
        table[item.label] = round(255 * item.confidence)
    return _image(table[result.label_mask], 'mono8', header)


def to_overlay(result: TrackResult, rgb: np.ndarray, header: Header) -> Image:
    """Return the image with masks painted over it, and id, state and confidence beside them.

    Args:
        result: What the engine found.
        rgb: (H, W, 3) uint8, the source image.
        header: Of the source image.
    """
    picture = overlay(rgb, result.label_mask)
    scale = max(0.4, rgb.shape[0] / 1000)
    for row, item in enumerate(_unseen_first(result.objects)):
        text = f'{item.object_id} {item.state.name} {item.confidence:.2f}'
        if item.area_px:
            place = (item.box_xywh[0], max(item.box_xywh[1] - 4, int(20 * scale)))
        else:  # nothing to write beside: a list in the corner
            place = (4, int((row + 1) * 32 * scale))
        for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(
                picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, thickness,
                cv2.LINE_AA,
            )  # fmt: skip
    return _image(picture, 'rgb8', header)


def _unseen_first(objects: Iterable[TrackedObject]) -> list[TrackedObject]:
    return sorted(objects, key=lambda item: item.area_px > 0)


def to_detections(result: TrackResult, header: Header) -> Any:
    """Return visible objects as vision_msgs/Detection2DArray; only where vision_msgs exists."""
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


def label_classes(result: TrackResult) -> dict[int, str]:
    """Return what the labels stand for: the class of the object, else its id."""
    return {item.label: item.class_id or item.object_id for item in result.objects}


def to_label_info(classes: dict[int, str], header: Header) -> Any:
    """Return vision_msgs/LabelInfo; only where vision_msgs exists."""
    class_map = [VisionClass(class_id=label, class_name=name) for label, name in classes.items()]
    return LabelInfo(header=header, class_map=class_map)


def to_annotations(result: TrackResult, header: Header) -> Any:
    """Return foxglove_msgs/ImageAnnotations; only where foxglove_msgs exists."""
    msg = ImageAnnotations()
    for mark in find_marks(result.objects, result.label_mask):
        red, green, blue = mark.color
        solid = Color(r=red, g=green, b=blue, a=1.0)
        msg.texts.append(
            TextAnnotation(
                timestamp=header.stamp, position=Point2(x=mark.text_xy[0], y=mark.text_xy[1]),
                text=mark.text, font_size=TEXT_PX, text_color=solid,
                background_color=Color(a=TEXT_BACKGROUND_OPACITY),
            )
        )  # fmt: skip
        for outline in mark.outlines:
            msg.points.append(
                PointsAnnotation(
                    timestamp=header.stamp, type=PointsAnnotation.LINE_LOOP,
                    points=[Point2(x=float(x), y=float(y)) for x, y in outline],
                    outline_color=solid, thickness=LINE_PX,
                    fill_color=Color(r=red, g=green, b=blue, a=FILL_OPACITY),
                )
            )  # fmt: skip
    return msg
