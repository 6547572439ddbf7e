"""What a planner may believe: confidence, visibility and state of each object, with hysteresis."""

from __future__ import annotations

import dataclasses
import math

from robust_vos_ros.core.config import TrackerSettings
from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.types import EventType, ObjectFlag, ObjectState


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """What the network says of one object in one frame.

    Attributes:
        object_score: Logit, above 0 the object is visible.
        iou: Predicted IoU of the mask, in [0, 1].
        coverage: Share of the image the mask covers, in [0, 1].
        gate_activity: Share of open gates of the adapter, NaN without one.
    """

    object_score: float
    iou: float
    coverage: float
    gate_activity: float = math.nan


def covers_image(item: LiveObject, observation: Observation, settings: TrackerSettings) -> bool:
    """Whether a mask swallowed the image, as SAM 2's do when an object is lost."""
    return observation.coverage > max(settings.max_coverage, item.prompted_coverage)


def update(
    item: LiveObject, observation: Observation, stamp_ns: int, settings: TrackerSettings
) -> list[EventType]:
    """Bring one object to the present frame; returns the events of its state changing."""
    vetoed = covers_image(item, observation, settings)
    item.gate_activity = observation.gate_activity
    item.existence = 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, observation.object_score))))
    item.confidence = 0.0 if vetoed else item.existence * observation.iou
    threshold = settings.visible_off if item.visible else settings.visible_on
    item.visible = observation.coverage > 0.0 and item.confidence >= threshold and not vetoed
    item.flags = ObjectFlag.COVERS_IMAGE if vetoed else ObjectFlag.NONE
    if item.visible:
        ratio = observation.coverage / item.coverage if item.coverage else 1.0
        if max(ratio, 1.0 / ratio) > settings.area_jump_ratio:
            item.flags |= ObjectFlag.AREA_JUMP
        item.quality = observation.iou
        item.coverage = observation.coverage
        item.last_seen_ns, item.frames_since_seen = stamp_ns, 0
    else:
        item.quality, item.confidence = float('nan'), 0.0
        item.frames_since_seen += 1
    item.memory_updated = not vetoed and item.confidence >= settings.memory_min_confidence
    return _change_state(item, _next_state(item, stamp_ns, settings))


def start(item: LiveObject, observation: Observation, stamp_ns: int) -> None:
    """Take a user's prompt as the truth about an object, whatever was believed before."""
    item.existence = 1.0 / (1.0 + math.exp(-observation.object_score))
    item.visible = observation.coverage > 0.0
    item.quality = observation.iou if item.visible else float('nan')
    item.confidence = item.existence * observation.iou if item.visible else 0.0
    item.coverage = item.prompted_coverage = observation.coverage
    item.flags = ObjectFlag.NONE
    item.memory_updated = True
    item.frames_since_seen = 0
    item.last_seen_ns = stamp_ns
    item.state = ObjectState.INITIALIZING
    item.prompted_ns = stamp_ns


def _next_state(item: LiveObject, stamp_ns: int, settings: TrackerSettings) -> ObjectState:
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
    tracked = item.state == ObjectState.TRACKED
    threshold = settings.tracked_off if tracked else settings.tracked_on
    return ObjectState.TRACKED if item.confidence >= threshold else ObjectState.UNCERTAIN


def _change_state(item: LiveObject, state: ObjectState) -> list[EventType]:
    if state == item.state:
        return []
    item.state = state
    if state == ObjectState.TRACKED:
        first, item.confirmed = not item.confirmed, True
        return [EventType.CONFIRMED if first else EventType.REACQUIRED]
    return [EventType[state.name]]
