"""Clips that the demo's camera plays: a generated clip with ground truth, or a video file."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.demo import scene
from robust_vos_ros.demo.depth import render_depth

# An object counts as visible if at least this share of its area is.
VISIBLE_SHARE = 0.25
MAX_WIDTH = 1280


@dataclasses.dataclass(frozen=True, slots=True)
class Truth:
    """Ground truth of a frame of a generated clip.

    Attributes:
        masks: The (H, W) bool mask of the visible part of each object, by object_id.
        visible: The object_ids of objects of which at least `VISIBLE_SHARE` is visible.
        positions: The (3,) position of the visible part of each object in metres, in the optical
            frame of the camera, by object_id; empty without depth.
    """

    masks: dict[str, np.ndarray]
    visible: frozenset[str]
    positions: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class ClipFrame:
    """One frame of a clip.

    Attributes:
        rgb: (H, W, 3) uint8.
        truth: None if not known.
        depth: (H, W) uint16 in millimetres, None if the clip has no depth.
    """

    rgb: np.ndarray
    truth: Truth | None = None
    depth: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """A clip to play.

    Attributes:
        prompts: Prompts in the first frame.
        frames: Returns an iterator over the frames, always the same ones.
    """

    name: str
    size_hw: tuple[int, int]
    prompts: tuple[Prompt, ...]
    frames: Callable[[], Iterator[ClipFrame]]


def generated_clip(max_frames: int = scene.NUM_FRAMES, *, depth: bool = False) -> Clip:
    """Return the generated clip: a fish (box) that swims behind a rock, and a starfish (clicks).

    Args:
        max_frames: Most frames of the clip.
        depth: Whether frames have depth, and their ground truth positions.
    """
    first = scene.Scene().render(0)
    ys, xs = np.nonzero(first.alphas[scene.FISH] > 0.5)
    box = np.array([xs.min() - 3, ys.min() - 3, xs.max() + 4, ys.max() + 4], np.float32)
    star_y, star_x = (float(v.mean()) for v in np.nonzero(first.alphas[scene.STAR] > 0.5))
    # On the disc, on the upper arm, and on the sand beside an arm.
    points = np.array([(0, 0), (0, -42), (58, 34)], np.float32)
    points += (star_x, star_y)
    prompts = (
        Prompt(scene.FISH, box=box, class_id='fish'),
        Prompt(
            scene.STAR,
            points=points,
            point_labels=np.array([1, 1, 0], np.int32),
            class_id='starfish',
        ),
    )

    def frames() -> Iterator[ClipFrame]:
        drawn = scene.Scene()
        for index in range(min(max_frames, scene.NUM_FRAMES)):
            view = drawn.render(index)
            visible = {
                name for name, share in view.visible_share.items() if share >= VISIBLE_SHARE
            }
            masks = {name: alpha > 0.5 for name, alpha in view.alphas.items()}
            millimetres, positions = render_depth(index, view) if depth else (None, {})
            yield ClipFrame(view.rgb, Truth(masks, frozenset(visible), positions), millimetres)

    return Clip('generated', scene.SIZE_HW, prompts, frames)


def video_clip(
    path: Path,
    *,
    box: tuple[float, float, float, float] | None = None,
    clicks: tuple[tuple[float, float, int], ...] = (),
    rate_hz: float = scene.FPS,
    max_frames: int = 300,
) -> Clip:
    """Return a clip of a video file; frames are skipped to keep its speed at `rate_hz`.

    Args:
        path: Any video that OpenCV can read.
        box: (x0, y0, x1, y1) around object_1, in pixels of the first frame.
        clicks: (x, y, label) on object_2, label 1 on the object and 0 not on it.
        rate_hz: Frames per second at which the clip is played.
        max_frames: Most frames of the clip.

    Raises:
        ConfigError: The file cannot be read, or a prompt is outside of its frames.
    """
    video = _open_video(path)
    fps = video.get(cv2.CAP_PROP_FPS)
    ok, first = video.read()
    video.release()
    if not ok:
        raise ConfigError(f'{path} has no frame that OpenCV can decode; pass another video')
    if not (math.isfinite(fps) and fps > 0):
        fps = rate_hz
    stride = max(1, round(fps / rate_hz))
    _check_inside(path, first.shape[:2], box, clicks)
    scale = min(1.0, MAX_WIDTH / first.shape[1])
    size_hw = round(first.shape[0] * scale), round(first.shape[1] * scale)

    def frames() -> Iterator[ClipFrame]:
        video = _open_video(path)
        try:
            for _ in range(max_frames):
                ok, bgr = video.read()
                if not ok:
                    return
                if scale < 1.0:
                    bgr = cv2.resize(bgr, size_hw[::-1], interpolation=cv2.INTER_AREA)
                yield ClipFrame(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
                for _ in range(stride - 1):
                    video.grab()
        finally:
            video.release()

    return Clip(path.name, size_hw, _make_prompts(box, clicks, scale), frames)


def _make_prompts(
    box: tuple[float, float, float, float] | None,
    clicks: tuple[tuple[float, float, int], ...],
    scale: float,
) -> tuple[Prompt, ...]:
    """Return the prompts of a video, in pixels of its scaled frames."""
    prompts = []
    if box is not None:
        prompts.append(Prompt('object_1', box=np.array(box, np.float32) * np.float32(scale)))
    if clicks:
        table = np.array(clicks, np.float32)
        points, labels = table[:, :2] * np.float32(scale), table[:, 2].astype(np.int32)
        prompts.append(Prompt('object_2', points=points, point_labels=labels))
    return tuple(prompts)


def _check_inside(
    path: Path,
    size_hw: tuple[int, int],
    box: tuple[float, float, float, float] | None,
    clicks: tuple[tuple[float, float, int], ...],
) -> None:
    height, width = size_hw
    points = [(x, y) for x, y, _ in clicks]
    if box is not None:
        x0, y0, x1, y1 = box
        if not (x0 < x1 and y0 < y1):
            raise ConfigError(
                f'expected a box x0,y0,x1,y1 with x0 < x1 and y0 < y1, got '
                f'{x0:g},{y0:g},{x1:g},{y1:g}'
            )
        points += [(x0, y0), (x1, y1)]
    for x, y in points:
        if not (0 <= x <= width and 0 <= y <= height):
            raise ConfigError(
                f'expected pixels inside the {width}x{height} frames of {path}, got {x:g},{y:g}'
            )


def _open_video(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise ConfigError(f'no video at {path}; check the path')
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise ConfigError(f'OpenCV cannot read {path} as a video; convert it to mp4 (H.264)')
    return video
