"""The state of an object, with hysteresis: times in seconds, thresholds as probabilities."""

from __future__ import annotations

from robust_vos_ros.core.objects import LiveObject
from robust_vos_ros.core.tracking_config import TrackerSettings
from robust_vos_ros.core.types import EventType, ObjectState


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
