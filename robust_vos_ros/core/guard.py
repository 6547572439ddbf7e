"""Whether a mask still shows what was pointed at, whatever the network says and was fitted to.

A mask that spills onto what an object lies on, or slides to another thing, is often as sure as a
right one. What it cannot hide is that it is not the size of the prompt any more, and does not look
like it. The size that is expected follows that of the mask slowly: things come nearer, and turn.
"""

from __future__ import annotations

import math

from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.observation import Observation
from robust_vos_ros.core.tracking_config import GuardSettings
from robust_vos_ros.core.types import ObjectFlag

# Smaller masks are a few cells of the grid: their sizes are mostly rounding.
_LEAST_COVERAGE = 0.002
_LEAST_SPREAD = math.sqrt(_LEAST_COVERAGE / (2.0 * math.pi))  # of a disc of that area


def start_reference(item: LiveObject, seen: Observation) -> None:
    """Take the size of a prompted mask as what is expected."""
    item.reference_coverage, item.reference_spread = seen.coverage, seen.spread
    item.changed = False


def warn_of_misfit(item: LiveObject, misfit: float, settings: GuardSettings) -> list[str]:
    """Keep how well a mask fits its prompt; returns a sentence where it does not.

    Args:
        item: The object.
        misfit: From `core.prompts.hold_to_prompts`.
        settings: How much is too much.
    """
    item.prompt_misfit = misfit
    if not is_misfit(item, settings):
        return []
    item.flags |= ObjectFlag.PROMPT_MISFIT
    text = (
        f'{item.object_id!r}: the mask does not fit its prompt: {misfit:.0%} of it was outside of '
        'the box, or of the clicks are contradicted; look at it, and refine it with clicks'
    )
    return [text]


def warn_of_size(item: LiveObject, settings: GuardSettings) -> list[str]:
    """Return a sentence where what was prompted is too small to be followed well."""
    share = item.prompted_coverage
    if not 0.0 < share < settings.small_prompt:
        return []
    text = (
        f'{item.object_id!r}: the mask covers {share:.2%} of the image, less than '
        f'{settings.small_prompt:.2%}: it may be lost soon; bring the camera nearer, or crop the '
        'image'
    )
    return [text]


def is_misfit(item: LiveObject, settings: GuardSettings) -> bool:
    """Whether the mask of the newest prompt does not fit its box and clicks."""
    return settings.enabled and item.prompt_misfit > settings.max_misfit


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
    if seen.verified >= settings.confirm_similarity:
        return seen.coverage > settings.most_growth * max(item.prompted_coverage, _LEAST_COVERAGE)
    area = seen.coverage / max(item.reference_coverage, _LEAST_COVERAGE)
    spread = seen.spread / max(item.reference_spread, _LEAST_SPREAD)
    return area > settings.max_growth or spread > settings.max_extent


def follow_reference(
    item: LiveObject, seen: Observation, passed_s: float, settings: GuardSettings
) -> None:
    """Let the expected size follow that of a mask that is believed."""
    share = 1.0 - math.exp(-passed_s / settings.follow_s)
    item.reference_coverage = _blend(item.reference_coverage, seen.coverage, share)
    item.reference_spread = _blend(item.reference_spread, seen.spread, share)


def _blend(reference: float, value: float, share: float) -> float:
    """Return a mean on a logarithmic scale; the reference where one of them is 0."""
    if not reference or not value:
        return reference
    return reference * (value / reference) ** share
