"""Write MP4 files."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import cv2
import numpy as np

from robust_vos_ros.core.errors import ConfigError


class VideoFile:
    """An MP4 file; a context manager.

    Args:
        path: The file.
        size_wh: Width and height of its pictures.
        rate_hz: Pictures per second.

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
                f'OpenCV cannot write {path}; is the folder there, and has this OpenCV mp4v?'
            )

    def __enter__(self) -> VideoFile:
        """Do nothing: it is open."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file."""
        self._writer.release()

    def write(self, bgr: np.ndarray) -> None:
        """Append a (H, W, 3) uint8 BGR picture; one of another size is resized."""
        if bgr.shape[1::-1] != self._size_wh:
            bgr = cv2.resize(bgr, self._size_wh, interpolation=cv2.INTER_AREA)
        self._writer.write(bgr)
