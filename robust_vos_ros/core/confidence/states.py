"""What a planner may believe of each object in one frame: confidence, existence, visibility."""

from __future__ import annotations

import math

from robust_vos_ros.core.confidence.calibration import Belief, Calibration, Evidence
from robust_vos_ros.core.confidence.evidence import (
    Observation,
    follow_reference,
    has_changed,
    is_misfit,
    start_reference,
)
from robust_vos_ros.core.objects import MEAN_RATE, LiveObject
from robust_vos_ros.core.tracking_settings import ReacquireSettings, TrackerSettings
from robust_vos_ros.core.types import UNSEEN_STATES, EventType, ObjectFlag, ObjectState

_TIME_EPS_S = 1e-6  # of sums of seconds
_AREA_JUMP_RATIO = 3.0  # growth or shrinkage from frame to frame that raises AREA_JUMP


def covers_image(item: LiveObject, seen: Observation, settings: TrackerSettings) -> bool:
    """Whether a mask swallowed the image, as SAM 2's do when an object is lost."""
    return seen.coverage > max(settings.max_coverage, item.prompted_coverage)


def update(
    item: LiveObject,
    seen: Observation,
    stamp_ns: int,
    settings: TrackerSettings,
    calibration: Calibration | None = None,
) -> list[EventType]:
    """Bring one object to the present frame; returns the events of its state changing."""
    _forget_future(item, stamp_ns)
    vetoed = covers_image(item, seen, settings)
    item.evidence = gather(item, seen, stamp_ns)
    item.gate_activity = seen.gate_activity
    belief = Belief(0.0, 0.0) if vetoed else believe(item.evidence, calibration)
    item.changed = has_changed(item, seen, settings.guard)
    if item.changed:
        belief = Belief(min(belief.p_correct, settings.guard.max_confidence), belief.p_on_object)
    item.confidence = belief.p_correct
    threshold = settings.visible_off if item.visible else settings.visible_on
    if item.state == ObjectState.INITIALIZING and item.visible:
        threshold = 0.0  # a prompt is shown to who made it, however doubtful
    found = seen.coverage > 0.0 and belief.p_on_object >= threshold and not vetoed
    passed_s = max(0, stamp_ns - item.updated_ns) / 1e9
    item.updated_ns = stamp_ns
    item.visible = found
    if item.state in UNSEEN_STATES and settings.reacquire.verify:
        item.visible = _is_back(item, seen, settings.reacquire, found=found, passed_s=passed_s)
    if item.visible and item.state in UNSEEN_STATES:
        item.returned_ns = stamp_ns
    item.flags = ObjectFlag.COVERS_IMAGE if vetoed else ObjectFlag.NONE
    if item.changed:
        item.flags |= ObjectFlag.CHANGED
    if is_misfit(item, settings.guard):
        item.flags |= ObjectFlag.PROMPT_MISFIT
    if item.visible:
        item.existence = item.seen_existence = belief.p_on_object
        _see(item, seen, stamp_ns)
        if not item.reference_coverage:  # its size in the stream was not known
            item.prompted_coverage = item.mean_coverage = seen.coverage
            start_reference(item, seen)
        elif not item.changed:
            follow_reference(item, seen, passed_s)
    else:
        half_lives = (stamp_ns - item.last_seen_ns) / 1e9 / settings.existence_half_life_s
        item.existence = item.seen_existence * 0.5 ** max(0.0, half_lives)
        item.quality, item.confidence = float('nan'), 0.0
        item.frames_since_seen += 1
    return change_state(item, next_state(item, stamp_ns, settings))


def _forget_future(item: LiveObject, stamp_ns: int) -> None:
    """Bring the times of an object into the past, after time went backwards."""
    item.last_seen_ns = min(item.last_seen_ns, stamp_ns)
    item.prompted_ns = min(item.prompted_ns, stamp_ns)
    item.remembered_ns = min(item.remembered_ns, stamp_ns)
    for name in ('returned_ns', 'shown_ns'):
        known = getattr(item, name)
        if known is not None:
            setattr(item, name, min(known, stamp_ns))


def gather(item: LiveObject, seen: Observation, stamp_ns: int) -> Evidence:
    """Collect what the confidence of one object in one frame is made of."""
    ratio = seen.coverage / item.coverage if item.coverage and seen.coverage else 1.0
    return Evidence(
        iou=seen.iou,
        object_score=seen.object_score,
        margin=seen.margin,
        area_change=abs(math.log(ratio)),
        gate_activity=seen.gate_activity,
        similarity=seen.similarity,
        similarity_margin=seen.similarity_margin,
        mean_similarity=item.mean_similarity,
        verified=seen.verified,
        growth=_log_ratio(seen.coverage, item.reference_coverage),
        extent=_log_ratio(seen.spread, item.reference_spread),
        misfit=item.prompt_misfit,
        searching=not item.visible,
        memory_age_s=max(0.0, (stamp_ns - item.remembered_ns) / 1e9),
    )


