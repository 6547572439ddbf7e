"""Measure the node through DDS: latency, overhead, memory and overload at the rate of a camera."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from robust_vos.msg import TrackedObject, TrackedObjectArray
from robust_vos.srv import AddObjects
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from robust_vos_ros.client.prompts import to_prompt_message
from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.demo.camera import to_image
from robust_vos_ros.demo.processes import ChildProcess, find_free_domain
from robust_vos_ros.demo.transport import make_room_for_images

_NUM_PICTURES = 48  # of a scene that repeats
_START_TIMEOUT_S = 120.0
_RETRY_S = 2.0
_WARM_UP_S = 3.0
_RSS_S = 1.0


class BenchError(RobustVosError):
    """The node does not start or does not answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class NodeBenchOptions:
    """Options of `measure`.

    Attributes:
        out: Existing folder for the log of the node.
        size_hw: Height and width of the images.
        num_objects: Tracked objects.
        rate_hz: Images per second.
        seconds: Measured time.
        parameters: Of the node, as NAME:=VALUE.
    """

    out: Path
    size_hw: tuple[int, int] = (480, 640)
    num_objects: int = 8
    rate_hz: float = 30.0
    seconds: float = 60.0
    parameters: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class NodeSpeed:
    """Result of `measure`; times in milliseconds.

    Attributes:
        start_s: From the start of the process to the first mask of a prompted object.
        start_cpu_s: Processor time of the node until then, which other programs disturb less.
        results_hz: Results per second.
        latency_p50_ms: From publishing an image to receiving its objects, over DDS.
        latency_p95_ms: 95th percentile of the same.
        p95_over_p50: Their ratio.
        engine_p50_ms: Time in the tracker.
        overhead_p50_ms: Latency less the time in the tracker; includes waiting for the worker, so
            it is the overhead of the node only at a rate that the node keeps.
        inside_p50_ms: The same from receiving the image, in the node, to publishing its objects.
        dropped: Share of the images that were replaced by newer ones.
        aged: Share of the objects in all results that were not tracked into that image.
        rss_mib: Resident memory of the node at the end.
        rss_slope_mib: Its growth per 1000 results, by linear regression over the second half.
        overload: The last line of /diagnostics about it.
    """

    start_s: float
    start_cpu_s: float
    results: int
    results_hz: float
    latency_p50_ms: float
    latency_p95_ms: float
    p95_over_p50: float
    engine_p50_ms: float
    overhead_p50_ms: float
    inside_p50_ms: float
    dropped: float
    aged: float
    rss_mib: float
    rss_slope_mib: float
    overload: str


def measure(options: NodeBenchOptions) -> NodeSpeed:
    """Start the node as a process, play images to it, and measure what it publishes.

    Raises:
        BenchError: The node does not become active, or accepts no prompt.
        ProcessError: The node ended.
    """
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    os.environ['ROS_DOMAIN_ID'] = str(find_free_domain(random.Random()))  # noqa: S311  no secret
    make_room_for_images(options.out / 'fastdds.xml')
    arguments = ['--ros-args', '-r', 'image:=/bench/image']
    for parameter in options.parameters:
        arguments += ['-p', parameter]
    module = 'robust_vos_ros.node_program'
    with contextlib.ExitStack() as stack:
        context = rclpy.Context()
        rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
        stack.callback(context.try_shutdown)
        bench = _Bench(context, options)
        stack.callback(bench.close)
        started_s = time.monotonic()
        child = ChildProcess('node', module, arguments, options.out / 'node.log')
        stack.enter_context(child)
        process = psutil.Process(child.pid)
        start_s = bench.start(child.check) - started_s
        spent = process.cpu_times()
        return bench.play(process, child.check, (start_s, spent.user + spent.system))


