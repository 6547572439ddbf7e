"""Things in an image that fit an expression: candidates around the best cells, and a judgement.

Cells are compared with the expression; the mask decoder segments a candidate at each of the best
ones, prompted by that point, by the coarse mask of fitting cells and by the prompts made of the
expression. What a candidate is then judged by is calibrated to the probability that it is the
thing.

Shape legend: as in `adapter`; K candidates.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.types import Candidates, Clicks, Features
from robust_vos_ros.core.words.adapter import Glimpse, Scene
from robust_vos_ros.core.words.module import MAX_LOGIT, Conditioned, Texts, Words
from robust_vos_ros.core.words.text import Expression

_PEAKS = 4  # candidates per expression
_APART = 2  # cells between two peaks
_SAME_IOU = 0.6  # two candidates that overlap this much are one
_MAX_AREA = 0.95  # share of the image; more is no thing
_KIN = 0.7  # names at least this similar (cosine) do not compete


@dataclasses.dataclass(frozen=True, slots=True)
class Match:
    """A thing that fits an expression.

    Attributes:
        logits: (4h, 4w) mask logits, above 0 is object.
        confidence: Calibrated probability that it is the thing and its mask has IoU > 0.5.
        pointer: (C,) object pointer of the mask.
    """

    logits: torch.Tensor
    confidence: float
    pointer: torch.Tensor


def find(
    model: Model,
    words: Words,
    features: Features,
    glimpses: Sequence[Glimpse],
    expression: Expression,
) -> list[Match]:
    """Return things that fit an expression, the most probable first; at most `_PEAKS`.

    Args:
        model: The network.
        words: Trained for it.
        features: Of the image, with its stages.
        glimpses: Of the image and of those before it, the newest first.
        expression: What to find.
    """
    kept, evidence = propose(model, words, features, glimpses, expression)
    with torch.autocast(evidence.device.type, enabled=False):
        confidence = words.judge(evidence)
    order = confidence.argsort(descending=True).tolist()
    found: list[int] = []
    masks = kept.mask_logits[:, 0] > 0
    area = masks.float().mean(dim=(1, 2)).tolist()
    for row in order:
        apart = all(float(mask_iou(masks[row], masks[other])) < _SAME_IOU for other in found)
        if apart and 0.0 < area[row] < _MAX_AREA:
            found.append(row)
    return [
        Match(kept.mask_logits[row, 0], float(confidence[row]), kept.pointers[row, 0])
        for row in found
    ]


def propose(
    model: Model,
    words: Words,
    features: Features,
    glimpses: Sequence[Glimpse],
    expression: Expression,
) -> tuple[Candidates, torch.Tensor]:
    """Return candidates for an expression and the evidence of each; arguments as in `find`."""
    scene = words.scene(glimpses)
    said = words.condition(scene, Texts.of([expression]))
    peaks = find_peaks(said.coarse[0])
    kept = decode_peaks(model, features, said, peaks)
    return kept, observe(words, scene, said, expression=expression, kept=kept, peaks=peaks)


def find_peaks(match: torch.Tensor) -> list[tuple[int, int]]:
    """Return (row, column) of the best cells of an (h, w) map that are not near each other."""
    rest = match.float().clone()
    peaks = []
    for _ in range(_PEAKS):
        row, column = divmod(int(rest.argmax()), rest.shape[1])
        peaks.append((row, column))
        near = slice(max(0, row - _APART), row + _APART + 1)
        rest[near, max(0, column - _APART) : column + _APART + 1] = -math.inf
    return peaks


def decode_peaks(
    model: Model, features: Features, said: Conditioned, peaks: Sequence[tuple[int, int]]
) -> Candidates:
    """Segment a candidate at each of K peaks of one expression.

    Args:
        model: The network.
        features: Of the image.
        said: What the expression says about it (E = 1).
        peaks: From `find_peaks`.
    """
    count, device = len(peaks), model.device
    cell = model.image_size / said.match.shape[-1]
    at = torch.tensor([[(x + 0.5) * cell, (y + 0.5) * cell] for y, x in peaks], device=device)
    clicks = Clicks(at[:, None], torch.ones(count, 1, dtype=torch.int32, device=device))
    coarse = to_mask_prompt(said.coarse, model.mask_size).expand(count, -1, -1, -1)
    coarse = coarse + around(clicks, model.image_size, model.mask_size)
    pix = model.condition(features, said.updates) + model.net.no_mem_embed.view(1, -1, 1, 1)
    return model.predict(
        features,
        pix.expand(count, -1, -1, -1),
        clicks,
        coarse,
        words=said.prompts.expand(count, -1, -1),
        multimask=True,
    ).best()


def to_mask_prompt(coarse: torch.Tensor, mask_size: int) -> torch.Tensor:
    """Return (E, 1, 4h, 4w) logits of a mask prompt from (E, h, w) logits of cells."""
    size = (mask_size, mask_size)
    grown = F.interpolate(coarse[:, None].float(), size, mode='bilinear', align_corners=False)
    return grown.clamp(-MAX_LOGIT, MAX_LOGIT)


def around(clicks: Clicks, image_size: int, mask_size: int) -> torch.Tensor:
    """Return (B, 1, 4h, 4w) Gaussians around the first click, as `to_coarse_masks` draws them."""
    at = (torch.arange(mask_size, device=clicks.coords.device) + 0.5) * (image_size / mask_size)
    x, y = clicks.coords[:, 0, 0, None, None], clicks.coords[:, 0, 1, None, None]
    distance = (at[None, None] - x) ** 2 + (at[None, :, None] - y) ** 2
    spread = image_size / 12
    return 12.0 * torch.exp(-distance / (2 * spread**2))[:, None]


def observe(
    words: Words,
    scene: Scene,
    said: Conditioned,
    *,
    expression: Expression,
    kept: Candidates,
    peaks: Sequence[tuple[int, int]],
) -> torch.Tensor:
    """Return (K, EVIDENCE) float32 that K candidates are judged by.

    Logit of the peak; mean logit in the mask; logit of the mask's mean meaning; its lead over
    other names; predicted IoU; object score; logarithm of the area.
    """
    side = said.match.shape[-1]
    masks = (kept.mask_logits[:, 0] > 0).float()
    share = F.adaptive_avg_pool2d(masks[:, None], side)[:, 0] + 1e-6
    total = share.sum(dim=(1, 2))
    match = said.match[0].float()
    inside = (share * match).sum(dim=(1, 2)) / total
    meaning = scene.meaning[0].float()
    region = F.normalize(torch.einsum('khw,chw->kc', share, meaning), dim=1)
    name = words.names(expression.sentence[None]).float()
    alike = words.compare(region, name)[:, 0]
    others = words.rivals[(words.rivals @ name[0]) < _KIN]
    lead = alike - words.compare(region, others).logsumexp(dim=1)
    peak = torch.stack([match[y, x] for y, x in peaks])
    parts = [peak, inside, alike, lead, kept.ious[:, 0], kept.object_scores]
    return torch.stack([*parts, masks.mean(dim=(1, 2)).add(1e-4).log()], 1).float()