def _log_ratio(value: float, reference: float) -> float:
    """Return the log of a ratio of sizes; 0 where one of them is 0."""
    return math.log(value / reference) if value and reference else 0.0


def believe(evidence: Evidence, calibration: Calibration | None) -> Belief:
    """Return what a mask is believed to be; without a calibration, what the network says."""
    if calibration is not None:
        return calibration.believe(evidence)
    p_on_object = sigmoid(evidence.object_score)
    return Belief(p_on_object * evidence.iou, p_on_object)


def start(
    item: LiveObject, seen: Observation, stamp_ns: int, calibration: Calibration | None = None
) -> None:
    """Take a user's prompt as the truth about an object, whatever was believed before."""
    item.visible = seen.coverage > 0.0
    item.quality = seen.iou if item.visible else float('nan')
    item.remembered_ns = stamp_ns
    item.coverage = item.prompted_coverage = item.mean_coverage = seen.coverage
    start_reference(item, seen)
    item.evidence = gather(item, seen, stamp_ns)
    belief = believe(item.evidence, calibration) if item.visible else Belief(0.0, 0.0)
    item.confidence, item.existence, item.seen_existence = (
        belief.p_correct,
        belief.p_on_object,
        belief.p_on_object,
    )
    item.mean_confidence = 1.0
    item.flags = ObjectFlag.NONE
    item.path_switched = False
    item.gate_activity = seen.gate_activity
    item.memory_updated = True
    item.frames_since_seen = 0
    item.last_seen_ns = stamp_ns
    item.reacquire_evidence_s = item.returned_ns = item.shown_ns = None
    item.updated_ns = stamp_ns
    item.jumped_ns = item.anchored_ns = stamp_ns - int(3600e9)
    item.state = ObjectState.INITIALIZING
    item.prompted_ns = stamp_ns


def sigmoid(logit: float) -> float:
    """Return 1 / (1 + e^-logit) without overflow."""
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, logit))))


def _see(item: LiveObject, seen: Observation, stamp_ns: int) -> None:
    ratio = seen.coverage / item.coverage if item.coverage else 1.0
    if max(ratio, 1.0 / ratio) > _AREA_JUMP_RATIO:
        item.flags |= ObjectFlag.AREA_JUMP
        item.jumped_ns = stamp_ns
    item.quality = seen.iou
    item.coverage = seen.coverage
    if not item.changed:
        item.mean_confidence += MEAN_RATE * (item.confidence - item.mean_confidence)
    item.last_seen_ns, item.frames_since_seen = stamp_ns, 0


def _is_back(
    item: LiveObject,
    seen: Observation,
    rule: ReacquireSettings,
    *,
    found: bool,
    passed_s: float,
) -> bool:
    """Whether what is found is believed: an object that was gone must look like itself.

    For `hold_s` on balance: time in which it does not look like itself counts against it. A
    look-alike passes for the object in single frames.
    """
    similar = found and (math.isnan(seen.similarity) or seen.similarity >= rule.min_similarity)
    if item.reacquire_evidence_s is None:
        item.reacquire_evidence_s = 0.0 if similar else None
    else:
        item.reacquire_evidence_s = min(
            rule.hold_s, item.reacquire_evidence_s + (passed_s if similar else -passed_s)
        )
        if item.reacquire_evidence_s < 0.0:
            item.reacquire_evidence_s = None
    back = (
        similar
        and item.reacquire_evidence_s is not None
        and item.reacquire_evidence_s >= rule.hold_s - _TIME_EPS_S
    )
    if back:
        item.reacquire_evidence_s = None
    return back


def next_state(item: LiveObject, stamp_ns: int, settings: TrackerSettings) -> ObjectState:
    """Return the state that follows from what is known of an object at a time."""
    if not item.visible:
        unseen_s = (stamp_ns - item.last_seen_ns) / 1e9
        if unseen_s >= settings.lost_after_s or item.state == ObjectState.LOST:
            return ObjectState.LOST
        if unseen_s >= settings.occluded_after_s or item.state == ObjectState.OCCLUDED:
            return ObjectState.OCCLUDED
        return ObjectState.UNCERTAIN
    if (
        item.state == ObjectState.INITIALIZING
        and (stamp_ns - item.prompted_ns) / 1e9 < settings.confirm_after_s
    ):
        return ObjectState.INITIALIZING
    if item.changed:
        return ObjectState.UNCERTAIN
    tracked = item.state == ObjectState.TRACKED
    threshold = settings.tracked_off if tracked else settings.tracked_on
    return ObjectState.TRACKED if item.confidence >= threshold else ObjectState.UNCERTAIN


def change_state(item: LiveObject, state: ObjectState) -> list[EventType]:
    """Enter a state; returns the events that tell of it."""
    if state == item.state:
        return []
    item.state = state
    if state == ObjectState.TRACKED:
        first, item.confirmed = not item.confirmed, True
        return [EventType.CONFIRMED if first else EventType.REACQUIRED]
    return [EventType[state.name]]
