"""Baselines: trackers without training.

A baseline is called with the frames, (H, W, 3) uint8 RGB, and the (H, W) bool mask of the first
one, and returns an (H, W) bool mask for each frame, the first unchanged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F

Baseline = Callable[[Sequence[np.ndarray], np.ndarray], list[np.ndarray]]

# Of the matcher: its grid has cells, and the window of a tile of cells holds all candidates.
_CELL = 8  # px
_BINS = 9
_COLOR_SCALE = 50.0  # Lab units (of 8 bit) that weigh as much as the whole histogram
_RADIUS = 9  # cells
_RECENT = 4  # frames
_TOP = 10
_TEMPERATURE = 0.02
_TILE = 10  # cells
_WINDOW = _TILE + 2 * _RADIUS


def copy_first_mask(images: Sequence[np.ndarray], first_mask: np.ndarray) -> list[np.ndarray]:
    """Repeat the first mask."""
    return [first_mask] * len(images)


def flow_warp(images: Sequence[np.ndarray], first_mask: np.ndarray) -> list[np.ndarray]:
    """Warp the mask by optical flow (DIS: Kroeger et al., ECCV 2016, medium preset)."""
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = first_mask.shape
    # The position (x, y) in the old frame, for each pixel of the new one.
    here = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    grays = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images)
    old = next(grays)
    soft = first_mask.astype(np.float32)
    masks = [first_mask]
    for new in grays:
        there = here + flow.calc(new, old, None)
        soft = cv2.remap(soft, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        masks.append(soft > 0.5)
        old = new
    return masks


def match_descriptors(images: Sequence[np.ndarray], first_mask: np.ndarray) -> list[np.ndarray]:
    """Propagate labels from similar cells nearby, in the first frame and the last four.

    The descriptor of a cell of 8 x 8 px has oriented gradients (Dalal and Triggs, CVPR 2005) and
    colours of the 3 x 3 cells around it. The label of a cell is the mean label of the 10 most
    similar cells within a radius of 9, weighted by a softmax of the similarity.
    """
    height, width = first_mask.shape
    padded = _pad(first_mask.astype(np.float32))
    label = torch.from_numpy(
        cv2.resize(padded, None, fx=1 / _CELL, fy=1 / _CELL, interpolation=cv2.INTER_AREA)
    )
    matcher = _Matcher(label.shape)
    first = matcher.windows(_describe(images[0])), matcher.windows(label[None])
    recent: deque[tuple[torch.Tensor, torch.Tensor]] = deque([first], maxlen=_RECENT)
    masks = [first_mask]
    for index, image in enumerate(images[1:], 1):
        description = _describe(image)
        # While the first frame is one of the last four, it counts once.
        memory = list(recent) if index <= _RECENT else [first, *recent]
        label = matcher.propagate(description, memory)
        recent.append((matcher.windows(description), matcher.windows(label[None])))
        soft = cv2.resize(label.numpy(), None, fx=_CELL, fy=_CELL, interpolation=cv2.INTER_LINEAR)
        masks.append(soft[:height, :width] > 0.5)
    return masks


BASELINES: dict[str, Baseline] = {
    'copy': copy_first_mask,
    'flow': flow_warp,
    'matcher': match_descriptors,
}


class _Matcher:
    """Label propagation between near cells: one matrix product for each tile.

    Shapes: T tiles, Q = 10 x 10 cells of a tile, K = 28 x 28 cells of its window, C channels,
    M frames in memory.

    Args:
        grid: Height and width of the image in cells.
    """

    def __init__(self, grid: Sequence[int]) -> None:
        self._height, self._width = grid
        inside_TK = self.windows(torch.ones(1, *grid))[:, 0] > 0
        offset_QK2 = _cells(_TILE)[:, None] + _RADIUS - _cells(_WINDOW)
        near_QK = offset_QK2.square().sum(-1) <= _RADIUS**2
        self._candidate_TQK = inside_TK[:, None] & near_QK

    def windows(self, values: torch.Tensor) -> torch.Tensor:
        """Return the windows of (C, h, w) as (T, C, K), zero outside of the image."""
        return self._blocks(values, _WINDOW, _RADIUS)

    def propagate(
        self, description: torch.Tensor, memory: Sequence[tuple[torch.Tensor, torch.Tensor]]
    ) -> torch.Tensor:
        """Return the (h, w) labels in [0, 1] of a frame.

        Args:
            description: (C, h, w) descriptors.
            memory: Windows of descriptors (T, C, K) and of labels (T, 1, K), one pair per frame.
        """
        tiles_TQC = self._blocks(description, _TILE, 0).transpose(1, 2)
        result_TQ = torch.zeros(tiles_TQC.shape[:2])
        # Tiles with no label in reach stay empty.
        near = torch.stack([label.amax((1, 2)) for _, label in memory]).amax(0) > 0
        for tile in near.nonzero()[:, 0].tolist():
            keys_CK = torch.cat([windows[tile] for windows, _ in memory], dim=1)
            label_K = torch.cat([label[tile, 0] for _, label in memory])
            candidate_QK = self._candidate_TQK[tile].repeat(1, len(memory))
            similar_QK = (tiles_TQC[tile] @ keys_CK).masked_fill_(~candidate_QK, -torch.inf)
            best, index = similar_QK.topk(_TOP, dim=1)
            # Cells outside of the image may have no candidate: they are NaN, and cut off below.
            result_TQ[tile] = (torch.softmax(best / _TEMPERATURE, dim=1) * label_K[index]).sum(1)
        return self._join(result_TQ)

    def _blocks(self, values: torch.Tensor, size: int, margin: int) -> torch.Tensor:
        """Return blocks of (C, h, w) around each tile, (T, C, size * size)."""
        right = -self._width % _TILE + margin
        below = -self._height % _TILE + margin
        padded = F.pad(values, (margin, right, margin, below))
        blocks = padded.unfold(1, size, _TILE).unfold(2, size, _TILE).permute(1, 2, 0, 3, 4)
        return blocks.reshape(-1, len(values), size * size)

    def _join(self, tiles_TQ: torch.Tensor) -> torch.Tensor:
        """Put tiles together to (h, w)."""
        rows = -(-self._height // _TILE)
        grid = tiles_TQ.view(rows, -1, _TILE, _TILE).transpose(1, 2)
        return grid.reshape(rows * _TILE, -1)[: self._height, : self._width].contiguous()


def _cells(size: int) -> torch.Tensor:
    """Return the (size * size, 2) int64 positions (y, x) of a square of cells."""
    line = torch.arange(size)
    return torch.cartesian_prod(line, line)


def _pad(image: np.ndarray) -> np.ndarray:
    """Extend an image to whole cells."""
    height, width = image.shape[:2]
    return cv2.copyMakeBorder(
        image, 0, -height % _CELL, 0, -width % _CELL, borderType=cv2.BORDER_REPLICATE
    )


def _describe(image: np.ndarray) -> torch.Tensor:
    """Return the (C, h, w) float32 descriptors, of norm 1, of an (H, W, 3) uint8 RGB image."""
    lab = cv2.cvtColor(_pad(image), cv2.COLOR_RGB2LAB).astype(np.float32)
    colors = cv2.resize(lab, None, fx=1 / _CELL, fy=1 / _CELL, interpolation=cv2.INTER_AREA)
    gradients = _around(_orientations(lab[..., 0]))
    gradients /= np.linalg.norm(gradients, axis=-1, keepdims=True) + 1.0
    colors = _around((colors - 128.0) / (3 * _COLOR_SCALE))
    both = np.concatenate([gradients, colors], axis=-1)
    both /= np.linalg.norm(both, axis=-1, keepdims=True) + 1e-6
    return torch.from_numpy(both.transpose(2, 0, 1).copy())


def _orientations(gray: np.ndarray) -> np.ndarray:
    """Return histograms (h, w, 9) float32 of the gradient directions, modulo 180 degrees."""
    dx, dy = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    length, angle = cv2.cartToPolar(dx, dy)
    place = angle * (_BINS / np.pi)
    low = np.floor(place)
    share = place - low  # of the next bin
    height, width = gray.shape[0] // _CELL, gray.shape[1] // _CELL
    cell = np.arange(height * width).reshape(height, width)
    first = _BINS * cell.repeat(_CELL, axis=0).repeat(_CELL, axis=1)
    result = np.zeros(height * width * _BINS)
    for bins, weight in ((low, 1 - share), (low + 1, share)):
        index = first + bins.astype(np.int64) % _BINS
        result += np.bincount(index.ravel(), (length * weight).ravel(), len(result))
    return result.reshape(height, width, _BINS).astype(np.float32)


def _around(values: np.ndarray) -> np.ndarray:
    """Return the values of the 3 x 3 cells around each cell, (h, w, C) -> (h, w, 9 C)."""
    height, width = values.shape[:2]
    wide = np.pad(values, ((1, 1), (1, 1), (0, 0)), mode='edge')
    shifts = [wide[y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return np.concatenate(shifts, axis=-1)
