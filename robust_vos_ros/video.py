"""Write MP4 files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from robust_vos_ros.core.errors import ConfigError


class VideoFile:
    """An MP4 file; use it as a context manager.

    Args:
        path: The file.
        size_wh: Width and height of its frames in pixels.
        rate_hz: Frames per second.

    Raises:
        ConfigError: OpenCV cannot write it.
    """

    def __init__(self, path: Path, size_wh: tuple[int, int], rate_hz: float) -> None:
        self._size_wh = size_wh
        self._writer = cv2.VideoWriter(
            str(path), cv2.VideoWriter.fourcc(*'mp4v'), rate_hz, size_wh
        )
        if not self._writer.isOpened():
            raise ConfigError(
                f'{path}: expected OpenCV to write an MP4 file, it cannot; check that the folder '
                'exists and that this OpenCV has the codec mp4v'
            )

    def __enter__(self) -> VideoFile:
        """Return the file, which is open."""
        return self

    def __exit__(self, *_: object) -> None:
        """Finish the file."""
        self._writer.release()

    def write(self, bgr: np.ndarray) -> None:
        """Append an (H, W, 3) uint8 BGR frame; one of another size is resized."""
        if bgr.shape[1::-1] != self._size_wh:
            bgr = cv2.resize(bgr, self._size_wh, interpolation=cv2.INTER_AREA)
        self._writer.write(bgr)
