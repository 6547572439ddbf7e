"""Watch a running node: its rate, latency and states, and whether its output is sound."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Callable

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from robust_vos.msg import TrackedObject, TrackedObjectArray
from sensor_msgs.msg import CompressedImage

from robust_vos_ros.live.interrupts import Interrupts
from robust_vos_ros.ros_types.images import NS_PER_S
from robust_vos_ros.ros_types.invariants import Invariants

_DEPTH = 100
_SPIN_S = 0.1
_STATES = {
    getattr(TrackedObject, name): name.removeprefix('STATE_').lower()
    for name in ('STATE_INITIALIZING', 'STATE_TRACKED', 'STATE_UNCERTAIN', 'STATE_OCCLUDED',
                 'STATE_LOST')
}  # fmt: skip


class Watch:
    """Subscribes to objects and label masks of a node, and checks every message.

    Args:
        node: Gets the subscriptions.
        name: Full name of the watched node.
        masks: Also check the label masks, which the node then compresses and sends.
        monotone: As in `Invariants`.

    Attributes:
        invariants: What was found.
        latencies_ms: Of the messages since `read`.
    """

    def __init__(
        self, node: Node, name: str, *, masks: bool = True, monotone: bool = True
    ) -> None:
        self.invariants = Invariants(monotone=monotone)
        self.latencies_ms: list[float] = []
        self._states: dict[str, int] = {}
        qos = QoSProfile(depth=_DEPTH)
        node.create_subscription(TrackedObjectArray, f'{name}/objects', self._receive, qos)
        if masks:
            topic = f'{name}/label_mask/compressed'
            node.create_subscription(CompressedImage, topic, self.invariants.add_mask, qos)

    def _receive(self, msg: TrackedObjectArray) -> None:
        self.invariants.add_objects(msg)
        self.latencies_ms.append((msg.latency.sec * NS_PER_S + msg.latency.nanosec) / 1e6)
        self._states = dict(collections.Counter(_STATES.get(o.state, '?') for o in msg.objects))

    def read(self, span_s: float) -> str:
        """Return a line about the last `span_s` seconds, and begin anew."""
        latencies, self.latencies_ms = self.latencies_ms, []
        if not latencies:
            return 'no frame'
        p50, p95 = np.percentile(latencies, (50, 95))
        states = ', '.join(f'{number} {name}' for name, number in self._states.items())
        return (
            f'{len(latencies) / span_s:.1f} Hz, latency p50 {p50:.0f} ms, p95 {p95:.0f} ms, '
            f'objects: {states or "none"}'
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Watched:
    """Result of `watch`; `problems` are the first of `num_problems` sentences."""

    num_frames: int
    num_masks: int
    num_problems: int
    problems: tuple[str, ...]


def watch(
    name: str, *, duration_s: float, period_s: float, masks: bool, tell: Callable[[str], None]
) -> Watched:
    """Watch a node until SIGINT or SIGTERM.

    Args:
        name: Full name of the node.
        duration_s: End after so many seconds; 0 = never.
        period_s: Seconds between two lines.
        masks: As in `Watch`.
        tell: Called with each line, and with each problem.
    """
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node('robust_vos_watch', context=context, start_parameter_services=False)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    end_s = time.monotonic() + (duration_s or float('inf'))
    try:
        watched, num_told, told_s = Watch(node, name, masks=masks), 0, time.monotonic()
        with Interrupts() as interrupts:
            while not interrupts.received and time.monotonic() < end_s:
                executor.spin_once(timeout_sec=_SPIN_S)
                for problem in watched.invariants.problems[num_told:]:
                    tell(f'PROBLEM: {problem}')
                num_told = len(watched.invariants.problems)
                if (span_s := time.monotonic() - told_s) >= period_s:
                    tell(watched.read(span_s))
                    told_s = time.monotonic()
    finally:
        executor.shutdown(timeout_sec=0)
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    found = watched.invariants
    return Watched(found.num_objects, found.num_masks, found.num_problems, tuple(found.problems))
