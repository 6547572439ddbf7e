"""Raw images by cv_bridge (`input.cv_bridge`), for the very pixels of other ROS programs.

`ros_types.images` checks the messages first, since cv_bridge returns wrong pixels where `step` is
wrong, and converts by itself what cv_bridge does not know.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from robust_vos_ros.core.errors import ConfigError, ImageError
from robust_vos_ros.ros_types.images import ENCODINGS, Convert

# Known to cv_bridge by the same name and with colours. For it 8UC3 has none, nv12 is unknown, and
# values of 16 bits are scaled by `input.scale_16bit` here.
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
        bridge.encoding_to_cvtype2('rgb8')  # by the compiled part, which its import goes without
    except Exception as error:  # whatever an extension for another NumPy raises
        raise ConfigError(
            f'input.cv_bridge is on, but cv_bridge does not work here ({type(error).__name__}: '
            f'{error}); install ros-$ROS_DISTRO-cv-bridge and a NumPy that it was compiled for, '
            'or switch it off'
        ) from error

    def convert(msg: Any) -> np.ndarray | None:
        # It reckons in whole pixels: of rows that end within one it would return wrong pixels.
        if msg.encoding not in BRIDGED or msg.step % ENCODINGS[msg.encoding].channels:
            return None
        try:
            return np.ascontiguousarray(bridge.imgmsg_to_cv2(msg, 'rgb8'))
        except Exception as error:  # whatever a library makes of a message
            raise ImageError(f'cv_bridge: no {msg.encoding} to rgb8: {error}') from error

    return convert
