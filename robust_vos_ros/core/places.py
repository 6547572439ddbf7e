"""Where an object that is out of sight may be again: the place of the image most like it.

The network looks for an object where its memory leads it. What came back elsewhere, or turned, it
may miss; what the object looks like finds it.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from robust_vos_ros.core.looks import Looks
from robust_vos_ros.core.prototypes import Prototypes

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the image


def guess_box(
    looks: Looks,
    prototypes: Prototypes,
    slot: int,
    planes: torch.Tensor,
    *,
    coverage: float,
    taken: torch.Tensor,
    min_similarity: float,
) -> Box | None:
    """Return the box around where an object may be; None if nothing is alike.

    Args:
        looks: Describes places.
        prototypes: Know the object.
        slot: Its row.
        planes: Of the image, (D, h, w) from `core.looks.measure`.
        coverage: Share of the image the object used to cover.
        taken: (h, w) bool, where other objects are.
        min_similarity: What is less alike is nothing.

    Returns:
        The box, within the image.
    """
    if not prototypes.counts[slot] or not coverage:
        return None
    height, width = taken.shape
    radius = math.sqrt(coverage * height * width / math.pi)
    places = looks.survey(planes, radius)
    with torch.autocast(places.device.type, enabled=False):
        likeness = (places @ prototypes.centers[slot].T).amax(dim=2)
    free = F.max_pool2d(taken[None].float(), 2)[0] == 0.0
    likeness = torch.where(free, likeness, -1.0)
    best = int(likeness.argmax())
    row, column = divmod(best, likeness.shape[1])
    if float(likeness[row, column]) < min_similarity:
        return None
    x, y = (2.0 * column + 0.5) / width, (2.0 * row + 0.5) / height
    across, down = radius / width, radius / height
    return max(0.0, x - across), max(0.0, y - down), min(1.0, x + across), min(1.0, y + down)
