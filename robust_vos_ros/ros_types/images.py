"""Convert ROS images, live or from bags, to frames, after a complete check.

Messages are decoded with NumPy and OpenCV, without cv_bridge: for a wrong `step` it returns wrong
pixels without an error, for a short buffer it raises a bare TypeError, and with NumPy 2 it cannot
read big-endian images. The node can use it optionally (node/bridge.py).

Messages are accessed by attribute, so any object with the fields will do, and ROS is not imported.
"""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import PIL.Image

from robust_vos_ros.core.errors import ImageError
from robust_vos_ros.core.settings import Scale16Settings
from robust_vos_ros.core.types import Frame

NS_PER_S = 1_000_000_000
JPEG_START, JPEG_END = b'\xff\xd8', b'\xff\xd9'
JPEG_TAIL = 4096  # cameras append padding after the end marker
# A PNG of a megabyte can decode to gigabytes. An 8K image has 33 million pixels.
MAX_DECODED_PIXELS = 64_000_000
MAX_FRAME_ID = 256  # characters; every result carries it
_MAX_QUOTED = 40  # characters of a sender's text in a message
# Formats that both PIL, which reads the size, and OpenCV, which decodes, detect.
COMPRESSED_FORMATS = ('JPEG', 'PNG', 'WEBP', 'TIFF', 'BMP', 'PPM', 'JPEG2000')
FULL_RANGE = Scale16Settings()

