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
from robust_vos_ros.core.words.adapter import Glimpse
from robust_vos_ros.core.words.evidence import LEVEL, Evidence, observe, observe_motion, shares
from robust_vos_ros.core.words.module import MAX_LOGIT, Conditioned, Texts, Words
from robust_vos_ros.core.words.text import Expression

_PEAKS = 4  # places per expression
_APART = 2  # cells between two peaks
_SAME_IOU = 0.6  # two candidates that overlap this much are one
_MAX_AREA = 0.95  # share of the image; more is no thing


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

    A motion cannot be seen in one image: without those before it, nothing fits.

    Args:
        model: The network.
        words: Trained for it.
        features: Of the image, with its stages.
        glimpses: Of the image and of those before it, the newest first.
        expression: What to find.
    """
    if expression.moves and words.settings.motion and len(glimpses) < 2:
        return []
    kept, evidence = propose(model, words, features, glimpses, expression)
    with torch.autocast(model.device.type, enabled=False):
        confidence = evidence.judge(words)
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
) -> tuple[Candidates, Evidence]:
    """Return K candidates for an expression and the evidence of each; arguments as in `find`."""
    scene = words.scene(glimpses)
    said = words.condition(scene, Texts.of([expression]))
    if not (expression.moves and words.settings.motion):
        kept = decode_peaks(model, features, said, find_peaks(said.coarse[0]))
        return kept, Evidence(observe(words, scene, said, expression, kept), 'thing')
    with torch.autocast(model.device.type, enabled=False):
        moving = words.move(glimpses)[0]
        says = words.motion.said(expression.motion[None])
        cells = words.motion.compare(moving.permute(1, 2, 0), says)[..., 0]
    # Cells that move alike show a whole thing, and the decoder needs no words for it.
    aims = [Conditioned((), said.match, cells[None], None)]
    if not expression.is_any:
        aims.append(dataclasses.replace(said, coarse=said.coarse + F.logsigmoid(cells)))
    kept = join([decode_peaks(model, features, aim, find_peaks(aim.coarse[0])) for aim in aims])
    with torch.autocast(model.device.type, enabled=False):
        things = torch.einsum('khw,chw->kc', shares(kept, moving.shape[-1]), moving)
        motion = words.motion.compare(things, says)[:, 0]
    values = observe_motion(cells, motion, kept)
    if expression.is_any:
        return kept, Evidence(values, 'any')
    both = torch.cat([observe(words, scene, said, expression, kept), values], 1)
    return kept, Evidence(both, 'moving')


def join(parts: Sequence[Candidates]) -> Candidates:
    """Return the candidates of several batches as one."""
    return Candidates(
        torch.cat([one.mask_logits for one in parts]),
        torch.cat([one.ious for one in parts]),
        torch.cat([one.object_scores for one in parts]),
        torch.cat([one.pointers for one in parts]),
    )


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
    pix = pix.expand(count, -1, -1, -1)
    prompts = None if said.prompts is None else said.prompts.expand(count, -1, -1)
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
    return join(parts)


def around_parts(
    coarse: torch.Tensor, peaks: Sequence[tuple[int, int]], image_size: int
) -> Clicks:
    """Return a box around the connected part of a coarse mask in which each peak lies.

    Args:
        coarse: (4h, 4w) logits; a part is what lies less than `LEVEL` below its peak.
        peaks: (row, column) at stride 16.
        image_size: Side of the network's input.
    """
    values = coarse.float().numpy(force=True)
    scale = image_size / len(values)
    boxes = []
    for row, column in peaks:
        y, x = 4 * row + 2, 4 * column + 2
        above = (values > values[y, x] - LEVEL).astype(np.uint8)
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
