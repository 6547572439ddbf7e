"""The part of the camera image that the network gets, and mapping of coordinates."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from robust_vos_ros.core.stages import stage
from robust_vos_ros.core.types import Frame, Prompt

_OUTSIDE_LOGIT = -10.0
_SAMPLES = 4  # per side of a mask cell


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A part of a camera image, in its pixels.

    Attributes:
        x0: Left border; `y0` the top border.
        width: Of the window; `height` likewise.
        image_hw: Height and width of the camera image.
    """

    x0: int
    y0: int
    width: int
    height: int
    image_hw: tuple[int, int]

    def __post_init__(self) -> None:
        height, width = self.image_hw
        if not (
            0 <= self.x0 < self.x0 + self.width <= width
            and 0 <= self.y0 < self.y0 + self.height <= height
        ):
            raise ValueError(f'expected a window within the image, got {self}')

    @classmethod
    def whole(cls, image_hw: tuple[int, int]) -> Window:
        """Return the window of the whole image."""
        return cls(0, 0, image_hw[1], image_hw[0], image_hw)

    @property
    def is_whole(self) -> bool:
        """Whether it covers the whole image."""
        return (self.height, self.width) == self.image_hw

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def share(self) -> float:
        """Side of the window divided by that of the image."""
        return self.width / self.image_hw[1]

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Return a view of its part of the (H, W, ...) camera image at any resolution."""
        rows, columns = self.on(image.shape[:2])
        return image[rows, columns]

    def on(self, image_hw: tuple[int, int]) -> tuple[slice, slice]:
        """Return its rows and columns in the camera image at another resolution."""
        y, x = image_hw[0] / self.image_hw[0], image_hw[1] / self.image_hw[1]
        rows = slice(round(self.y0 * y), max(1, round((self.y0 + self.height) * y)))
        return rows, slice(round(self.x0 * x), max(1, round((self.x0 + self.width) * x)))

    def around(self, box: np.ndarray) -> Window:
        """Return a window of this size around a box (x0, y0, x1, y1), within the image."""
        height, width = self.image_hw
        x = round(float(box[0] + box[2] - self.width) / 2)
        y = round(float(box[1] + box[3] - self.height) / 2)
        x, y = min(max(x, 0), width - self.width), min(max(y, 0), height - self.height)
        return dataclasses.replace(self, x0=x, y0=y)


def resize(rgb: np.ndarray, image_size: int) -> torch.Tensor:
    """Resize an image to (S, S, 3) uint8, the network's input; changes the aspect ratio."""
    shrinks = min(rgb.shape[:2]) > image_size
    resized = cv2.resize(
        rgb,
        (image_size, image_size),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    # Always a copy: the caller may reuse its buffer.
    return torch.from_numpy(resized.copy() if np.shares_memory(resized, rgb) else resized)


def to_window(prompt: Prompt, window: Window) -> Prompt:
    """Map a checked prompt to pixels of a window that contains it."""
    if window.is_whole:
        return prompt
    corner = np.array([window.x0, window.y0], np.float32)
    return dataclasses.replace(
        prompt,
        points=prompt.points - corner,
        box=None if prompt.box is None else prompt.box - np.tile(corner, 2),
        mask=None if prompt.mask is None else np.ascontiguousarray(window.cut(prompt.mask)),
    )


def extent(prompt: Prompt) -> np.ndarray:
    """Return (4,) float32, the box (x0, y0, x1, y1) around points, box and mask of a prompt."""
    if prompt.mask is not None:
        return box_of(prompt.mask)
    corners = [] if prompt.box is None else [prompt.box.reshape(2, 2)]
    at = np.concatenate([*corners, prompt.points.reshape(-1, 2)])
    return np.concatenate([at.min(axis=0), at.max(axis=0)]).astype(np.float32)


def box_of(mask: np.ndarray) -> np.ndarray:
    """Return (4,) float32, the tight box (x0, y0, x1, y1) of a non-empty (H, W) bool mask."""
    x, y, width, height = cv2.boundingRect(mask.view(np.uint8))
    return np.array([x, y, x + width, y + height], np.float32)


def move(logits: torch.Tensor, old: Window, new: Window) -> torch.Tensor:
    """Map (..., h, w) logits from one window to another one of the same image.

    Outside of the old window there is no object.
    """
    if old == new or not logits.numel():
        return logits
    h, w = logits.shape[-2:]
    (ys, in_y), (xs, in_x) = (
        _places(size, (old_at, old_side), (new_at, new_side), logits.device)
        for size, old_at, old_side, new_at, new_side in (
            (h, old.y0, old.height, new.y0, new.height),
            (w, old.x0, old.width, new.x0, new.width),
        )
    )
    grid = torch.stack(torch.meshgrid(ys, xs, indexing='ij')[::-1], dim=-1)[None]
    flat = logits.reshape(1, -1, h, w)
    fine = F.grid_sample(flat, grid, padding_mode='border', align_corners=False)
    shown = in_y[:, None] & in_x[None]
    fine = torch.where(shown, fine, fine.clamp(max=_OUTSIDE_LOGIT))
    return F.avg_pool2d(fine, _SAMPLES).view(logits.shape)


def _places(
    cells: int, old: tuple[int, int], new: tuple[int, int], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Map samples along a side of the new window to the old one.

    Args:
        cells: Number of mask cells along this side.
        old: Start and length of the old side in pixels; `new` likewise.
        device: Of the result.

    Returns:
        Coordinates for `grid_sample`, and whether each is inside.
    """
    at = (torch.arange(cells * _SAMPLES, device=device) + 0.5) / (cells * _SAMPLES)
    share = (new[0] + at * new[1] - old[0]) / old[1]
    return 2.0 * share - 1.0, (share >= 0.0) & (share <= 1.0)


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """The network's input for one frame.

    Attributes:
        image: (image_size, image_size, 3) uint8, RGB, of the window.
        size_hw: Height and width of the camera image.
        window: The part of the camera image in `image`.
    """

    image: torch.Tensor
    size_hw: tuple[int, int]
    stamp_ns: int
    frame_id: str
    frame_index: int
    window: Window


@stage('resize')
def make_record(frame: Frame, image_size: int, frame_index: int) -> Record:
    """Resize a whole camera image to the network's square input; changes the aspect ratio."""
    return Record(
        resize(frame.rgb, image_size),
        frame.size_hw,
        frame.stamp_ns,
        frame.frame_id,
        frame_index,
        Window.whole(frame.size_hw),
    )