# A checked sensor_msgs/Image -> (H, W, 3) uint8 RGB, or None if not supported.
Convert = Callable[[Any], np.ndarray | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Encoding:
    """Memory layout of a ROS encoding.

    Attributes:
        channels: Values per pixel in a row (of the luma plane for nv12 and nv21).
        bits: 8 or 16 per value.
        to_rgb: cv2.COLOR_* code to RGB, or None for RGB itself.
        planar: nv12 and nv21: a half-height chroma plane follows the luma plane.
    """

    channels: int
    bits: int
    to_rgb: int | None
    planar: bool = False


# OpenCV names a Bayer pattern by the second and third pixel of the second row, ROS by the first
# four pixels.
_BAYER = {
    'rggb': cv2.COLOR_BayerBG2RGB,
    'bggr': cv2.COLOR_BayerRG2RGB,
    'gbrg': cv2.COLOR_BayerGR2RGB,
    'grbg': cv2.COLOR_BayerGB2RGB,
}
_UYVY = Encoding(2, 8, cv2.COLOR_YUV2RGB_UYVY)
_YUYV = Encoding(2, 8, cv2.COLOR_YUV2RGB_YUY2)
ENCODINGS = {
    'rgb8': Encoding(3, 8, None),
    'bgr8': Encoding(3, 8, cv2.COLOR_BGR2RGB),
    'rgba8': Encoding(4, 8, cv2.COLOR_RGBA2RGB),
    'bgra8': Encoding(4, 8, cv2.COLOR_BGRA2RGB),
    'mono8': Encoding(1, 8, cv2.COLOR_GRAY2RGB),
    'mono16': Encoding(1, 16, cv2.COLOR_GRAY2RGB),
    # These encodings do not define colours; three channels are BGR by OpenCV's convention.
    '8UC1': Encoding(1, 8, cv2.COLOR_GRAY2RGB),
    '8UC3': Encoding(3, 8, cv2.COLOR_BGR2RGB),
    '8UC4': Encoding(4, 8, cv2.COLOR_BGRA2RGB),
    '16UC1': Encoding(1, 16, cv2.COLOR_GRAY2RGB),
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUYV,
    'yuyv': _YUYV,
    'nv12': Encoding(1, 8, cv2.COLOR_YUV2RGB_NV12, planar=True),
    'nv21': Encoding(1, 8, cv2.COLOR_YUV2RGB_NV21, planar=True),
    **{f'bayer_{order}8': Encoding(1, 8, code) for order, code in _BAYER.items()},
    **{f'bayer_{order}16': Encoding(1, 16, code) for order, code in _BAYER.items()},
}


def stamp_to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return stamp.sec * NS_PER_S + stamp.nanosec


def is_compressed(msg: Any) -> bool:
    """Whether a message is a sensor_msgs/CompressedImage, not a sensor_msgs/Image."""
    return hasattr(msg, 'format')


def check_image(msg: Any) -> None:
    """Check the metadata and the size of the data of an image.

    Args:
        msg: sensor_msgs/Image or CompressedImage.

    Raises:
        ImageError: The image is inconsistent or its encoding is not supported.
    """
    if len(msg.header.frame_id) > MAX_FRAME_ID:
        raise ImageError(
            f'expected a frame_id of at most {MAX_FRAME_ID} characters, got '
            f'{len(msg.header.frame_id)}; correct the camera driver'
        )
    if not is_compressed(msg):
        _check_raw(msg)
    elif len(msg.data) == 0:
        raise ImageError(
            f'compressed image (format {_quote(msg.format)}) without data; check the camera driver'
        )


def _quote(text: str) -> str:
    """Return a sender's text for a message, at most `_MAX_QUOTED` characters of it."""
    return repr(text[:_MAX_QUOTED])


def _check_raw(msg: Any) -> None:
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None:
        raise ImageError(
            f'encoding {_quote(msg.encoding)} is not supported; expected one of '
            f'{", ".join(ENCODINGS)}. Convert the image, e.g. with image_proc'
        )
    height, width, step = msg.height, msg.width, msg.step
    if height == 0 or width == 0:
        raise ImageError(f'image of {width} x {height} pixels; expected at least 1 x 1')
    if encoding.planar and (height % 2 or width % 2):
        raise ImageError(f'{msg.encoding} needs an even width and height, got {width} x {height}')
    if encoding.channels == 2 and width % 2:
        raise ImageError(f'{msg.encoding} needs an even width, got {width}')
    row_bytes = width * encoding.channels * encoding.bits // 8
    if step < row_bytes:
        raise ImageError(
            f'step is {step}, but a row of {width} {msg.encoding} pixels has {row_bytes} bytes; '
            'correct width, step or encoding in the camera driver'
        )
    rows = height * 3 // 2 if encoding.planar else height
    if len(msg.data) < step * rows:
        raise ImageError(
            f'data has {len(msg.data)} bytes, but {rows} rows of step {step} need {step * rows}; '
            'the image is cut off'
        )
    if height * width > MAX_DECODED_PIXELS:
        raise _too_large('image', width, height)


def to_frame(
    msg: Any, scale_16bit: Scale16Settings = FULL_RANGE, convert: Convert | None = None
) -> Frame:
    """Convert an image message to a frame.

    rgb8 is not copied: the frame shares the message's memory.

    Args:
        msg: sensor_msgs/Image or CompressedImage (JPEG, PNG, else of COMPRESSED_FORMATS).
        scale_16bit: How 16-bit values become 8-bit ones.
        convert: Converter that is tried first for raw images.

    Returns:
        A frame with rgb (H, W, 3) uint8, the message's stamp and frame_id.

    Raises:
        ImageError: The message is inconsistent, of an unknown encoding, or damaged.
    """
    check_image(msg)
    if is_compressed(msg):
        rgb = _decode(msg, scale_16bit)
    elif convert is None or (rgb := convert(msg)) is None:
        rgb = _raw_to_rgb(msg, scale_16bit)
    return Frame(rgb, stamp_to_ns(msg.header.stamp), msg.header.frame_id)


def read_values(msg: Any) -> np.ndarray:
    """Return the values of a checked sensor_msgs/Image, (rows, width * channels) uint8 or uint16.

    For nv12 and nv21, half as many rows of chroma follow.
    """
    encoding = ENCODINGS[msg.encoding]
    rows = msg.height * 3 // 2 if encoding.planar else msg.height
    data = np.frombuffer(msg.data, np.uint8, count=msg.step * rows).reshape(rows, msg.step)
    values = data[:, : msg.width * encoding.channels * encoding.bits // 8]
    if encoding.bits == 16:
        values = values.view('>u2' if msg.is_bigendian else '<u2').astype(np.uint16, copy=False)
    return values


def _raw_to_rgb(msg: Any, scale_16bit: Scale16Settings) -> np.ndarray:
    encoding = ENCODINGS[msg.encoding]
    values = read_values(msg)
    if not encoding.planar:
        shape = (msg.height, msg.width, encoding.channels)
        values = values.reshape(shape) if encoding.channels > 1 else values
    return _to_rgb8(values, encoding.to_rgb, scale_16bit)


def _to_rgb8(values: np.ndarray, code: int | None, scale_16bit: Scale16Settings) -> np.ndarray:
    """Convert (H, W[, C]) uint8 or uint16 to (H, W, 3) uint8."""
    if values.dtype == np.uint16:
        values = scale_to_8bit(values, scale_16bit)
    return values if code is None else cv2.cvtColor(values, code)


def scale_to_8bit(values: np.ndarray, settings: Scale16Settings) -> np.ndarray:
    """Scale uint16 of any shape to uint8: 256 equal steps from low to high.

    For the full range, these are the upper eight bits.
    """
    low, high = settings.low, settings.high
    if settings.method == 'percentiles':
        shares = np.bincount(values.ravel(), minlength=1 << 16).cumsum() / values.size * 100
        low = int(np.searchsorted(shares, settings.percentile_low, side='right'))
        high = int(np.searchsorted(shares, settings.percentile_high))
    steps = (np.arange(1 << 16) - low) * 256 // (high + 1 - low)
    table: np.ndarray = steps.clip(0, 255).astype(np.uint8)
    return table[values]


def _decode(msg: Any, scale_16bit: Scale16Settings) -> np.ndarray:
    data = np.frombuffer(msg.data, np.uint8)
    if data[:2].tobytes() == JPEG_START and JPEG_END not in data[-JPEG_TAIL:].tobytes():
        # OpenCV would fill the missing part with grey.
        raise ImageError(f'JPEG image of {data.size} bytes without an end; it is cut off')
    _check_num_pixels(msg)
    try:
        # IMREAD_UNCHANGED: not rotated by an EXIF tag, so that pixels keep their positions.
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f'cannot decode the {_quote(msg.format)} image: {error.err}') from error
    if pixels is None:
        raise _unreadable(msg, 'is damaged or not an image')
    if pixels.dtype not in (np.uint8, np.uint16):
        raise _unreadable(msg, f'holds {pixels.dtype} values')
    return _decoded_to_rgb(pixels, msg.format, scale_16bit)


def _unreadable(msg: Any, what: str) -> ImageError:
    return ImageError(
        f'compressed image of {len(msg.data)} bytes with format {_quote(msg.format)} {what}; '
        'expected JPEG or PNG of 8 or 16 bits'
    )


def _check_num_pixels(msg: Any) -> None:
    """Raise ImageError unless the header of a compressed image gives a size below the limit."""
    try:
        # Reads the header only.
        with PIL.Image.open(io.BytesIO(msg.data), formats=COMPRESSED_FORMATS) as image:
            width, height = image.size
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageError(f'compressed image of too many pixels: {error}') from error
    except Exception as error:  # damaged bytes raise many types
        # OpenCV could decode it, whatever its size.
        raise _unreadable(msg, 'is damaged or not an image: its size cannot be read') from error
    if width * height > MAX_DECODED_PIXELS:
        raise _too_large('compressed image', width, height)


def _too_large(what: str, width: int, height: int) -> ImageError:
    return ImageError(
        f'{what} of {width} x {height} pixels; expected at most '
        f'{MAX_DECODED_PIXELS / 1e6:.0f} million. Send smaller images'
    )


def _decoded_to_rgb(pixels: np.ndarray, form: str, scale_16bit: Scale16Settings) -> np.ndarray:
    if pixels.ndim == 2:
        original = ENCODINGS.get(re.split(r'[;\s]', form, maxsplit=1)[0])
        if original is not None and original.to_rgb in _BAYER.values():
            return _to_rgb8(pixels, original.to_rgb, scale_16bit)
        return _to_rgb8(pixels, cv2.COLOR_GRAY2RGB, scale_16bit)
    # image_transport gives the channel order in `format`; without one it is BGR.
    stored_rgb = 'compressed rgb' in form
    codes = {
        3: None if stored_rgb else cv2.COLOR_BGR2RGB,
        4: cv2.COLOR_RGBA2RGB if stored_rgb else cv2.COLOR_BGRA2RGB,
    }
    return _to_rgb8(pixels, codes[pixels.shape[2]], scale_16bit)
