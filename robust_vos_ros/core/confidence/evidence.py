"""Observations of each object in one frame, and checks of masks against their prompts."""

from __future__ import annotations

import dataclasses
import math

import torch

from robust_vos_ros.core.masks import spread
from robust_vos_ros.core.network.tensors import Candidates
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.reid.appearance import Similarities
from robust_vos_ros.core.tracking_sections import GuardSettings
from robust_vos_ros.core.types import ObjectFlag


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """Measures of one object, or of one of its hypotheses, in one frame.

    Attributes:
        object_score: Logit, above 0 the object is visible.
        iou: Predicted IoU of the mask, in [0, 1].
        coverage: Share of the image the mask covers, in [0, 1].
        agreement: IoU of the box of the mask with the box of mask and best alternative; 1 without
            an alternative. Low beside a distractor.
        gate_activity: Share of open gates of the adapter, NaN without one.
        margin: Lead of the hypothesis over the next one, in cumulative log IoU; infinite without
            another.
        similarity: Cosine of the mask's embedding to the nearest center of the object's gallery;
            NaN = unknown.
        similarity_margin: `similarity` minus that to the most similar other object; NaN likewise.
        verified: Cosine to the nearest verified exemplar; NaN likewise.
        spread: Radius of gyration of the mask in sides of the image.
        classifier_fit: Agreement of the mask with the classifier of the object's prompt, see
            `object_classifier.agreement`; NaN = unknown.
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
    classifier_fit: float = math.nan


def observe(
    kept: Candidates,
    agreement: torch.Tensor | None = None,
    activity: torch.Tensor | None = None,
    similarities: Similarities | None = None,
    classifier_fit: torch.Tensor | None = None,
) -> list[Observation]:
    """Measure kept masks.

    Args:
        kept: B masks (M = 1).
        agreement: (B,) as in `Observation`; `activity` likewise.
        similarities: Of the masks to their objects.
        classifier_fit: (B,) as in `Observation`.
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
        nan if classifier_fit is None else classifier_fit,
    ]
    names = (
        'object_score', 'iou', 'coverage', 'agreement', 'gate_activity', 'similarity',
        'similarity_margin', 'verified', 'spread', 'classifier_fit',
    )  # fmt: skip
    table = torch.stack(columns, dim=1).tolist()
    return [Observation(**dict(zip(names, row, strict=True))) for row in table]


# Sizes of smaller masks are dominated by rounding to the grid.
_LEAST_COVERAGE = 0.002
# A prompted mask below this share of the image raises a warning: it is smaller than one cell, 16 x
# 16 of 256 x 256 pixels, of nano's grid, and such objects are soon lost (docs/nano.md).
SMALL_PROMPT = 0.003
# Misfit (`prompts.hold_to_prompts`) above which a mask does not fit its prompt.
_MAX_MISFIT = 0.25
# A mask similar to the prompt may grow to this times the prompted area.
_MOST_GROWTH = 8.0
# Maximum radius of gyration as a multiple of the expected one.
_MAX_EXTENT = 2.0
# Time constant of the expected size, short enough for an object whose distance shrinks by a fifth
# per second.
_FOLLOW_S = 2.0
_LEAST_SPREAD = math.sqrt(_LEAST_COVERAGE / (2.0 * math.pi))  # of a disc of that area


def start_reference(item: LiveObject, seen: Observation) -> None:
    """Set the expected size to that of a prompted mask."""
    item.reference.coverage, item.reference.spread = seen.coverage, seen.spread
    item.track.changed = False


def warn_of_misfit(item: LiveObject, misfit: float, settings: GuardSettings) -> list[str]:
    """Store the misfit of a prompted mask; returns a warning if it does not fit.

    Args:
        item: The object.
        misfit: From `core.prompting.prompts.hold_to_prompts`.
        settings: Whether the check is enabled.
    """
    item.reference.prompt_misfit = misfit
    if not is_misfit(item, settings):
        return []
    item.track.flags |= ObjectFlag.PROMPT_MISFIT
    text = (
        f'{item.object_id!r}: the mask does not fit its prompt: it contradicts {misfit:.0%} of '
        'the clicks, or as much of it was outside of the box; check it, and refine it with clicks'
    )
    return [text]


def warn_of_size(item: LiveObject, *, zoomed: bool) -> list[str]:
    """Return a warning if a prompted mask is too small to be tracked well.

    Args:
        item: The object, just prompted.
        zoomed: Whether the zoom is enabled.
    """
    share = item.reference.prompted_coverage
    if not 0.0 < share < SMALL_PROMPT:
        return []
    image, also = ('zoomed image', '') if zoomed else ('image', ', or set tracking.zoom.enabled')
    text = (
        f'{item.object_id!r}: the mask covers {share:.2%} of the {image}, less than '
        f'{SMALL_PROMPT:.2%}: it may be lost soon; bring the camera nearer{also}'
    )
    return [text]


def is_misfit(item: LiveObject, settings: GuardSettings) -> bool:
    """Whether the mask of the newest prompt does not fit its box and clicks."""
    return settings.enabled and item.reference.prompt_misfit > _MAX_MISFIT


def has_changed(item: LiveObject, seen: Observation, settings: GuardSettings) -> bool:
    """Whether a mask no longer shows the prompted object, judged by appearance and size.

    Args:
        item: The object, before the frame.
        seen: Observation in the frame.
        settings: Thresholds.
    """
    if not settings.enabled or not seen.coverage:
        return False
    if seen.verified < settings.min_similarity:  # False for NaN
        return True
    if not item.reference.coverage:  # the expected size is unknown
        return False
    if seen.verified >= settings.confirm_similarity:
        return seen.coverage > _MOST_GROWTH * max(
            item.reference.prompted_coverage, _LEAST_COVERAGE
        )
    area = seen.coverage / max(item.reference.coverage, _LEAST_COVERAGE)
    spread = seen.spread / max(item.reference.spread, _LEAST_SPREAD)
    return area > settings.max_growth or spread > _MAX_EXTENT


def follow_reference(item: LiveObject, seen: Observation, passed_s: float) -> None:
    """Move the expected size towards that of an accepted mask."""
    share = 1.0 - math.exp(-passed_s / _FOLLOW_S)
    item.reference.coverage = _blend(item.reference.coverage, seen.coverage, share)
    item.reference.spread = _blend(item.reference.spread, seen.spread, share)


def _blend(reference: float, value: float, share: float) -> float:
    """Return a weighted geometric mean; `reference` if one of them is 0."""
    if not reference or not value:
        return reference
    return reference * (value / reference) ** share
