"""The engine: point at objects once, then one `VideoTracker.step` per frame."""

from __future__ import annotations

import itertools
import math
import time
import uuid
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from robust_vos_ros.core import confidence
from robust_vos_ros.core.confidence import Observation
from robust_vos_ros.core.config import TrackerSettings
from robust_vos_ros.core.history import FrameHistory, Record, make_record
from robust_vos_ros.core.memory import ObjectMemory
from robust_vos_ros.core.model import ABSENT_LOGIT, Model
from robust_vos_ros.core.moga import Gates
from robust_vos_ros.core.objects import LiveObject, ObjectTable
from robust_vos_ros.core.prompts import (
    check_prompt,
    to_clicks,
    to_coarse_masks,
    to_mask_batch,
)
from robust_vos_ros.core.results import make_result
from robust_vos_ros.core.tensors import Candidates, Features
from robust_vos_ros.core.types import (
    EventType,
    Frame,
    ObjectState,
    Prompt,
    TrackEvent,
    TrackResult,
)

_DEFAULT_SESSION = uuid.UUID(int=0)


class VideoTracker:
    """Track up to `settings.max_objects` objects through a stream of frames.

    Not thread-safe: one thread owns a tracker.

    Args:
        model: The network; may be shared by trackers of one thread.
        settings: May be replaced at run time by one that differs in dynamic fields only.
        session: Namespace of the objects' uuids; give each run its own where they must not repeat.
    """

    def __init__(
        self, model: Model, settings: TrackerSettings, *, session: uuid.UUID | None = None
    ) -> None:
        self.model = model
        self.settings = settings
        self.last_result: TrackResult | None = None
        self.last_gates: Gates | None = None  # of the adapter, in the newest tracked frame
        self._objects = ObjectTable(settings.max_objects, session or _DEFAULT_SESSION)
        self._memory = ObjectMemory(
            capacity=settings.max_objects,
            num_prompted=settings.max_prompted_entries,
            num_recent=model.num_recent,
            num_pointers=model.num_pointers,
            entry_shape=(model.grid_size**2, model.memory_dim),
            pointer_dim=model.hidden_dim,
            device=model.device,
        )
        self._history = FrameHistory(settings.prompt_buffer_s)
        self._features: tuple[Record, Features] | None = None
        shape = (settings.max_objects, model.mask_size, model.mask_size)
        self._logits = torch.zeros(shape, device=model.device)
        self._num_frames = 0

    def step(self, frame: Frame) -> TrackResult:
        """Track all objects into the next frame."""
        start_ns = time.perf_counter_ns()
        record = make_record(frame, self.model.image_size, self._num_frames)
        self._num_frames += 1
        self._history.append(record)
        events: list[TrackEvent] = []
        with self.model.inference():
            if len(self._objects):
                events += self._track(list(self._objects), record)
        for item in list(self._objects):
            events += self._remove_long_lost(item, record.stamp_ns)
        return self._finish(events, start_ns)

    def add(
        self,
        prompts: Sequence[Prompt],
        *,
        frame: Frame | None = None,
        replace_existing: bool = False,
    ) -> TrackResult:
        """Start tracking objects; all prompts are accepted or none.

        Args:
            prompts: One per object.
            frame: A past frame the prompts were made on, tracked forward to the newest one;
                None = the newest frame.
            replace_existing: Replace live objects of the same id.

        Returns:
            The result of the newest frame, with all objects.

        Raises:
            NoFrameError, StampTooOldError, StampInFutureError: The frame is not in the history.
            DuplicateIdError, CapacityError: The objects do not fit in.
            PromptError: A prompt cannot be used.
        """
        start_ns = time.perf_counter_ns()
        record, newer = self._locate(frame)
        checked = [check_prompt(prompt, record.size_hw) for prompt in prompts]
        ids = [prompt.object_id for prompt in checked]
        self._objects.check_room(ids, replace_existing=replace_existing)
        with self.model.inference():
            # Segment before anything changes: a failure in the network must leave no trace.
            segments = self._segment(checked, record)
            replaced = [item.object_id for item in self._objects if item.object_id in ids]
            events = list(self.remove(replaced)) if replaced else []
            items = [
                self._objects.add(prompt.object_id, prompt.class_id, record.stamp_ns)
                for prompt in checked
            ]
            self._memory.clear(_slots(items))
            for rows, kept, spatial in segments:
                self._start([items[row] for row in rows], kept, spatial, record)
            events += [_event(EventType.ADDED, item, 'added by a prompt') for item in items]
            for later in newer:
                events += self._track(items, later)
        return self._finish(events, start_ns)

    def refine(self, prompt: Prompt, *, frame: Frame | None = None) -> TrackResult:
        """Correct a live object with further clicks, a box or a mask.

        The corrected frame is remembered like a prompted one, and the recent memory, which may
        hold the mistake, is dropped. Arguments and errors as in `add`.

        Raises:
            UnknownIdError: No live object has the prompt's id.
        """
        start_ns = time.perf_counter_ns()
        item = self._objects.get(prompt.object_id)
        record, newer = self._locate(frame)
        checked = check_prompt(prompt, record.size_hw)
        with self.model.inference():
            ((_, kept, spatial),) = self._segment([checked], record, correct=item)
            self._memory.clear_recent(_slots([item]))
            self._start([item], kept, spatial, record)
            item.class_id = prompt.class_id or item.class_id
            events = [event for later in newer for event in self._track([item], later)]
        return self._finish(events, start_ns)

    def remove(self, object_ids: Sequence[str] = ()) -> tuple[TrackEvent, ...]:
        """Stop tracking objects; without ids, all.

        Raises:
            UnknownIdError: An id is not live; nothing is removed.
        """
        ids = list(dict.fromkeys(object_ids)) or [item.object_id for item in self._objects]
        for object_id in ids:
            self._objects.get(object_id)
        items = [self._objects.remove(object_id) for object_id in ids]
        if len(self._history) and items:
            self._finish([], time.perf_counter_ns())
        return tuple(_event(EventType.REMOVED, item, 'removed by request') for item in items)

    def reset(self) -> tuple[TrackEvent, ...]:
        """Forget all objects and frames."""
        events = self.remove()
        self._history.clear()
        self._features = None
        self._num_frames = 0
        self.last_result = None
        return (*events, TrackEvent(EventType.RESET, '', uuid.UUID(int=0), 'tracker was reset'))

    def reset_memory(self) -> None:
        """Keep objects and their prompted frames; forget recent memory and all frames."""
        self._memory.clear_recent(self._objects.slots())
        self._logits.fill_(ABSENT_LOGIT)
        self._history.clear()
        self._features = None

    def state(self) -> dict[str, Any]:
        """Return what the next frames depend on, as plain values and copied tensors.

        Frames of the past are not in it: after `restore`, prompts go to frames from then on.
        """
        return {
            'num_frames': self._num_frames,
            'objects': self._objects.state(),
            'memory': self._memory.state(),
            'logits': self._logits.cpu().clone(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a tracker with the same model and settings was when it gave its `state`."""
        self._history.clear()
        self._features = None
        self.last_result = None
        self._num_frames = state['num_frames']
        self._objects.restore(state['objects'])
        self._memory.restore(state['memory'])
        self._logits.copy_(state['logits'])

    def segment_once(self, frame: Frame, prompts: Sequence[Prompt]) -> TrackResult:
        """Segment objects in one image without tracking them.

        Raises:
            DuplicateIdError, CapacityError, PromptError: As in `add`.
        """
        start_ns = time.perf_counter_ns()
        record = make_record(frame, self.model.image_size, 0)
        checked = [check_prompt(prompt, record.size_hw) for prompt in prompts]
        table = ObjectTable(self.settings.max_objects, _DEFAULT_SESSION)
        table.check_room([prompt.object_id for prompt in checked], replace_existing=False)
        items = [table.add(p.object_id, p.class_id, record.stamp_ns) for p in checked]
        logits = torch.zeros(len(items), *self._logits.shape[1:], device=self.model.device)
        with self.model.inference():
            for rows, kept, _ in self._segment(checked, record):
                logits[rows] = kept.mask_logits[:, 0]
                for row, observation in zip(rows, _observe(kept), strict=True):
                    confidence.start(items[row], observation, record.stamp_ns)
        return make_result(items, logits, record, [], start_ns=start_ns)

    def _locate(self, frame: Frame | None) -> tuple[Record, list[Record]]:
        """Return the frame to prompt on and the processed frames after it."""
        if frame is None:
            return self._history.newest(), []
        index, newer = self._history.at(frame.stamp_ns)
        return make_record(frame, self.model.image_size, index), newer

    def _encode(self, record: Record) -> Features:
        """Encode a frame, once as long as no other one is encoded."""
        if self._features is None or self._features[0] is not record:
            self._features = (record, self.model.encode(record.image[None]))
        return self._features[1]

    def _segment(
        self, prompts: list[Prompt], record: Record, *, correct: LiveObject | None = None
    ) -> list[tuple[list[int], Candidates, torch.Tensor]]:
        """Run prompts of the same form together.

        Returns:
            For each group: rows of `prompts`, the kept masks, and the memory made of them.
        """
        features = self._encode(record)
        size, device = self.model.image_size, self.model.device
        groups = []
        order = sorted(range(len(prompts)), key=lambda row: _form(prompts[row]))
        for _, rows_of_form in itertools.groupby(order, key=lambda row: _form(prompts[row])):
            rows = list(rows_of_form)
            batch = [prompts[row] for row in rows]
            if batch[0].mask is not None:
                kept = self.model.from_masks(features, to_mask_batch(batch, size, device))
            else:
                clicks = to_clicks(batch, record.size_hw, size, device)
                pix, previous = self._context(features, record, correct)
                if self.model.coarse_prompts:
                    previous = to_coarse_masks(clicks, size, self.model.mask_size, previous)
                pix = pix.expand(len(rows), -1, -1, -1)
                kept = self.model.decode(features, pix, clicks, previous).best()
            spatial = self.model.remember(
                features, kept.mask_logits, kept.object_scores, prompted=True
            )
            groups.append((rows, kept, spatial))
        return groups

    def _context(
        self, features: Features, record: Record, correct: LiveObject | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what clicks are judged by: features, with memory and mask of a live object."""
        if correct is None:
            return self.model.attend(features, None), None
        view = self._memory.view(_slots([correct]), record.frame_index)
        previous = None
        if record is self._history.newest() and correct.visible:
            previous = self._logits[correct.slot][None, None]
        return self.model.attend(features, view, self.model.gates(features, view)), previous

    def _start(
        self, items: list[LiveObject], kept: Candidates, spatial: torch.Tensor, record: Record
    ) -> None:
        slots = _slots(items)
        self._memory.write_prompted(slots, record.frame_index, spatial, kept.pointers[:, 0])
        self._logits[torch.from_numpy(slots)] = kept.mask_logits[:, 0]
        for item, observation in zip(items, _observe(kept), strict=True):
            confidence.start(item, observation, record.stamp_ns)

    def _track(self, items: list[LiveObject], record: Record) -> list[TrackEvent]:
        """Track some objects into one frame, in one batch."""
        features = self._encode(record)
        slots = _slots(items)
        view = self._memory.view(slots, record.frame_index)
        rows = torch.from_numpy(slots)
        previous = self._logits[rows].unsqueeze(1) if self.model.previous_mask else None
        gates = self.last_gates = self.model.gates(features, view)
        pix = self.model.attend(features, view, gates)
        kept = self.model.decode(features, pix, None, previous).best()
        self._logits[rows] = kept.mask_logits[:, 0]
        events = []
        for item, observation in zip(items, _observe(kept, gates), strict=True):
            kinds = confidence.update(item, observation, record.stamp_ns, self.settings)
            events += [_event(kind, item, _detail(item)) for kind in kinds]
        spatial = self.model.remember(
            features, kept.mask_logits, kept.object_scores, prompted=False
        )
        admitted = np.array([item.memory_updated for item in items])
        rows = torch.from_numpy(np.flatnonzero(admitted)).to(self.model.device)
        self._memory.write_recent(
            slots[admitted], record.frame_index, spatial[rows], kept.pointers[rows, 0]
        )
        return events

    def _remove_long_lost(self, item: LiveObject, stamp_ns: int) -> list[TrackEvent]:
        limit_s = self.settings.remove_lost_after_s
        unseen_s = (stamp_ns - item.last_seen_ns) / 1e9 - self.settings.lost_after_s
        if item.state != ObjectState.LOST or not limit_s or unseen_s < limit_s:
            return []
        self._objects.remove(item.object_id)
        return [_event(EventType.REMOVED, item, f'lost for {unseen_s:.1f} s')]

    def _finish(self, events: list[TrackEvent], start_ns: int) -> TrackResult:
        items = list(self._objects)
        self.last_result = make_result(
            items,
            self._logits[torch.from_numpy(_slots(items))],
            self._history.newest(),
            events,
            start_ns=start_ns,
        )
        return self.last_result


def _slots(items: Sequence[LiveObject]) -> np.ndarray:
    return np.array([item.slot for item in items], np.int64)


def _form(prompt: Prompt) -> tuple[bool, bool, int]:
    """Prompts of equal form can share a batch: masks, or boxes and points of equal number."""
    return prompt.mask is not None, prompt.box is not None, len(prompt.points)


def _observe(kept: Candidates, gates: Gates | None = None) -> list[Observation]:
    """Bring the numbers of each object from the device, in one transfer."""
    coverage = (kept.mask_logits[:, 0] > 0).float().mean(dim=(1, 2))
    activity = torch.full_like(coverage, math.nan) if gates is None else gates.activity
    table = torch.stack([kept.object_scores, kept.ious[:, 0], coverage, activity], dim=1).tolist()
    return [Observation(*row) for row in table]


def _event(kind: EventType, item: LiveObject, detail: str) -> TrackEvent:
    return TrackEvent(kind, item.object_id, item.uuid, detail)


def _detail(item: LiveObject) -> str:
    return f'{item.state.name.lower()} at confidence {item.confidence:.2f}'
