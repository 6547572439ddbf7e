"""Overlays of a demo run as a video and as a contact sheet."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np

from robust_vos_ros.core.types import ObjectState
from robust_vos_ros.demo.records import FrameRecord, ObjectRecord
from robust_vos_ros.video import VideoFile
from robust_vos_ros.visualization import label_colors

_ROWS = _COLUMNS = 4
_TILE_WIDTH = 440
_LINE_HEIGHT = 26
_GAP = 6
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def write_video(
    path: Path, frames: Sequence[FrameRecord], *, num_sent: int, rate_hz: float
) -> None:
    """Write the overlays as an MP4 at the camera's rate; a dropped frame repeats the one before.

    Raises:
        ConfigError: OpenCV cannot write the file.
    """
    overlays = {frame.index: frame.overlay_jpeg for frame in frames if frame.overlay_jpeg}
    if not overlays:
        return
    current = _decode(overlays[min(overlays)])
    with VideoFile(path, (current.shape[1], current.shape[0]), rate_hz) as video:
        for index in range(num_sent):
            if index in overlays:
                current = _decode(overlays[index])
            video.write(current)


def pick_frames(
    frames: Sequence[FrameRecord], hidden: Collection[int] = (), *, count: int = _ROWS * _COLUMNS
) -> list[FrameRecord]:
    """Pick frames over the whole run, and before, during and after occlusions.

    Args:
        frames: Processed frames in order of time.
        hidden: Indices of frames in which an object is known to be hidden. Frames in which an
            object has no mask, or is OCCLUDED or LOST, are used after those.
        count: Number of frames.
    """
    gone = [frame.index in hidden for frame in frames]
    unseen = [any(_is_unseen(item) for item in frame.objects) for frame in frames]
    chosen = {0, len(frames) - 1}
    for start, end in _spans(gone) + _spans(unseen):
        around = {max(start - 1, 0), (start + end) // 2, min(end + 1, len(frames) - 1)}
        if len(chosen | around) <= count // 2:
            chosen |= around
    # Then always the middle of the widest gap, for even spacing.
    while len(chosen) < min(count, len(frames)):
        known = sorted(chosen)
        low, high = max(itertools.pairwise(known), key=lambda pair: pair[1] - pair[0])
        chosen.add((low + high) // 2)
    return [frames[place] for place in sorted(chosen)]


def _is_unseen(item: ObjectRecord) -> bool:
    return item.area_px == 0 or item.state in {ObjectState.OCCLUDED, ObjectState.LOST}


def _spans(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """Return the first and last index of every run of True, the longest run first."""
    spans = []
    start = 0
    for flag, group in itertools.groupby(flags):
        end = start + len(list(group)) - 1
        if flag:
            spans.append((start, end))
        start = end + 1
    return sorted(spans, key=lambda span: span[0] - span[1])


def make_contact_sheet(frames: Sequence[FrameRecord], hidden: Collection[int] = ()) -> np.ndarray:
    """Draw overlays in a grid, each with its time and its objects.

    Args:
        frames: Processed frames in order of time, at least one of them with an overlay.
        hidden: As in `pick_frames`.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    with_overlay = [frame for frame in frames if frame.overlay_jpeg]
    start_ns = frames[0].stamp_ns
    picked = pick_frames(with_overlay, hidden)
    tiles = [_draw_tile(frame, frame.stamp_ns - start_ns) for frame in picked]
    height = max(tile.shape[0] for tile in tiles)
    blank = np.full((height, _TILE_WIDTH, 3), 32, np.uint8)
    sheet = []
    for row in range(0, len(tiles), _COLUMNS):
        cells = [blank.copy() for _ in range(_COLUMNS)]
        for cell, tile in zip(cells, tiles[row : row + _COLUMNS], strict=False):
            cell[: tile.shape[0]] = tile
        sheet.append(np.hstack([np.pad(cell, ((0, _GAP), (0, _GAP), (0, 0))) for cell in cells]))
    return np.vstack(sheet)


def _draw_tile(frame: FrameRecord, time_ns: int) -> np.ndarray:
    picture = cv2.cvtColor(_decode(frame.overlay_jpeg or b''), cv2.COLOR_BGR2RGB)
    height = round(_TILE_WIDTH * picture.shape[0] / picture.shape[1])
    picture = cv2.resize(picture, (_TILE_WIDTH, height), interpolation=cv2.INTER_AREA)
    caption = np.full((_LINE_HEIGHT * (1 + len(frame.objects)) + 6, _TILE_WIDTH, 3), 32, np.uint8)
    title = f'frame {frame.index}   {time_ns / 1e9:.2f} s'
    _write(caption, title, (8, 19), (255, 255, 255))
    colors = label_colors()
    for line, item in enumerate(frame.objects, start=1):
        y = line * _LINE_HEIGHT
        color = tuple(int(value) for value in colors[item.label])
        cv2.rectangle(caption, (8, y + 5), (22, y + 19), color, cv2.FILLED)
        _write(caption, _describe(item), (30, y + 19), (255, 255, 255))
    return np.vstack([picture, caption])


def _describe(item: ObjectRecord) -> str:
    mask = '' if item.area_px else '  no mask'
    return f'{item.object_id}  {item.state.name}  {item.confidence:.2f}{mask}'


def _write(
    image: np.ndarray, text: str, place: tuple[int, int], color: tuple[int, int, int]
) -> None:
    cv2.putText(image, text, place, _FONT, 0.55, color, 1, cv2.LINE_AA)


def _decode(jpeg: bytes) -> np.ndarray:
    """Return (H, W, 3) uint8 BGR."""
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