class _Bench:
    """A camera and a client of the node; its own methods spin it."""

    def __init__(self, context: rclpy.Context, options: NodeBenchOptions) -> None:
        self._options = options
        self._scene = _Scene(options.size_hw, options.num_objects)
        self._messages = [to_image(self._scene.draw(k), Header()) for k in range(_NUM_PICTURES)]
        self._node = Node('bench', context=context, start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._images = self._node.create_publisher(Image, '/bench/image', QoSProfile(depth=2))
        self._add = self._node.create_client(AddObjects, '/robust_vos/add_objects')
        create = self._node.create_subscription
        create(TrackedObjectArray, '/robust_vos/objects', self._receive, 100)
        create(DiagnosticArray, '/diagnostics', self._diagnose, 10)
        self._node.create_timer(1.0 / options.rate_hz, self._publish)
        self._num_sent = 0
        self._sent: dict[int, tuple[float, int]] = {}  # time and picture by stamp
        self._overload = ''
        self._newest: TrackedObjectArray | None = None
        self._rows: list[tuple[float, float, float]] = []  # latency, engine, inside
        self._num_aged = self._num_objects = 0

    def close(self) -> None:
        self._executor.shutdown(timeout_sec=0)
        self._node.destroy_node()

    def start(self, check: Callable[[], None]) -> float:
        """Prompt until the node accepts it; returns time.monotonic() of the first mask."""
        end = time.monotonic() + _START_TIMEOUT_S
        self._wait(self._add.service_is_ready, end, check, 'the services of the node')
        while True:
            self._wait(lambda: self._newest is not None, end, check, 'a result of the node')
            header = self._newest.header if self._newest is not None else Header()
            _, number = self._sent[_key(header)]
            prompts = [
                to_prompt_message(f'disc_{index}', box=box)
                for index, box in enumerate(self._scene.boxes(number))
            ]
            future = self._add.call_async(
                AddObjects.Request(header=header, prompts=prompts, replace_existing=True)
            )
            answered_by = min(end, time.monotonic() + _RETRY_S)
            with contextlib.suppress(TimeoutError):
                self._spin_until(future.done, answered_by, check)
                if future.result().success:
                    break
            if time.monotonic() > end:
                raise BenchError('the node accepts no prompt; see node.log')
            self._newest = None
        self._wait(self._has_mask, end, check, 'a mask')
        return time.monotonic()

    def play(
        self, process: psutil.Process, check: Callable[[], None], start: tuple[float, float]
    ) -> NodeSpeed:
        """Measure for the time of the options.

        Args:
            process: The node.
            check: Raises if it has ended.
            start: `start_s` and `start_cpu_s`.
        """
        with contextlib.suppress(TimeoutError):
            self._spin_until(lambda: False, time.monotonic() + _WARM_UP_S, check)
        self._rows.clear()
        self._num_aged = self._num_objects = 0
        first_sent, begin_s, memory = self._num_sent, time.monotonic(), []
        end_s = begin_s + self._options.seconds
        while (now := time.monotonic()) < end_s:
            with contextlib.suppress(TimeoutError):
                self._spin_until(lambda: False, min(end_s, now + _RSS_S), check)
            memory.append((len(self._rows), process.memory_info().rss / 2**20))
        if not self._rows:
            raise BenchError('the node published no result; see node.log')
        latency, engine, inside = np.array(self._rows).T * 1e3
        p50, p95 = np.percentile(latency, (50, 95))
        late = np.array(memory[len(memory) // 2 :])
        slope = np.polyfit(late[:, 0], late[:, 1], 1)[0] * 1000 if len(late) > 2 else float('nan')
        spent_s = time.monotonic() - begin_s
        return NodeSpeed(
            start_s=round(start[0], 2),
            start_cpu_s=round(start[1], 2),
            results=len(self._rows),
            results_hz=round(len(self._rows) / spent_s, 2),
            latency_p50_ms=round(float(p50), 1),
            latency_p95_ms=round(float(p95), 1),
            p95_over_p50=round(float(p95 / p50), 2),
            engine_p50_ms=round(float(np.median(engine)), 1),
            overhead_p50_ms=round(float(np.median(latency - engine)), 1),
            inside_p50_ms=round(float(np.median(inside - engine)), 1),
            dropped=round(1.0 - len(self._rows) / max(1, self._num_sent - first_sent), 3),
            aged=round(self._num_aged / max(1, self._num_objects), 3),
            rss_mib=round(memory[-1][1], 1),
            rss_slope_mib=round(float(slope), 2),
            overload=self._overload,
        )

    def _publish(self) -> None:
        number = self._num_sent % _NUM_PICTURES
        msg = self._messages[number]
        msg.header.stamp = self._node.get_clock().now().to_msg()
        self._sent[_key(msg.header)] = time.monotonic(), number
        self._images.publish(msg)
        self._num_sent += 1
        while len(self._sent) > 1000:
            del self._sent[next(iter(self._sent))]

    def _receive(self, msg: Any) -> None:
        if _key(msg.header) not in self._sent:
            return
        self._newest = msg
        sent_s, _ = self._sent[_key(msg.header)]
        engine_s, inside_s = (
            value.sec + value.nanosec * 1e-9 for value in (msg.engine_time, msg.latency)
        )
        self._rows.append((time.monotonic() - sent_s, engine_s, inside_s))
        self._num_objects += len(msg.objects)
        self._num_aged += sum(bool(item.flags & TrackedObject.FLAG_AGED) for item in msg.objects)

    def _diagnose(self, msg: Any) -> None:
        for status in msg.status:
            values = {item.key: item.value for item in status.values}
            self._overload = values.get('overload', self._overload)

    def _has_mask(self) -> bool:
        return self._newest is not None and any(item.area_px for item in self._newest.objects)

    def _wait(
        self, condition: Callable[[], bool], end: float, check: Callable[[], None], what: str
    ) -> None:
        try:
            self._spin_until(condition, end, check)
        except TimeoutError:
            raise BenchError(f'{what} did not come in time; see node.log') from None

    def _spin_until(
        self, condition: Callable[[], bool], end: float, check: Callable[[], None]
    ) -> None:
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError
            check()
            self._executor.spin_once(timeout_sec=0.05)


def _key(header: Any) -> int:
    return int(header.stamp.sec * 10**9 + header.stamp.nanosec)


class _Scene:
    """Seeded discs that sway on a texture; the pictures repeat without a jump."""

    def __init__(self, size_hw: tuple[int, int], num_objects: int) -> None:
        rng = np.random.default_rng(0)
        self._height, self._width = size_hw
        coarse = rng.normal(size=(self._height // 8, self._width // 8, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (self._width, self._height))
        self._background = np.clip(90 + 45 * smooth, 0, 255).astype(np.uint8)
        columns = int(np.ceil(np.sqrt(num_objects)))
        rows = int(np.ceil(num_objects / columns))
        self._cell = self._width / columns, self._height / rows
        self._radius = int(0.28 * min(self._cell))
        self._places = [
            (index % columns + 0.5, index // columns + 0.5) for index in range(num_objects)
        ]
        self._colors = rng.integers(0, 255, (num_objects, 3)).tolist()

    def _center(self, index: int, number: int) -> tuple[int, int]:
        angle = 2.0 * np.pi * (number / _NUM_PICTURES + index / 7.0)
        x, y = self._places[index]
        sway = 0.12 * min(self._cell)
        return (
            int(x * self._cell[0] + sway * np.cos(angle)),
            int(y * self._cell[1] + sway * np.sin(angle)),
        )

    def draw(self, number: int) -> np.ndarray:
        """Return picture `number` as (H, W, 3) uint8 RGB."""
        rgb = self._background.copy()
        for index, color in enumerate(self._colors):
            center = self._center(index, number)
            cv2.circle(rgb, center, self._radius, color, -1, cv2.LINE_AA)
            cv2.circle(rgb, center, self._radius // 2, color[::-1], -1, cv2.LINE_AA)
        return rgb

    def boxes(self, number: int) -> list[tuple[float, float, float, float]]:
        """Return (x0, y0, x1, y1) of the discs in picture `number`."""
        radius = self._radius
        centers = [self._center(index, number) for index in range(len(self._places))]
        return [(x - radius, y - radius, x + radius, y + radius) for x, y in centers]
