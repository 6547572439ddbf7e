"""Update visibility, confidence, existence and state of each object."""

from __future__ import annotations

import math

from robust_vos_ros.core.confidence.calibration import Calibration, Estimate, Evidence
from robust_vos_ros.core.confidence.evidence import (
    Observation,
    follow_reference,
    has_changed,
    is_misfit,
    start_reference,
)
from robust_vos_ros.core.objects import MEAN_RATE, LiveObject
from robust_vos_ros.core.tracking_sections import ReacquireSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import UNSEEN_STATES, EventType, ObjectFlag, ObjectState

_TIME_EPS_S = 1e-6  # tolerance for rounding of summed seconds
_AREA_JUMP_RATIO = 3.0  # growth or shrinkage from frame to frame that raises AREA_JUMP


# Time in which half of the masks of moving objects lose the IoU of 0.5 with their object: measured
# between true masks 1 to 6 frames apart of 21 training sequences of DAVIS 2016 (0.21 to 0.25 s).
_AGED_HALF_LIFE_S = 0.25


def covers_image(item: LiveObject, seen: Observation, settings: TrackerSettings) -> bool:
    """Whether a mask covers too much of the image, as SAM 2's masks may when an object is lost."""
    return seen.coverage > max(settings.max_coverage, item.reference.prompted_coverage)


def update(
    item: LiveObject,
    seen: Observation,
    stamp_ns: int,
    settings: TrackerSettings,
    calibration: Calibration | None = None,
) -> list[EventType]:
    """Update one object for a frame; returns the events of its state change."""
    track = item.track
    _limit_stamps(item, stamp_ns)
    covering = covers_image(item, seen, settings)
    estimated = _assess(item, seen, stamp_ns, settings, calibration, covering=covering)
    threshold = settings.visible_off if track.visible else settings.visible_on
    if track.state == ObjectState.INITIALIZING and track.visible:
        threshold = 0.0  # publish every prompted mask, so that its user sees it
    found = seen.coverage > 0.0 and estimated.p_on_object >= threshold and not covering
    passed_s = max(0, stamp_ns - track.updated_ns) / 1e9
    track.updated_ns = stamp_ns
    track.visible = found
    if track.state in UNSEEN_STATES and settings.reacquire.verify:
        track.visible = _is_reacquired(
            item, seen, settings.reacquire, found=found, passed_s=passed_s
        )
    if track.visible and track.state in UNSEEN_STATES:
        item.reid.reacquired_ns = stamp_ns
    track.flags = _flags(item, settings, covering=covering)
    if track.visible:
        track.existence = track.seen_existence = estimated.p_on_object
        _update_visible(item, seen, stamp_ns)
        if not item.reference.coverage:  # first time seen: the expected size was unknown
            item.reference.prompted_coverage = item.memory.mean_coverage = seen.coverage
            start_reference(item, seen)
        elif not track.changed:
            follow_reference(item, seen, passed_s)
    else:
        half_lives = (stamp_ns - track.last_seen_ns) / 1e9 / settings.existence_half_life_s
        track.existence = track.seen_existence * 0.5 ** max(0.0, half_lives)
        track.mask_quality, track.confidence = float('nan'), 0.0
        track.frames_since_seen += 1
    return change_state(item, next_state(item, stamp_ns, settings))


def age(item: LiveObject, stamp_ns: int, settings: TrackerSettings) -> list[EventType]:
    """Update one object for a frame that it was not tracked into; returns its events.

    Its mask stays that of the newest frame it was tracked into. Confidence and existence decrease
    with the age of that mask, and its state never improves.
    """
    track = item.track
    _limit_stamps(item, stamp_ns)
    track.updated_ns = min(track.updated_ns, stamp_ns)
    aged_s = (stamp_ns - track.last_seen_ns) / 1e9
    track.existence = track.seen_existence * 0.5 ** (aged_s / settings.existence_half_life_s)
    if track.visible:
        track.confidence = track.tracked_confidence * 0.5 ** (aged_s / _AGED_HALF_LIFE_S)
        track.flags |= ObjectFlag.AGED
    track.frames_since_seen += 1
    track.path_switched = item.memory.updated = False
    state = next_state(item, stamp_ns, settings)
    return [] if state == ObjectState.TRACKED else change_state(item, state)


