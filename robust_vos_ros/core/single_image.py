"""Objects in one image, without tracking them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import torch

from robust_vos_ros.core import confidence
from robust_vos_ros.core.guard import warn_of_misfit
from robust_vos_ros.core.history import make_record
from robust_vos_ros.core.model import Model
from robust_vos_ros.core.objects import ObjectTable
from robust_vos_ros.core.observation import observe
from robust_vos_ros.core.prompts import check_prompt
from robust_vos_ros.core.results import make_result
from robust_vos_ros.core.segmenter import Segmenter
from robust_vos_ros.core.tracking_config import GuardSettings
from robust_vos_ros.core.types import Frame, Prompt, TrackResult


def segment_once(
    model: Model, frame: Frame, prompts: Sequence[Prompt], max_objects: int
) -> TrackResult:
    """Segment at most `max_objects` objects in an image.

    Raises:
        DuplicateIdError, CapacityError, PromptError: As in `VideoTracker.add`.
    """
    start_ns = time.perf_counter_ns()
    record = make_record(frame, model.image_size, 0)
    table = ObjectTable(max_objects, uuid.UUID(int=0))
    table.check_room([prompt.object_id for prompt in prompts], replace_existing=False)
    checked = [check_prompt(prompt, record.size_hw) for prompt in prompts]
    items = [table.add(p.object_id, p.class_id, record.stamp_ns) for p in checked]
    warnings: list[str] = []
    logits = torch.zeros(len(items), model.mask_size, model.mask_size, device=model.device)
    with model.inference():
        for segment in Segmenter(model).segment(checked, record):
            logits[segment.rows] = segment.kept.mask_logits[:, 0]
            for row, seen in zip(segment.rows, observe(segment.kept), strict=True):
                confidence.start(items[row], seen, record.stamp_ns, model.calibration)
            for row, misfit in zip(segment.rows, segment.misfit, strict=True):
                warnings += warn_of_misfit(items[row], misfit, GuardSettings())
    return make_result(items, logits, record, [], start_ns=start_ns, warnings=warnings)
