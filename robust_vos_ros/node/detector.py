"""Apply boxes of a detector to the objects; everything runs on the worker thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger

from robust_vos_ros.core.prompting.prompts import MAX_NAME
from robust_vos_ros.core.types import Prompt, TrackedObject
from robust_vos_ros.node.boxes import Box, place
from robust_vos_ros.node.detection_matching import Candidate, Decision, Matcher, find_candidates
from robust_vos_ros.node.detection_messages import to_boxes
from robust_vos_ros.node.pipeline import Pipeline
from robust_vos_ros.node.requests import Requests
from robust_vos_ros.ros_types.images import stamp_to_ns


class Detector:
    """Re-initializes, corrects and adds objects from detections.

    Args:
        requests: Changes objects.
        pipeline: Provides results, settings and counters.
        logger: Of the node.
    """

    def __init__(self, requests: Requests, pipeline: Pipeline, logger: RcutilsLogger) -> None:
        self._requests = requests
        self._pipeline = pipeline
        self._logger = logger
        self._matcher = Matcher()
        self._numbers = Counter[str]()  # number of named objects by class

    def apply(self, array: Any, msg: Any | None) -> None:
        """Apply the boxes of one array.

        Args:
            array: A vision_msgs/Detection2DArray.
            msg: The received image of the detections; None = the newest processed one.

        Raises:
            PromptError: And all errors of `VideoTracker.reinitialize`, `refine` and `add`.
        """
        header = self._requests.catch_up(msg)
        result, settings = self._pipeline.last_result, self._pipeline.settings.detector
        if result is None:
            return
        if msg is None:
            stamp_ns, size_hw = result.stamp_ns, result.label_mask.shape
        else:
            stamp_ns, size_hw = stamp_to_ns(header.stamp), self._requests.size_of(msg)
        boxes, unused = to_boxes(array, settings)
        placed, outside = place(boxes, size_hw, settings)
        statistics = self._pipeline.statistics.detector
        statistics.add_boxes(len(array.detections), unused + outside)
        free = self._restart(placed, result.objects, msg)
        if settings.mode == 'restart':
            return
        result = self._pipeline.last_result or result
        view = self._pipeline.views.nearest(stamp_ns, result, settings.sync_tolerance_s)
        if view is None or view.size_hw != size_hw:
            statistics.add(without_result=1)
            return
        room = self._pipeline.settings.tracking.max_objects - len(result.objects)
        decision = self._matcher.update(
            free, view, result.objects, settings, stamp_ns=stamp_ns, room=room
        )
        self._apply_decision(decision, msg)

    def _restart(
        self, boxes: list[Box], objects: Sequence[TrackedObject], msg: Any | None
    ) -> list[Box]:
        """Re-initialize unseen objects; returns the boxes not used for that."""
        candidates = find_candidates(boxes, objects)
        prompts = [_to_prompt(candidate) for candidate in candidates]
        taken = [candidates[row].box for row in self._requests.reinitialize(prompts, msg)]
        return [box for box in boxes if not any(box is other for other in taken)]

    def _apply_decision(self, decision: Decision, msg: Any | None) -> None:
        statistics = self._pipeline.statistics.detector
        statistics.add(no_room=decision.no_room)
        if decision.removals:
            ids = [item.object_id for item in decision.removals]
            self._requests.remove(ids, why='added by the detector, no longer detected')
            statistics.add(removed=len(ids))
            self._logger.info(f'removed {", ".join(ids)}: no longer detected')
        for candidate in decision.corrections:
            self._requests.refine(_to_prompt(candidate), msg)
            statistics.add(corrected=1)
            self._logger.info(f'{candidate.item.object_id!r} corrected to its detection')
        if decision.additions:
            self._add(decision.additions, msg)

    def _add(self, boxes: Sequence[Box], msg: Any | None) -> None:
        prompts = [
            Prompt(self._new_name(box.class_id), box=box.corners, class_id=box.class_id)
            for box in boxes
        ]
        applied = self._requests.add(prompts, msg, replace=False)
        names = [prompt.object_id for prompt in prompts]
        for item in applied.result.objects:
            if item.object_id in names:
                self._matcher.watch(item.uuid)
        self._pipeline.statistics.detector.add(added=len(names))
        self._logger.info(f'added {", ".join(names)} by detection')

    def _new_name(self, class_id: str) -> str:
        """Return a new name `<class>_<number>`."""
        result = self._pipeline.last_result
        taken = {item.object_id for item in result.objects} if result else set()
        while True:
            self._numbers[class_id] += 1
            ending = f'_{self._numbers[class_id]}'
            name = class_id[: MAX_NAME - len(ending)] + ending
            if name not in taken:
                return name


def _to_prompt(candidate: Candidate) -> Prompt:
    return Prompt(candidate.item.object_id, box=candidate.box.corners)
