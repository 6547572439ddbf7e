"""The prompt file of `robust-vos bag process`: prompts of objects by frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from robust_vos_ros.bags.mask_files import ObjectName, load_names, read_labels, split_labels
from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.prompting.prompts import check_names
from robust_vos_ros.core.settings import (
    Scale16Settings,
    Settings,
    StreamSettings,
    load_yaml,
    parse_settings,
    setting,
)
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Prompt

Pair = tuple[float, float]
Label = Annotated[int, pydantic.Field(ge=0, le=1)]


class PromptEntry(Settings):
    """One prompt, or the masks of several objects at once."""

    frame: int | None = setting(None, 'Index of the image in its topic, from 0.', ge=0)
    stamp_ns: int | None = setting(
        None,
        'Stamp of the image header, instead of `frame`: sec * 1000000000 + nanosec.',
        unit='ns',
    )
    action: Literal['add', 'refine', 'remove'] = setting(
        'add',
        'add starts an object, refine corrects it or its class in a later frame, remove stops '
        'tracking it.',
    )
    object_id: str = setting('', 'Name of the object.')
    class_id: str = setting('', 'Free text copied to every output.')
    box: tuple[float, float, float, float] | None = setting(
        None, 'x0, y0, x1, y1 around the object.', unit='px'
    )
    text: str = setting(
        '',
        'What the object is, in words: alone, it is added when it is found, in this frame or a '
        'later one; with box, points or mask, it is what to find again when the object is lost.',
    )
    points: list[Pair] = setting([], 'x, y of clicks (x right, y down).', unit='px')
    point_labels: list[Label] = setting([], '1 on the object, 0 not on it; empty = all 1.')
    mask: Path | None = setting(
        None, 'PNG mask of one object, not zero on the object; relative to this file.'
    )
    masks: Path | None = setting(
        None,
        'PNG whose values are objects, as of DAVIS, for a `frame`; or a folder of PNGs named by '
        'frame (00000.png): each object is added in the first frame that shows it.',
    )
    objects: Path | None = setting(
        None, 'File with object and class of each value in `masks`, as export writes it.'
    )

    @pydantic.model_validator(mode='after')
    def _check(self) -> PromptEntry:
        num_times = (self.frame is not None) + (self.stamp_ns is not None)
        one = (self.object_id, self.box, self.points, self.mask, self.text)
        if self.masks is not None:
            if any(one) or self.action != 'add':
                raise ValueError('masks adds all its objects; expected no other prompt beside it')
            if num_times > 1:
                raise ValueError('expected frame or stamp_ns, not both')
            return self
        if num_times != 1:
            raise ValueError('expected one of frame and stamp_ns')
        if not self.object_id:
            raise ValueError('expected an object_id')
        if self.objects is not None:
            raise ValueError('expected masks beside objects')
        says = any(one[1:]) or bool(self.action == 'refine' and self.class_id)
        if (self.action == 'remove') == says:
            raise ValueError(
                'expected a box, points, a mask or text to add or refine, or a class to refine; '
                'none to remove'
            )
        return self


class PromptFile(Settings):
    """A prompt file."""

    prompts: list[PromptEntry] = setting(
        ..., 'Prompts in any order; several may refer to one frame.'
    )
    tracking: TrackerSettings = setting(TrackerSettings(), 'As `tracking` of the node.')
    stream: StreamSettings = setting(StreamSettings(), 'As `stream` of the node.')
    scale_16bit: Scale16Settings = setting(
        Scale16Settings(), 'As `input.scale_16bit` of the node.'
    )


@dataclasses.dataclass(slots=True)
class FramePrompts:
    """What is done after a frame is tracked, in this order."""

    remove: list[str] = dataclasses.field(default_factory=list)
    add: list[Prompt] = dataclasses.field(default_factory=list)
    refine: list[Prompt] = dataclasses.field(default_factory=list)


# By index of the frame.
Plan = dict[int, FramePrompts]


def load_prompt_file(path: Path) -> PromptFile:
    """Read a prompt file.

    Raises:
        ConfigError: It is missing, not YAML, or has unknown keys or wrong values.
    """
    return parse_settings(PromptFile, load_yaml(path))


def make_plan(
    file: PromptFile, folder: Path, *, num_frames: int, frame_of: Mapping[int, int]
) -> Plan:
    """Return the prompts by frame.

    Args:
        file: The prompts.
        folder: Paths in the file are relative to it.
        num_frames: Number of images in the bag.
        frame_of: Index of the frame by stamp in nanoseconds; needed if prompts have stamps.

    Raises:
        PromptError: A prompt has no frame, its object is not tracked then, or its name is too
            long.
        ConfigError: A mask or object file cannot be used.
    """
    plan: Plan = {}
    for entry in file.prompts:
        if entry.masks is not None and entry.frame is None and entry.stamp_ns is None:
            for index, prompts in _first_masks(folder / entry.masks, _names(entry, folder)):
                _check_frame(index, num_frames, str(entry.masks))
                plan.setdefault(index, FramePrompts()).add.extend(prompts)
            continue
        index = _index_of(entry, num_frames, frame_of)
        _add_entry(plan.setdefault(index, FramePrompts()), entry, folder)
    for prompts in plan.values():
        for prompt in (*prompts.add, *prompts.refine):
            check_names(prompt.object_id, prompt.class_id)
    _check_lives(plan)
    return plan


def count_objects(plan: Plan) -> int:
    """Return the number of objects that a plan adds."""
    return sum(len(prompts.add) for prompts in plan.values())


def _add_entry(prompts: FramePrompts, entry: PromptEntry, folder: Path) -> None:
    if entry.masks is not None:
        prompts.add.extend(_to_prompts(read_labels(folder / entry.masks), _names(entry, folder)))
    elif entry.action == 'remove':
        prompts.remove.append(entry.object_id)
    else:
        target = prompts.add if entry.action == 'add' else prompts.refine
        target.append(_to_prompt(entry, folder))


def _to_prompt(entry: PromptEntry, folder: Path) -> Prompt:
    with np.errstate(over='ignore'):  # values too large for float32 become inf, which is rejected
        points = np.array(entry.points, np.float32).reshape(-1, 2)
        box = None if entry.box is None else np.array(entry.box, np.float32)
    labels = np.array(entry.point_labels or [1] * len(points), np.int32)
    return Prompt(
        object_id=entry.object_id,
        points=points,
        point_labels=labels,
        box=box,
        mask=None if entry.mask is None else read_labels(folder / entry.mask, void=None) > 0,
        class_id=entry.class_id,
        text=entry.text,
    )


def _names(entry: PromptEntry, folder: Path) -> dict[int, ObjectName]:
    return {} if entry.objects is None else load_names(folder / entry.objects)


def _to_prompts(labels: np.ndarray, names: Mapping[int, ObjectName]) -> list[Prompt]:
    prompts = []
    for value, mask in split_labels(labels).items():
        name = names.get(value, ObjectName(object_id=str(value)))
        prompts.append(Prompt(name.object_id, mask=mask, class_id=name.class_id))
    return prompts


def _first_masks(folder: Path, names: Mapping[int, ObjectName]) -> list[tuple[int, list[Prompt]]]:
    """Return, for each mask file of a folder, the objects that it shows first."""
    files = {path.stem: path for path in folder.glob('*.png')}
    if not files:
        raise PromptError(f'{folder}: expected a PNG of masks or a folder of them, got none')
    wrong = [stem for stem in files if not stem.isdecimal()]
    if wrong:
        raise PromptError(
            f'{files[wrong[0]]}: expected a name that is the index of a frame, such as 00000.png'
        )
    seen: set[str] = set()
    found = []
    for index, path in sorted((int(stem), path) for stem, path in files.items()):
        prompts = [p for p in _to_prompts(read_labels(path), names) if p.object_id not in seen]
        seen |= {prompt.object_id for prompt in prompts}
        if prompts:
            found.append((index, prompts))
    if not found:
        raise PromptError(f'{folder}: expected masks that show an object, got none')
    return found


def _index_of(entry: PromptEntry, num_frames: int, frame_of: Mapping[int, int]) -> int:
    what = repr(entry.object_id or str(entry.masks))
    if entry.frame is not None:
        _check_frame(entry.frame, num_frames, what)
        return entry.frame
    assert entry.stamp_ns is not None, 'PromptEntry checks it'
    if entry.stamp_ns not in frame_of:
        near = min(frame_of, key=lambda stamp_ns: abs(stamp_ns - (entry.stamp_ns or 0)), default=0)
        raise PromptError(
            f'prompt for {what}: expected the stamp of an image, got stamp_ns {entry.stamp_ns}; '
            f'the nearest one is {near}'
        )
    return frame_of[entry.stamp_ns]


def _check_frame(index: int, num_frames: int, what: str) -> None:
    if index >= num_frames:
        raise PromptError(
            f'prompt for {what}: expected a frame from 0 to {num_frames - 1}, got {index}'
        )


def _check_lives(plan: Plan) -> None:
    """Check that objects are added once, and are tracked when they are refined or removed."""
    live: set[str] = set()
    for index in sorted(plan):
        prompts = plan[index]
        steps: list[tuple[str, Any]] = [('remove', name) for name in prompts.remove]
        steps += [('add', prompt.object_id) for prompt in prompts.add]
        steps += [('refine', prompt.object_id) for prompt in prompts.refine]
        for action, name in steps:
            if (action == 'add') == (name in live):
                state = 'is tracked already' if action == 'add' else 'is not tracked then'
                raise PromptError(f'frame {index}: cannot {action} {name!r}, which {state}')
            if action == 'add':
                live.add(name)
            elif action == 'remove':
                live.remove(name)
    if not count_objects(plan):
        raise PromptError('prompts: expected at least one object to add, got none')