def _assess(
    item: LiveObject,
    seen: Observation,
    stamp_ns: int,
    settings: TrackerSettings,
    calibration: Calibration | None,
    *,
    covering: bool,
) -> Estimate:
    """Update evidence, confidence and whether the object changed; returns the estimate."""
    track = item.track
    track.evidence = gather(item, seen, stamp_ns)
    track.gate_activity = seen.gate_activity
    estimated = Estimate(0.0, 0.0) if covering else estimate(track.evidence, calibration)
    track.changed = has_changed(item, seen, settings.guard)
    track.confidence = estimated.p_correct
    if track.changed:
        track.confidence = min(estimated.p_correct, settings.guard.max_confidence)
    track.tracked_confidence = track.confidence
    return estimated


def _flags(item: LiveObject, settings: TrackerSettings, *, covering: bool) -> ObjectFlag:
    """Return the flags that do not depend on whether the object is visible."""
    flags = ObjectFlag.COVERS_IMAGE if covering else ObjectFlag.NONE
    if item.track.changed:
        flags |= ObjectFlag.CHANGED
    if is_misfit(item, settings.guard):
        flags |= ObjectFlag.PROMPT_MISFIT
    return flags


def _limit_stamps(item: LiveObject, stamp_ns: int) -> None:
    """Limit the stamps of an object to the present one, after time went backwards."""
    track, memory, reid = item.track, item.memory, item.reid
    track.last_seen_ns = min(track.last_seen_ns, stamp_ns)
    track.prompted_ns = min(track.prompted_ns, stamp_ns)
    memory.remembered_ns = min(memory.remembered_ns, stamp_ns)
    if reid.reacquired_ns is not None:
        reid.reacquired_ns = min(reid.reacquired_ns, stamp_ns)
    if reid.verified_ns is not None:
        reid.verified_ns = min(reid.verified_ns, stamp_ns)


def gather(item: LiveObject, seen: Observation, stamp_ns: int) -> Evidence:
    """Collect the inputs of the confidence estimate of one object in one frame."""
    ratio = seen.coverage / item.track.coverage if item.track.coverage and seen.coverage else 1.0
    return Evidence(
        iou=seen.iou,
        object_score=seen.object_score,
        margin=seen.margin,
        area_change=abs(math.log(ratio)),
        gate_activity=seen.gate_activity,
        similarity=seen.similarity,
        similarity_margin=seen.similarity_margin,
        mean_similarity=item.reid.mean_similarity,
        verified=seen.verified,
        growth=_log_ratio(seen.coverage, item.reference.coverage),
        extent=_log_ratio(seen.spread, item.reference.spread),
        misfit=item.reference.prompt_misfit,
        classifier_fit=seen.classifier_fit,
        searching=not item.track.visible,
        memory_age_s=max(0.0, (stamp_ns - item.memory.remembered_ns) / 1e9),
    )


def _log_ratio(value: float, reference: float) -> float:
    """Return the log of a ratio of sizes; 0 where one of them is 0."""
    return math.log(value / reference) if value and reference else 0.0


def estimate(evidence: Evidence, calibration: Calibration | None) -> Estimate:
    """Return the probabilities of a mask, calibrated if there is a calibration."""
    if calibration is not None:
        return calibration.estimate(evidence)
    p_on_object = sigmoid(evidence.object_score)
    return Estimate(p_on_object * evidence.iou, p_on_object)


def start(
    item: LiveObject, seen: Observation, stamp_ns: int, calibration: Calibration | None = None
) -> None:
    """Reset the state of an object to that of a prompted mask."""
    track, memory = item.track, item.memory
    track.visible = seen.coverage > 0.0
    track.mask_quality = seen.iou if track.visible else float('nan')
    memory.remembered_ns = stamp_ns
    track.coverage = item.reference.prompted_coverage = memory.mean_coverage = seen.coverage
    start_reference(item, seen)
    track.evidence = gather(item, seen, stamp_ns)
    estimated = estimate(track.evidence, calibration) if track.visible else Estimate(0.0, 0.0)
    track.confidence = track.tracked_confidence = estimated.p_correct
    track.existence = track.seen_existence = estimated.p_on_object
    track.flags = ObjectFlag.NONE
    track.path_switched = False
    track.gate_activity = seen.gate_activity
    track.frames_since_seen = 0
    track.last_seen_ns = track.prompted_ns = track.updated_ns = stamp_ns
    track.state = ObjectState.INITIALIZING
    memory.updated, memory.mean_confidence = True, 1.0
    memory.jumped_ns = memory.anchored_ns = stamp_ns - int(3600e9)
    item.reid.evidence_s = item.reid.reacquired_ns = item.reid.verified_ns = None


