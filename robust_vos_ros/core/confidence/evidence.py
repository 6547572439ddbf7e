"""What the network says of each object in one frame, brought from the device in one transfer."""

from __future__ import annotations

import dataclasses
import math

import torch

from robust_vos_ros.core.masks import spread
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.reid.appearance import Similarities
from robust_vos_ros.core.tracking_settings import GuardSettings
from robust_vos_ros.core.types import Candidates, ObjectFlag


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """What the network says of one object, or of one of its hypotheses, in one frame.

    Attributes:
        object_score: Logit, above 0 the object is visible.
        iou: Predicted IoU of the mask, in [0, 1].
        coverage: Share of the image the mask covers, in [0, 1].
        agreement: IoU of the box of the mask with the box of mask and best alternative; 1 where
            there is no alternative. Low where something that looks alike is in view.
        gate_activity: Share of open gates of the adapter, NaN without one.
        margin: How far the hypothesis is ahead of the next one, in cumulative log IoU; infinite
            where it is alone.
        similarity: Cosine of what the mask looks like to the nearest center of its gallery;
            NaN where nothing is known.
        similarity_margin: By how much that is more than to any other object; NaN likewise.
        verified: Cosine to the nearest verified exemplar; NaN likewise.
        spread: Root mean square distance of its pixels from their middle, in sides of the image.
    """

    object_score: float
    iou: float
    coverage: float
    agreement: float = 1.0
    gate_activity: float = math.nan
    margin: float = math.inf
    similarity: float = math.nan
    similarity_margin: float = math.nan
    verified: float = math.nan
    spread: float = 0.0


def observe(
    kept: Candidates,
    agreement: torch.Tensor | None = None,
    activity: torch.Tensor | None = None,
    similarities: Similarities | None = None,
) -> list[Observation]:
    """Measure kept masks.

    Args:
        kept: B masks (M = 1).
        agreement: (B,) as in `Observation`; `activity` likewise.
        similarities: How much they look like their objects.
    """
    masks = (kept.mask_logits[:, 0] > 0).float()
    coverage = masks.mean(dim=(1, 2))
    ones, nan = torch.ones_like(coverage), torch.full_like(coverage, math.nan)
    columns = [
        kept.object_scores,
        kept.ious[:, 0],
        coverage,
        ones if agreement is None else agreement,
        nan if activity is None else activity,
        *(
            (nan, nan, nan)
            if similarities is None
            else (similarities.similarity, similarities.similarity_margin, similarities.verified)
        ),
        spread(masks),
    ]
    names = (
        'object_score', 'iou', 'coverage', 'agreement', 'gate_activity', 'similarity',
        'similarity_margin', 'verified', 'spread',
    )  # fmt: skip
    table = torch.stack(columns, dim=1).tolist()
    return [Observation(**dict(zip(names, row, strict=True))) for row in table]


# Smaller masks are a few cells of the grid: their sizes are mostly rounding.
_LEAST_COVERAGE = 0.002
# Share of the image below which a prompt is warned of: less than one cell, 16 x 16 of 256 x 256
# pixels, of nano's coarse grid. Things that small are seldom followed for long (docs/nano.md).
SMALL_PROMPT = 0.003
# Share of a mask outside of its box, or of clicks it contradicts, that is a misfit.
_MAX_MISFIT = 0.25
# What looks like the prompt may grow to this times its area, but no further.
_MOST_GROWTH = 8.0
# How far the pixels of a mask are spread (radius of gyration), as a multiple of what is expected.
_MAX_EXTENT = 2.0
# The expected size follows within this: what comes nearer by a fifth of its distance in a second
# is followed.
_FOLLOW_S = 2.0
_LEAST_SPREAD = math.sqrt(_LEAST_COVERAGE / (2.0 * math.pi))  # of a disc of that area


def start_reference(item: LiveObject, seen: Observation) -> None:
    """Take the size of a prompted mask as what is expected."""
    item.reference.coverage, item.reference.spread = seen.coverage, seen.spread
    item.track.changed = False


def warn_of_misfit(item: LiveObject, misfit: float, settings: GuardSettings) -> list[str]:
    """Keep how well a mask fits its prompt; returns a sentence where it does not.

    Args:
        item: The object.
        misfit: From `core.prompts.hold_to_prompts`.
        settings: How much is too much.
    """
    item.reference.prompt_misfit = misfit
    if not is_misfit(item, settings):
        return []
    item.track.flags |= ObjectFlag.PROMPT_MISFIT
    text = (
        f'{item.object_id!r}: the mask does not fit its prompt: {misfit:.0%} of it was outside of '
        'the box, or of the clicks are contradicted; look at it, and refine it with clicks'
    )
    return [text]


def warn_of_size(item: LiveObject) -> list[str]:
    """Return a sentence where what was prompted is too small to be followed well."""
    share = item.reference.prompted_coverage
    if not 0.0 < share < SMALL_PROMPT:
        return []
    text = (
        f'{item.object_id!r}: the mask covers {share:.2%} of the image, less than '
        f'{SMALL_PROMPT:.2%}: it may be lost soon; bring the camera nearer, or set '
        'tracking.zoom.enabled'
    )
    return [text]


def is_misfit(item: LiveObject, settings: GuardSettings) -> bool:
    """Whether the mask of the newest prompt does not fit its box and clicks."""
    return settings.enabled and item.reference.prompt_misfit > _MAX_MISFIT


def has_changed(item: LiveObject, seen: Observation, settings: GuardSettings) -> bool:
    """Whether a mask is something else than what was pointed at, as far as can be told.

    Args:
        item: The object, before the frame.
        seen: What was observed in it.
        settings: How much it may change.
    """
    if not settings.enabled or not seen.coverage:
        return False
    if seen.verified < settings.min_similarity:  # false where nothing is known
        return True
    if not item.reference.coverage:  # no size is expected yet
        return False
    if seen.verified >= settings.confirm_similarity:
        return seen.coverage > _MOST_GROWTH * max(
            item.reference.prompted_coverage, _LEAST_COVERAGE
        )
    area = seen.coverage / max(item.reference.coverage, _LEAST_COVERAGE)
    spread = seen.spread / max(item.reference.spread, _LEAST_SPREAD)
    return area > settings.max_growth or spread > _MAX_EXTENT


def follow_reference(item: LiveObject, seen: Observation, passed_s: float) -> None:
    """Let the expected size follow that of a mask that is believed."""
    share = 1.0 - math.exp(-passed_s / _FOLLOW_S)
    item.reference.coverage = _blend(item.reference.coverage, seen.coverage, share)
    item.reference.spread = _blend(item.reference.spread, seen.spread, share)


def _blend(reference: float, value: float, share: float) -> float:
    """Return a mean on a logarithmic scale; the reference where one of them is 0."""
    if not reference or not value:
        return reference
    return reference * (value / reference) ** share
