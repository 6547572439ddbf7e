"""Convert core results to messages of given classes: of rclpy in the node, of rosbags for bags.

ROS is not imported.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from robust_vos_ros.core.types import TrackedObject, TrackEvent, TrackResult
from robust_vos_ros.ros_types.images import NS_PER_S

PNG_FORMAT = 'mono8; png compressed '  # image_transport's, with the trailing blank
PNG_FORMAT_16 = '16UC1; png compressed '
MAX_MONO8_LABEL = 254  # 255 means `unlabelled` to many tools
_UINT32_MAX = 2**32 - 1


class MessageMaker:
    """Makes messages.

    Args:
        classes: Message classes that take their fields as keywords, by names such as
            `std_msgs/msg/Header`.
        to_bytes: Converts an array or bytes to the content of a uint8[] field.
    """

    def __init__(
        self,
        classes: Mapping[str, Callable[..., Any]],
        to_bytes: Callable[[np.ndarray | bytes], Any],
    ) -> None:
        self._classes = classes
        self._to_bytes = to_bytes

    def to_time(self, stamp_ns: int) -> Any:
        """Return nanoseconds as builtin_interfaces/Time."""
        return self._stamp('Time', stamp_ns)

    def to_duration(self, duration_ns: int) -> Any:
        """Return nanoseconds as builtin_interfaces/Duration."""
        return self._stamp('Duration', duration_ns)

    def to_uuid(self, value: uuid.UUID) -> Any:
        """Return a unique_identifier_msgs/UUID."""
        values = np.frombuffer(value.bytes, np.uint8)
        return self._classes['unique_identifier_msgs/msg/UUID'](uuid=values)

    def to_header(self, result: TrackResult) -> Any:
        """Return a header equal to that of the source image."""
        stamp = self.to_time(result.stamp_ns)
        return self._classes['std_msgs/msg/Header'](stamp=stamp, frame_id=result.frame_id)

    def to_object(self, item: TrackedObject, label_mask: np.ndarray | None = None) -> Any:
        """Return one object, with its run lengths if the label mask is given.

        Args:
            item: The object.
            label_mask: (H, W) labels; None leaves `rle` empty.
        """
        x, y, width, height = item.box_xywh
        rle = b'' if label_mask is None else encode_rle(label_mask == item.label)
        return self._classes['robust_vos/msg/TrackedObject'](
            object_id=item.object_id,
            uuid=self.to_uuid(item.uuid),
            label=item.label,
            class_id=item.class_id,
            state=int(item.state),
            confidence=item.confidence,
            existence_probability=item.existence_probability,
            mask_quality=item.mask_quality,
            gate_activity=item.gate_activity,
            memory_updated=item.memory_updated,
            path_switched=item.path_switched,
            last_seen=self.to_time(item.last_seen_ns),
            age=self.to_duration(item.age_ns),
            frames_since_seen=min(item.frames_since_seen, _UINT32_MAX),
            flags=int(item.flags),
            roi=self._classes['sensor_msgs/msg/RegionOfInterest'](
                x_offset=x, y_offset=y, width=width, height=height, do_rectify=False
            ),
            centroid=self._classes['geometry_msgs/msg/Point'](
                x=item.centroid_xy[0], y=item.centroid_xy[1], z=0.0
            ),
            area_px=item.area_px,
            rle=self._to_bytes(rle),
        )

    def to_object_array(
        self,
        result: TrackResult,
        header: Any,
        *,
        latency_ns: int,
        engine_ns: int,
        frames_dropped: int,
        rle: bool,
    ) -> Any:
        """Return all objects of a result.

        Args:
            result: Of the engine.
            header: Of the source image, used without a copy.
            latency_ns: From receiving the image until now, in nanoseconds.
            engine_ns: Time spent in the tracker, in nanoseconds.
            frames_dropped: Since activation.
            rle: Whether to fill in the run lengths.
        """
        height, width = result.label_mask.shape
        mask = result.label_mask if rle else None
        return self._classes['robust_vos/msg/TrackedObjectArray'](
            header=header,
            height=height,
            width=width,
            frame_index=result.frame_index,
            latency=self.to_duration(latency_ns),
            engine_time=self.to_duration(engine_ns),
            frames_dropped=min(frames_dropped, _UINT32_MAX),
            objects=[self.to_object(item, mask) for item in result.objects],
        )

    def to_events(self, events: Iterable[TrackEvent], header: Any) -> Iterator[Any]:
        """Yield one message per event."""
        for event in events:
            yield self._classes['robust_vos/msg/TrackEvent'](
                header=header,
                type=int(event.type),
                object_id=event.object_id,
                uuid=self.to_uuid(event.uuid),
                detail=event.detail,
            )

    def to_image(self, pixels: np.ndarray, encoding: str, header: Any) -> Any:
        """Return (H, W[, C]) pixels as sensor_msgs/Image."""
        height, width = pixels.shape[:2]
        return self._classes['sensor_msgs/msg/Image'](
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=int(pixels.dtype.byteorder == '>'),
            step=width * pixels.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1),
            data=self._to_bytes(pixels),
        )

    def to_label_mask(self, result: TrackResult, header: Any) -> Any:
        """Return the label mask as mono8, or as 16UC1 when a label exceeds 254."""
        pixels = _label_pixels(result)
        return self.to_image(pixels, 'mono8' if pixels.dtype == np.uint8 else '16UC1', header)

    def to_label_png(self, result: TrackResult, header: Any, *, level: int) -> Any:
        """Return the label mask as a PNG that image_transport decodes.

        Args:
            result: Of the engine.
            header: Of the source image.
            level: PNG compression level, 0 to 9.
        """
        return self.to_png(_label_pixels(result), header, level=level)

    def to_png(self, pixels: np.ndarray, header: Any, *, level: int) -> Any:
        """Return a mask as a PNG that image_transport decodes.

        Args:
            pixels: (H, W) uint8 or uint16.
            header: Of the source image.
            level: PNG compression level, 0 to 9.
        """
        # For masks, this strategy halves the size compared to the default one.
        strategy = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
        ok, png = cv2.imencode('.png', pixels, [cv2.IMWRITE_PNG_COMPRESSION, level, *strategy])
        assert ok  # encoding an 8 or 16 bit grey image does not fail
        form = PNG_FORMAT if pixels.dtype == np.uint8 else PNG_FORMAT_16
        return self._classes['sensor_msgs/msg/CompressedImage'](
            header=header, format=form, data=self._to_bytes(png)
        )

    def _stamp(self, name: str, value_ns: int) -> Any:
        sec, nanosec = divmod(value_ns, NS_PER_S)
        return self._classes[f'builtin_interfaces/msg/{name}'](sec=sec, nanosec=nanosec)


def _label_pixels(result: TrackResult) -> np.ndarray:
    """Return the label mask as uint8, or as uint16 when a label exceeds 254."""
    highest = max((item.label for item in result.objects), default=0)
    dtype = np.uint8 if highest <= MAX_MONO8_LABEL else np.dtype('<u2')
    return result.label_mask.astype(dtype, copy=False)


def encode_rle(mask: np.ndarray) -> bytes:
    """Return the compressed COCO run lengths (`counts`) of an (H, W) bool mask."""
    encoded: bytes = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))['counts']
    return encoded