def lose(item: LiveObject) -> None:
    """Set an object to LOST, for instance after frames were missed."""
    track = item.track
    track.state, track.visible, track.flags = ObjectState.LOST, False, ObjectFlag.NONE
    track.existence, track.confidence = track.seen_existence, 0.0
    track.mask_quality = track.gate_activity = float('nan')
    track.path_switched = item.memory.updated = False
    track.updated_ns = item.reid.searched_ns = 0
    item.reid.evidence_s = None


def sigmoid(logit: float) -> float:
    """Return 1 / (1 + e^-logit) without overflow."""
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, logit))))


def _update_visible(item: LiveObject, seen: Observation, stamp_ns: int) -> None:
    track, memory = item.track, item.memory
    ratio = seen.coverage / track.coverage if track.coverage else 1.0
    if max(ratio, 1.0 / ratio) > _AREA_JUMP_RATIO:
        track.flags |= ObjectFlag.AREA_JUMP
        memory.jumped_ns = stamp_ns
    track.mask_quality = seen.iou
    track.coverage = seen.coverage
    if not track.changed:
        memory.mean_confidence += MEAN_RATE * (track.confidence - memory.mean_confidence)
    track.last_seen_ns, track.frames_since_seen = stamp_ns, 0


def _is_reacquired(
    item: LiveObject,
    seen: Observation,
    rule: ReacquireSettings,
    *,
    found: bool,
    passed_s: float,
) -> bool:
    """Whether an unseen object is visible again: its masks must match its appearance for `hold_s`.

    Time in which they do not match is subtracted, since a distractor matches in single frames.
    """
    similar = found and (math.isnan(seen.similarity) or seen.similarity >= rule.min_similarity)
    reid = item.reid
    if reid.evidence_s is None:
        reid.evidence_s = 0.0 if similar else None
    else:
        reid.evidence_s = min(rule.hold_s, reid.evidence_s + (passed_s if similar else -passed_s))
        if reid.evidence_s < 0.0:
            reid.evidence_s = None
    back = similar and reid.evidence_s is not None and reid.evidence_s >= rule.hold_s - _TIME_EPS_S
    if back:
        reid.evidence_s = None
    return back


def next_state(item: LiveObject, stamp_ns: int, settings: TrackerSettings) -> ObjectState:
    """Return the next state of an object."""
    track = item.track
    if not track.visible:
        unseen_s = (stamp_ns - track.last_seen_ns) / 1e9
        if unseen_s >= settings.lost_after_s or track.state == ObjectState.LOST:
            return ObjectState.LOST
        if unseen_s >= settings.occluded_after_s or track.state == ObjectState.OCCLUDED:
            return ObjectState.OCCLUDED
        return ObjectState.UNCERTAIN
    if (
        track.state == ObjectState.INITIALIZING
        and (stamp_ns - track.prompted_ns) / 1e9 < settings.confirm_after_s
    ):
        return ObjectState.INITIALIZING
    if track.changed:
        return ObjectState.UNCERTAIN
    tracked = track.state == ObjectState.TRACKED
    threshold = settings.tracked_off if tracked else settings.tracked_on
    return ObjectState.TRACKED if track.confidence >= threshold else ObjectState.UNCERTAIN


def change_state(item: LiveObject, state: ObjectState) -> list[EventType]:
    """Enter a state; returns its events."""
    if state == item.track.state:
        return []
    item.track.state = state
    if state == ObjectState.TRACKED:
        first, item.track.confirmed = not item.track.confirmed, True
        return [EventType.CONFIRMED if first else EventType.REACQUIRED]
    return [EventType[state.name]]
