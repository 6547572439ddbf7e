"""Discontinuities of the image stream: backward time jumps, changes of size or camera."""

from __future__ import annotations

import dataclasses
import enum

from robust_vos_ros.core.settings import StreamSettings
from robust_vos_ros.core.types import Frame
from robust_vos_ros.ros_types.images import NS_PER_S


class Action(enum.IntEnum):
    """Action on the tracks, in order of severity."""

    keep = 0
    reset_memory = 1
    remove_objects = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Previous:
    """The frame that the next one is compared with."""

    stamp_ns: int
    size_hw: tuple[int, int]
    frame_id: str


@dataclasses.dataclass(frozen=True, slots=True)
class Discontinuity:
    """One discontinuity of the stream.

    Attributes:
        counter: Name of the node's counter for it.
        text: Description for the log.
    """

    counter: str
    text: str
    action: Action


def is_time_jump(old_ns: int, new_ns: int, tolerance_s: float) -> bool:
    """Whether a backward step in time exceeds the tolerance for clock corrections."""
    return old_ns - new_ns > tolerance_s * NS_PER_S


def find_discontinuities(
    previous: Previous | None, frame: Frame, settings: StreamSettings, *, clock_jumped: bool
) -> list[Discontinuity]:
    """Compare a frame with the previous one.

    Args:
        previous: The previously processed frame; None at the start.
        frame: The frame to be processed.
        settings: Tolerance and policies.
        clock_jumped: Whether the ROS clock went backwards since the previous frame.
    """
    if previous is None:
        return []
    changes = []
    back_ns = previous.stamp_ns - frame.stamp_ns
    jumped = is_time_jump(previous.stamp_ns, frame.stamp_ns, settings.time_jump_tolerance_s)
    if jumped or clock_jumped:
        what = f'image stamps went back by {back_ns / NS_PER_S:.3f} s'
        text = what if jumped else 'the clock went backwards'
        changes.append(Discontinuity('time_jumps', text, Action[settings.on_time_jump]))
    if previous.size_hw != frame.size_hw:
        old, new = (f'{width}x{height}' for height, width in (previous.size_hw, frame.size_hw))
        text = f'the image size changed from {old} to {new}'
        changes.append(
            Discontinuity('resolution_changes', text, Action[settings.on_resolution_change])
        )
    if previous.frame_id != frame.frame_id:
        text = f'frame_id changed from {previous.frame_id!r} to {frame.frame_id!r}'
        changes.append(
            Discontinuity('frame_id_changes', text, Action[settings.on_frame_id_change])
        )
    return changes
