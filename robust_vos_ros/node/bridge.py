"""Convert raw images by cv_bridge (`input.cv_bridge`), as other nodes do.

`ros_types.images` checks the messages first, since cv_bridge returns wrong pixels for a wrong
`step`, and converts the encodings that cv_bridge does not support.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robust_vos_ros.core.errors import ConfigError, ImageError
from robust_vos_ros.ros_types.images import ENCODINGS, Convert

# Encodings that cv_bridge converts to rgb8. It does not for 8UC3 and nv12; 16-bit values are
# scaled by `input.scale_16bit` instead.
BRIDGED = (
    'rgb8', 'bgr8', 'rgba8', 'bgra8', 'mono8', 'yuv422', 'yuv422_yuy2',
    'bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8', 'bayer_grbg8',
)  # fmt: skip


def load_converter() -> Convert:
    """Return a converter of checked messages by cv_bridge.

    Raises:
        ConfigError: cv_bridge is not installed, or its compiled part does not fit this Python.
    """
    try:
        from cv_bridge import CvBridge  # noqa: PLC0415  an extra, and slow to import

        bridge = CvBridge()
        bridge.encoding_to_cvtype2('rgb8')  # loads the compiled part
    except Exception as error:  # an extension for another NumPy raises arbitrary errors
        raise ConfigError(
            f'input.cv_bridge is on, but cv_bridge does not work here ({type(error).__name__}: '
            f'{error}); install ros-$ROS_DISTRO-cv-bridge and a NumPy that it was compiled for, '
            'or switch it off'
        ) from error

    def convert(msg: Any) -> np.ndarray | None:
        # cv_bridge assumes whole pixels per row; other steps give wrong pixels.
        if msg.encoding not in BRIDGED or msg.step % ENCODINGS[msg.encoding].channels:
            return None
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(msg, 'rgb8'))
        except Exception as error:  # cv_bridge raises many types
            raise ImageError(f'cv_bridge: no {msg.encoding} to rgb8: {error}') from error

    return convert
