"""Things in an image that fit an expression: candidates around the best cells, and a judgement.

Cells are compared with the expression; the mask decoder segments a candidate at each of the best
ones, prompted by that point, by the coarse mask of fitting cells and by the prompts made of the
expression, and by a box around those cells. What a candidate is judged by is calibrated to the
probability that it is the thing.

Shape legend: as in `adapter`; K candidates.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from robust_vos_ros.core.masks import mask_iou
from robust_vos_ros.core.network.mask_decoder import DecoderPrompts
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.tensors import Candidates, Clicks, Features
from robust_vos_ros.core.prompting.prompts import BOX_CORNERS, to_coarse_masks
from robust_vos_ros.core.words.adapter import Glimpse, Scene
from robust_vos_ros.core.words.module import MAX_LOGIT, Conditioned, Texts, Words
from robust_vos_ros.core.words.text import Expression

_PEAKS = 4  # places per expression
_LEVEL = 2.5  # logits below its peak that still are of the same thing
_CELL = 0.3  # share of a cell from which a mask lies on it
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
    masks = kept.mask_logits[:, 0] > 0
    area = masks.float().mean(dim=(1, 2)).tolist()
    found: list[int] = []
    for row in confidence.argsort(descending=True).tolist():
        apart = all(float(mask_iou(masks[row], masks[other])) < _SAME_IOU for other in found)
        if apart and 0.0 < area[row] < _MAX_AREA and len(found) < _PEAKS:
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
    """Return K candidates for an expression and the evidence of each; arguments as in `find`."""
    scene = words.scene(glimpses)
    said = words.condition(scene, Texts.of([expression]))
    peaks = find_peaks(said.coarse[0])
    kept = decode_peaks(model, features, said, peaks)
    return kept, observe(words, scene, said, expression, kept)


def find_peaks(coarse: torch.Tensor) -> list[tuple[int, int]]:
    """Return (row, column) of the best cells of an (h, w) map that are not near each other."""
    rest = coarse.float().clone()
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
    """Segment candidates at the peaks of one expression: three by the point, three by a box.

    Args:
        model: The network.
        features: Of the image.
        said: What the expression says about it (E = 1).
        peaks: From `find_peaks`.
    """
    count, device = len(peaks), model.device
    cell = model.image_size / said.coarse.shape[-1]
    at = torch.tensor([[(x + 0.5) * cell, (y + 0.5) * cell] for y, x in peaks], device=device)
    clicks = Clicks(at[:, None], torch.ones(count, 1, dtype=torch.int32, device=device))
    coarse = to_mask_prompt(said.coarse, model.mask_size)
    drawn = coarse + around(clicks, model.image_size, model.mask_size)
    conditioned = model.image_encoder.condition(features, said.updates)
    pix = model.attend(conditioned, None)
    pix, prompts = pix.expand(count, -1, -1, -1), said.prompts.expand(count, -1, -1)
    asked = DecoderPrompts(clicks, drawn, words=prompts, multimask=True)
    by_point = model.decoder.predict(features, pix, asked)
    boxes = around_parts(coarse[0, 0], peaks, model.image_size).to(device)
    drawn = to_coarse_masks(boxes, model.image_size, model.mask_size)
    asked = DecoderPrompts(boxes, drawn, words=prompts, multimask=True)
    by_box = model.decoder.predict(features, pix, asked)
    parts = [
        Candidates(
            one.mask_logits.flatten(0, 1)[:, None],
            one.ious.flatten()[:, None],
            one.object_scores.repeat_interleave(one.ious.shape[1]),
            one.pointers.flatten(0, 1)[:, None],
        )
        for one in (by_point, by_box)
    ]
    return Candidates(
        torch.cat([one.mask_logits for one in parts]),
        torch.cat([one.ious for one in parts]),
        torch.cat([one.object_scores for one in parts]),
        torch.cat([one.pointers for one in parts]),
    )


def around_parts(
    coarse: torch.Tensor, peaks: Sequence[tuple[int, int]], image_size: int
) -> Clicks:
    """Return a box around the connected part of a coarse mask in which each peak lies.

    Args:
        coarse: (4h, 4w) logits; a part is what lies less than `_LEVEL` below its peak.
        peaks: (row, column) at stride 16.
        image_size: Side of the network's input.
    """
    values = coarse.float().numpy(force=True)
    scale = image_size / len(values)
    boxes = []
    for row, column in peaks:
        y, x = 4 * row + 2, 4 * column + 2
        above = (values > values[y, x] - _LEVEL).astype(np.uint8)
        _, labels = cv2.connectedComponents(above)
        ys, xs = np.nonzero(labels == labels[y, x])
        boxes.append([[xs.min(), ys.min()], [xs.max() + 1, ys.max() + 1]])
    corners = torch.tensor([BOX_CORNERS] * len(boxes), dtype=torch.int32)
    return Clicks(torch.tensor(np.array(boxes) * scale, dtype=torch.float32), corners)


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
    words: Words, scene: Scene, said: Conditioned, expression: Expression, kept: Candidates
) -> torch.Tensor:
    """Return (K, EVIDENCE) float32 that K candidates are judged by.

    Largest and mean logit in the mask; overlap with the coarse mask; logit of the mask's mean
    meaning; its lead over other names; predicted IoU; object score; logarithm of the area.
    """
    side = said.match.shape[-1]
    masks = (kept.mask_logits[:, 0] > 0).float()
    share = F.adaptive_avg_pool2d(masks[:, None], side)[:, 0] + 1e-6
    total = share.sum(dim=(1, 2))
    coarse = said.coarse[0].float()
    peak = torch.where(share > _CELL, coarse, coarse.min()).amax(dim=(1, 2))
    inside = (share * coarse).sum(dim=(1, 2)) / total
    likely = (coarse - coarse.max() + _LEVEL).sigmoid()
    overlap = torch.minimum(share, likely).sum((1, 2)) / torch.maximum(share, likely).sum((1, 2))
    meaning = scene.meaning[0].float()
    region = F.normalize(torch.einsum('khw,chw->kc', share, meaning), dim=1)
    name = words.names(expression.sentence[None]).float()
    alike = words.compare(region, name)[:, 0]
    others = words.rivals[(words.rivals @ name[0]) < _KIN]
    lead = alike - words.compare(region, others).logsumexp(dim=1)
    parts = [peak, inside, overlap, alike, lead, kept.ious[:, 0], kept.object_scores]
    return torch.stack([*parts, masks.mean(dim=(1, 2)).add(1e-4).log()], 1).float()
