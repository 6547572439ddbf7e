"""Check prompts and convert them to inputs of the network."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import torch.nn.functional as F

from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.network.tensors import Clicks
from robust_vos_ros.core.types import Prompt

# Far more than a user clicks; bounds the cost of a request.
MAX_POINTS = 64
# Maximum length of object_id and class_id, which every message about an object carries.
MAX_NAME = 256
# A box with less than this share inside the image was probably made on an image of another size.
_MIN_INSIDE = 0.75
_BOX_MARGIN = 0.05  # margin around a box, as a share of its side
_OUTSIDE_LOGIT = -10.0
BOX_CORNERS = (2, 3)  # SAM's labels of the top left and bottom right corner of a box


def check_prompt(prompt: Prompt, size_hw: tuple[int, int]) -> Prompt:
    """Return a prompt with canonical array types, checked against an image size.

    A box that extends slightly beyond the image is clipped to it.

    Raises:
        PromptError: The prompt is empty, contradictory, not finite or outside the image, or a name
            is too long.
    """
    check_names(prompt.object_id, prompt.class_id)
    name = f'prompt for {prompt.object_id!r}'
    if prompt.mask is not None:
        if len(prompt.points) or len(prompt.point_labels) or prompt.box is not None:
            raise PromptError(f'{name}: expected a mask alone, or points and box; got both')
        return dataclasses.replace(prompt, mask=_check_mask(prompt.mask, size_hw, name))
    if not len(prompt.points) and prompt.box is None:
        raise PromptError(f'{name}: expected points, a box or a mask; got none')
    check_num_points(len(prompt.points), prompt.object_id)
    points = np.asarray(prompt.points, np.float32).reshape(-1, 2)
    labels = np.asarray(prompt.point_labels, np.int32)
    _check_points(points, labels, size_hw, name)
    box = None if prompt.box is None else _check_box(prompt.box, size_hw, name)
    if box is None and not (labels == 1).any():
        raise PromptError(f'{name}: expected at least one point on the object (label 1), or a box')
    return dataclasses.replace(prompt, points=points, point_labels=labels, box=box)


def check_names(object_id: str, class_id: str) -> None:
    """Check object_id and class_id.

    Raises:
        PromptError: object_id is empty, or a name is too long.
    """
    if not object_id:
        raise PromptError('a prompt needs a non-empty object_id')
    for kind, name in (('object_id', object_id), ('class_id', class_id)):
        if len(name) > MAX_NAME:
            raise PromptError(
                f'expected {kind} of at most {MAX_NAME} characters, got {len(name)}: '
                f'{name[:20]!r}...; use a shorter name'
            )


def check_num_points(num_points: int, object_id: str) -> None:
    """Raise PromptError if there are more points than a prompt may have."""
    if num_points > MAX_POINTS:
        raise PromptError(
            f'prompt for {object_id!r}: expected at most {MAX_POINTS} points, got {num_points}; '
            'send fewer clicks, or a mask'
        )


def to_clicks(
    prompts: list[Prompt], size_hw: tuple[int, int], image_size: int, device: torch.device
) -> Clicks:
    """Stack checked point and box prompts that have equal numbers of points.

    Args:
        prompts: B prompts in pixels of the image.
        size_hw: Height and width of that image.
        image_size: Side of the model's square image.
        device: Device of the result.

    Returns:
        Points in pixels of the network's input; a box comes first, as two corner points.
    """
    coords, labels = [], []
    for prompt in prompts:
        box = np.zeros((0, 2), np.float32) if prompt.box is None else prompt.box.reshape(2, 2)
        corners = () if prompt.box is None else BOX_CORNERS
        coords.append(np.concatenate([box, prompt.points]))
        labels.append(np.concatenate([np.array(corners, np.int32), prompt.point_labels]))
    scale = image_size / np.array([size_hw[1], size_hw[0]], np.float32)
    return Clicks(
        torch.from_numpy(np.stack(coords) * scale).to(device),
        torch.from_numpy(np.stack(labels)).to(device),
    )


def hold_to_prompts(
    mask_logits: torch.Tensor, prompts: list[Prompt], size_hw: tuple[int, int]
) -> tuple[torch.Tensor, list[float]]:
    """Clip masks to their boxes and measure how well they fit their prompts.

    A box bounds the object: mask cells outside of it are removed, except in a margin of 5% of its
        side or one cell of the mask, whichever is larger.

    Args:
        mask_logits: (B, h, w) float32.
        prompts: The B checked prompts, in pixels of the image.
        size_hw: Height and width of that image.

    Returns:
        The clipped masks, and the misfit of each prompt in [0, 1]: the larger of the share of the
        mask that was clipped and the share of the clicks that the mask contradicts.
    """
    held, misfits = [], []
    for logits, prompt in zip(mask_logits, prompts, strict=True):
        on = logits > 0
        inside = _near_box(prompt.box, on.shape, size_hw).to(on.device)
        outside = float((on & ~inside).sum()) / max(1.0, float(on.sum()))
        held.append(torch.where(inside, logits, logits.clamp(max=_OUTSIDE_LOGIT)))
        misfits.append(max(outside, _contradicted(prompt, on, size_hw)))
    return torch.stack(held), misfits


def _near_box(
    box: np.ndarray | None, mask_hw: tuple[int, ...], size_hw: tuple[int, int]
) -> torch.Tensor:
    """Return (h, w) bool, the cells within a box and its margin; all True without a box."""
    lines = []
    for axis, cells in enumerate(mask_hw):
        at = (np.arange(cells) + 0.5) * size_hw[axis] / cells
        if box is None:
            lines.append(np.ones(cells, bool))
            continue
        low, high = float(box[1 - axis]), float(box[3 - axis])
        margin = max(_BOX_MARGIN * (high - low), size_hw[axis] / cells)
        lines.append((at >= low - margin) & (at <= high + margin))
    return torch.from_numpy(lines[0][:, None] & lines[1][None])


def _contradicted(prompt: Prompt, on: torch.Tensor, size_hw: tuple[int, int]) -> float:
    """Return the share of clicks on the object that a mask misses, and of others it covers.

    A click within one cell of the mask's edge is not a contradiction.
    """
    if not len(prompt.points):
        return 0.0
    cells = on.float()[None]
    wide = F.max_pool2d(cells, 3, stride=1, padding=1)[0] > 0
    narrow = F.max_pool2d(1.0 - cells, 3, stride=1, padding=1)[0] == 0
    scale = np.array([on.shape[1] / size_hw[1], on.shape[0] / size_hw[0]])
    at = (prompt.points * scale).astype(int)
    wrong = [
        bool(narrow[y, x]) if label == 0 else not bool(wide[y, x])
        for (x, y), label in zip(at.tolist(), prompt.point_labels.tolist(), strict=True)
    ]
    return sum(wrong) / len(wrong)


def to_coarse_masks(
    clicks: Clicks, image_size: int, mask_size: int, previous: torch.Tensor | None = None
) -> torch.Tensor:
    """Draw points and boxes as coarse mask logits, for models trained with them.

    A small network learns to use prompts much faster from a map than from coordinates alone.

    Args:
        clicks: Prompts of B objects.
        image_size: Side of the image the prompts are in.
        mask_size: Side of the result.
        previous: (B, 1, mask_size, mask_size) logits of a mask to correct, or None.

    Returns:
        (B, 1, mask_size, mask_size) float32: the previous mask clamped to +-6, or +6 inside and
        -6 outside a box, plus a Gaussian of height 12 around each point on the object, minus one
        around each point not on it.
    """
    at = (torch.arange(mask_size, device=clicks.coords.device) + 0.5) * (image_size / mask_size)
    coarse = torch.zeros(len(clicks.coords), mask_size, mask_size, device=at.device)
    if (clicks.labels[:, 0] == BOX_CORNERS[0]).all():
        low, high = clicks.coords[:, 0, :, None], clicks.coords[:, 1, :, None]
        inside = (at >= low) & (at <= high)
        coarse = (inside[:, 1, :, None] & inside[:, 0, None, :]) * 12.0 - 6.0
    if previous is not None:
        coarse = previous[:, 0].clamp(-6.0, 6.0)
    spread = image_size / 12
    for point, label in zip(clicks.coords.unbind(1), clicks.labels.unbind(1), strict=True):
        x, y = point[:, 0, None, None], point[:, 1, None, None]
        distance = (at[None, None] - x) ** 2 + (at[None, :, None] - y) ** 2
        sign = ((label == 1).float() - (label == 0).float())[:, None, None]
        coarse = coarse + sign * 12.0 * torch.exp(-distance / (2 * spread**2))
    return coarse[:, None]


def to_mask_batch(prompts: list[Prompt], image_size: int, device: torch.device) -> torch.Tensor:
    """Resize checked mask prompts to (B, 1, image_size, image_size) float32, 0 or 1."""
    resized = []
    for prompt in prompts:
        mask = torch.from_numpy(prompt.mask).to(device)[None, None].float()
        size = (image_size, image_size)
        mask = F.interpolate(mask, size, mode='bilinear', antialias=True)
        resized.append((mask >= 0.5).float())
    return torch.cat(resized)


def _check_points(
    points: np.ndarray, labels: np.ndarray, size_hw: tuple[int, int], name: str
) -> None:
    height, width = size_hw
    if len(labels) != len(points):
        raise PromptError(
            f'{name}: expected one label, 0 or 1, for each of {len(points)} points, '
            f'got {len(labels)} labels'
        )
    known = np.isin(labels, (0, 1))
    if not known.all():
        raise PromptError(
            f'{name}: expected labels 0 or 1 (1 = on the object), got {labels[~known][0]}'
        )
    inside = np.isfinite(points).all(axis=1) & (points >= 0).all(axis=1)
    inside &= (points[:, 0] < width) & (points[:, 1] < height)
    if not inside.all():
        raise PromptError(
            f'{name}: expected points inside {width}x{height}, got {points[~inside][0].tolist()}; '
            'send pixels (x right, y down) of the image'
        )


def _check_box(box: np.ndarray, size_hw: tuple[int, int], name: str) -> np.ndarray:
    """Return a box clipped to the image; most of it must lie inside."""
    height, width = size_hw
    box = np.asarray(box, np.float32)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise PromptError(f'{name}: expected a box of 4 finite numbers, got {box.tolist()}')
    inside = box.clip(0, (width, height, width, height)).astype(np.float32)
    sides, inner = (np.float64(corners[2:]) - corners[:2] for corners in (box, inside))
    if not ((inner > 0).all() and inner.prod() >= _MIN_INSIDE * sides.prod()):
        x0, y0, x1, y1 = box.tolist()
        raise PromptError(
            f'{name}: expected a box with area of which at least {_MIN_INSIDE:.0%} is inside '
            f'{width}x{height}, got x {x0:g}..{x1:g}, y {y0:g}..{y1:g}; send pixels (x right, '
            'y down) of the image'
        )
    return inside


def _check_mask(mask: np.ndarray, size_hw: tuple[int, int], name: str) -> np.ndarray:
    if mask.shape != size_hw:
        raise PromptError(
            f'{name}: expected a mask of the image size {size_hw[1]}x{size_hw[0]}, '
            f'got shape {mask.shape}'
        )
    mask = np.ascontiguousarray(mask.astype(bool))
    if not mask.any():
        raise PromptError(f'{name}: expected a mask with at least one object pixel, got none')
    if mask.all():
        raise PromptError(
            f'{name}: expected a mask of an object, got one covering the whole image'
        )
    return mask
