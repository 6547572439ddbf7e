"""Convert ROS images to images for a browser; messages are accessed by attribute."""

from __future__ import annotations

import collections
import dataclasses
import io
from typing import Any

import cv2
import PIL.Image

from robust_vos_ros.console.source import Stamp
from robust_vos_ros.core.errors import ImageError
from robust_vos_ros.ros_types.images import is_compressed, to_frame

# First bytes of formats that every browser shows; others are converted to JPEG.
_SHOWN_AS_IT_IS = (b'\xff\xd8\xff', b'\x89PNG\r\n\x1a\n')
_ORIENTATION = 0x0112
MAX_KEPT, MAX_KEPT_BYTES = 45, 128_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """An encoded image.

    Attributes:
        data: A JPEG, or a PNG.
        size: Width and height of the source image in pixels.
    """

    data: bytes
    size: tuple[int, int]


def make_picture(msg: Any, *, max_width: int, quality: int) -> Picture:
    """Encode a sensor_msgs/Image or CompressedImage for a browser.

    Args:
        msg: The image.
        max_width: Wider images are reduced to this width in pixels.
        quality: Of the JPEG, 0 to 100.

    Raises:
        ImageError: The image cannot be decoded.
    """
    size = _size_if_plain(msg) if is_compressed(msg) else None
    if size is not None and size[0] <= max_width:
        return Picture(bytes(msg.data), size)
    rgb = to_frame(msg).rgb
    height, width = rgb.shape[:2]
    if width > max_width:
        shape = (max_width, max(1, round(height * max_width / width)))
        rgb = cv2.resize(rgb, shape, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    ok, jpeg = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ImageError(f'cannot make a JPEG of an image of {width} x {height} pixels')
    return Picture(jpeg.tobytes(), (width, height))


def _size_if_plain(msg: Any) -> tuple[int, int] | None:
    """Return width and height of a compressed image that needs no conversion, else None."""
    data = bytes(msg.data)
    if not data.startswith(_SHOWN_AS_IT_IS) or 'compressed rgb' in msg.format:
        return None
    try:
        with PIL.Image.open(io.BytesIO(data), formats=('JPEG', 'PNG')) as image:
            # Not with 16 bits, transparency, or an EXIF rotation, which nodes decode differently.
            plain = image.mode in {'RGB', 'L'} and image.getexif().get(_ORIENTATION, 1) == 1
            return image.size if plain else None
    except Exception as error:  # damaged bytes raise many types
        raise ImageError(f'a compressed image of {len(data)} bytes is damaged') from error


class RecentImages:
    """The newest messages of an image topic by stamp, bounded in number and bytes."""

    def __init__(self) -> None:
        self._messages: collections.OrderedDict[Stamp, Any] = collections.OrderedDict()
        self._bytes = 0

    def add(self, msg: Any) -> None:
        """Add a message; drop the oldest ones beyond the bounds."""
        old = self._messages.pop(stamp_of(msg), None)
        self._bytes += len(msg.data) - (len(old.data) if old is not None else 0)
        self._messages[stamp_of(msg)] = msg
        while len(self._messages) > 1 and (
            len(self._messages) > MAX_KEPT or self._bytes > MAX_KEPT_BYTES
        ):
            _, dropped = self._messages.popitem(last=False)
            self._bytes -= len(dropped.data)

    def find(self, stamp: Stamp) -> Any | None:
        """Return the message with exactly this stamp, or None."""
        return self._messages.get(stamp)

    def newest(self) -> Any | None:
        """Return the message that arrived last, or None."""
        return next(reversed(self._messages.values()), None)


def stamp_of(msg: Any) -> Stamp:
    """Return the stamp in the header of a message."""
    return msg.header.stamp.sec, msg.header.stamp.nanosec
