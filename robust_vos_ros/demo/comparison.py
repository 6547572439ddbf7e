"""Overlays of several runs of the same clip, side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.demo.records import Recording
from robust_vos_ros.video import VideoFile

_TILE_WIDTH = 640
_SHEET_ROWS = 6
_BAR = 28


def write_side_by_side(out: Path, recordings: dict[str, Recording], *, rate_hz: float) -> None:
    """Write side_by_side.mp4, and side_by_side.png with six frames of it.

    Args:
        out: Folder for both.
        recordings: By title.
        rate_hz: Images per second of the clip.

    Raises:
        ConfigError: No frame has an overlay in all runs, or OpenCV cannot write the video.
    """
    runs = {
        title: {f.index: f.overlay_jpeg for f in recording.frames if f.overlay_jpeg}
        for title, recording in recordings.items()
    }
    common = sorted(set.intersection(*(set(frames) for frames in runs.values())))
    if not common:
        raise ConfigError('expected frames with an overlay in all runs, got none; see node.log')
    rows = [_draw_row(runs, index) for index in common]
    size_wh = rows[0].shape[1], rows[0].shape[0]
    with VideoFile(out / 'side_by_side.mp4', size_wh, rate_hz) as video:
        for row in rows:
            video.write(row)
    picked = np.linspace(0, len(rows) - 1, min(_SHEET_ROWS, len(rows))).round().astype(int)
    cv2.imwrite(str(out / 'side_by_side.png'), np.vstack([rows[i] for i in picked]))


def _draw_row(runs: dict[str, dict[int, bytes]], index: int) -> np.ndarray:
    """Return one frame of all runs as (h, w, 3) uint8 BGR."""
    tiles = []
    for title, frames in runs.items():
        picture = cv2.imdecode(np.frombuffer(frames[index], np.uint8), cv2.IMREAD_COLOR)
        height = round(_TILE_WIDTH * picture.shape[0] / picture.shape[1]) // 2 * 2
        tile = cv2.resize(picture, (_TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
        bar = np.full((_BAR, _TILE_WIDTH, 3), 32, np.uint8)
        text = f'{title}, frame {index}'
        cv2.putText(bar, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255,) * 3, 1, cv2.LINE_AA)
        tiles.append(np.vstack([bar, tile]))
    return np.hstack(tiles)
