"""Track through the images of a bag with prompts by frame, as the node does live."""

from __future__ import annotations

import dataclasses
import json
import time

from robust_vos_ros.bags.job import Identity
from robust_vos_ros.bags.prompts import FramePrompts, Plan, PromptFile, count_objects
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.saving.format import read_notes
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.types import Frame, TrackEvent, TrackResult
from robust_vos_ros.ros_types.discontinuities import Action, Previous, find_discontinuities

_PREVIOUS = 'previous frame'


class PlannedTracker:
    """A tracker that gets its prompts from a plan.

    Args:
        model: The network.
        identity: Gives uuids to the objects.
        prompts: Settings; `plan` is what came of its prompts.
        plan: What to do after which frame.
        saved: What `save` of another one gave, to go on from there.

    Attributes:
        seconds: Time of tracking.
    """

    def __init__(
        self,
        model: Model,
        identity: Identity,
        prompts: PromptFile,
        plan: Plan,
        *,
        saved: bytes | None,
    ) -> None:
        room = max(prompts.tracking.max_objects, count_objects(plan))
        settings = prompts.tracking.model_copy(update={'max_objects': room})
        self._tracker = VideoTracker(model, settings, session=identity.session)
        self._stream = prompts.stream
        self._plan = plan
        self._previous: Previous | None = None
        self.seconds = 0.0
        if saved is not None:
            self._tracker.restore(saved)
            previous = json.loads(read_notes(saved)[_PREVIOUS])
            if previous is not None:
                stamp_ns, (height, width), frame_id = previous
                self._previous = Previous(stamp_ns, (height, width), frame_id)

    def save(self) -> bytes:
        """Return what the next frames depend on."""
        previous = self._previous and dataclasses.astuple(self._previous)
        return self._tracker.save({_PREVIOUS: json.dumps(previous)})

    def track(self, index: int, frame: Frame) -> TrackResult:
        """Track a frame, then apply its prompts."""
        start_s = time.perf_counter()
        events = self._handle_discontinuities(frame)
        result = self._tracker.step(frame)
        self._previous = Previous(frame.stamp_ns, frame.size_hw, frame.frame_id)
        events += result.events
        if index in self._plan:
            events += self._apply(self._plan[index])
        assert self._tracker.last_result is not None
        self.seconds += time.perf_counter() - start_s
        return dataclasses.replace(self._tracker.last_result, events=tuple(events))

    def check_unused(self, index: int, problem: str) -> None:
        """Raise BagError if an image that cannot be used has prompts."""
        if index in self._plan:
            raise BagError(f'frame {index} has prompts, but its image cannot be used: {problem}')

    def _apply(self, prompts: FramePrompts) -> list[TrackEvent]:
        events: list[TrackEvent] = []
        if prompts.remove:
            events += self._tracker.remove(prompts.remove)
        if prompts.add:
            events += self._tracker.add(prompts.add).events
        for prompt in prompts.refine:
            events += self._tracker.refine(prompt).events
        return events

    def _handle_discontinuities(self, frame: Frame) -> list[TrackEvent]:
        """Handle discontinuities of the stream as the node does."""
        found = find_discontinuities(self._previous, frame, self._stream, clock_jumped=False)
        action = max((item.action for item in found), default=Action.keep)
        if action == Action.reset_memory:
            self._tracker.reset_memory()
        return list(self._tracker.reset()) if action == Action.remove_objects else []
