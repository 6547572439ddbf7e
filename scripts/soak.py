"""Run the node for hours under load, and watch it: `make soak HOURS=1`.

A camera at 30 Hz with eight objects that come and go, prompts, parameter changes, a recorder
whose bag changes every few minutes and is read back, the console with a client. Every message is
checked. Memory, open files, threads and latencies go to out/soak/soak.json and soak.png. The exit
code is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import contextlib
import dataclasses
import json
import math
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from robust_vos.msg import ObjectPrompt
from robust_vos.srv import AddObjects, RefineObject, RemoveObjects, SegmentOnce
from sensor_msgs.msg import Image, RegionOfInterest

from robust_vos_ros.bags.reader import BagReader, header_stamp_ns
from robust_vos_ros.demo.processes import ChildProcess, find_free_domain
from robust_vos_ros.live.watch import Watch

ROOT = Path(__file__).resolve().parents[1]
SIZE_HW, RATE_HZ, NUM_OBJECTS, RADIUS = (120, 160), 30.0, 8, 9
SAMPLE_S, REQUEST_S, STOP_S, SETTLE_S = 5.0, 2.0, 40.0, 20.0
CONSOLE_PORT = 18_099


class Scene:
    """Discs of eight colours on a textured background; each is hidden a third of the time."""

    def __init__(self) -> None:
        y, x = np.mgrid[: SIZE_HW[0], : SIZE_HW[1]]
        self._grid = y, x
        self._background = np.stack(
            [60 + (x * 7 + y * 3) % 40, 80 + (x * 5) % 30, 70 + (y * 9) % 30], axis=-1
        ).astype(np.uint8)
        rng = np.random.default_rng(1)
        self._colours = rng.integers(120, 256, (NUM_OBJECTS, 3), dtype=np.uint8)

    def center(self, number: int, t_s: float) -> tuple[int, int] | None:
        """Return where a disc is, (x, y) in pixels; None while it is hidden."""
        if (t_s + 4.0 * number) % 30.0 > 20.0:
            return None
        column, row = number % 4, number // 4
        swing = 8.0 * math.sin(t_s / 3.0 + number)
        return int(24 + 38 * column + swing), int(34 + 52 * row + 5 * math.cos(t_s / 2.0))

    def draw(self, t_s: float) -> np.ndarray:
        """Return the image of a time, (H, W, 3) uint8."""
        rgb, (y, x) = self._background.copy(), self._grid
        for number in range(NUM_OBJECTS):
            if (center := self.center(number, t_s)) is not None:
                disc = (x - center[0]) ** 2 + (y - center[1]) ** 2 < RADIUS**2
                rgb[disc] = self._colours[number]
        return rgb


@dataclasses.dataclass(slots=True)
class Tally:
    """What happened so far."""

    sent: int = 0
    answers: dict[str, int] = dataclasses.field(default_factory=dict)
    unanswered: int = 0
    console_frames: int = 0
    console_ended: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)
    bags: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    samples: list[dict[str, Any]] = dataclasses.field(default_factory=list)


class Robot:
    """The camera, an operator who prompts, and the watch, in this process."""

    def __init__(self, tally: Tally) -> None:
        self._tally, self._scene, self._rng = tally, Scene(), random.Random(5)
        self.start_s = time.monotonic()
        self.diagnostics: dict[str, str] = {}
        self.context = rclpy.Context()
        self.context.init()
        self.node = rclpy.create_node('soak', context=self.context)
        self.watch = Watch(self.node, '/robust_vos')
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._diagnose, 10)
        self._image = self.node.create_publisher(Image, '/image', 10)
        kinds = {
            'add_objects': AddObjects, 'refine_object': RefineObject,
            'remove_objects': RemoveObjects, 'segment_once': SegmentOnce,
            'set_parameters': SetParameters,
        }  # fmt: skip
        self._services = {
            name: self.node.create_client(kind, f'/robust_vos/{name}')
            for name, kind in kinds.items()
        }
        self._waiting: list[tuple[Any, float]] = []
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._closed = False
        self._threads = [
            threading.Thread(target=target, daemon=True) for target in (self._film, self._spin)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop both threads."""
        self._closed = True
        for thread in self._threads:
            thread.join(10)
        self.context.try_shutdown()

    def _spin(self) -> None:
        next_s = 0.0
        while not self._closed:
            self._executor.spin_once(timeout_sec=0.1)
            if time.monotonic() > next_s:
                next_s = time.monotonic() + REQUEST_S
                self._ask()

    def _film(self) -> None:
        next_s = time.monotonic()
        while not self._closed:
            data = self._scene.draw(time.monotonic() - self.start_s)
            height, width = SIZE_HW
            msg = Image(height=height, width=width, encoding='rgb8', step=3 * width)
            msg.data = array.array('B', data.tobytes())
            msg.header.stamp = self.node.get_clock().now().to_msg()
            msg.header.frame_id = 'camera'
            self._image.publish(msg)
            self._tally.sent += 1
            next_s += 1.0 / RATE_HZ
            time.sleep(max(0.0, next_s - time.monotonic()))

    def _diagnose(self, msg: DiagnosticArray) -> None:
        for status in msg.status:
            if status.name.endswith('tracker'):
                self.diagnostics = {item.key: item.value for item in status.values}
                self.diagnostics['level'] = str(status.level[0])
                self.diagnostics['message'] = status.message

    def _prompt(self, number: int) -> ObjectPrompt | None:
        center = self._scene.center(number, time.monotonic() - self.start_s)
        if center is None:
            return None
        side = 2 * RADIUS + 2
        box = RegionOfInterest(
            x_offset=center[0] - side // 2, y_offset=center[1] - side // 2,
            width=side, height=side,
        )  # fmt: skip
        return ObjectPrompt(object_id=f'disc {number}', box=[box])

    def _ask(self) -> None:
        """Collect answers, and send one request of a random kind."""
        rng, now_s = self._rng, time.monotonic()
        for future, since_s in list(self._waiting):
            if future.done():
                code = getattr(future.result(), 'error_code', 0)
                key = f'{type(future.result()).__name__} {code}'
                self._tally.answers[key] = self._tally.answers.get(key, 0) + 1
            elif now_s - since_s < 60:
                continue
            else:
                self._tally.unanswered += 1
            self._waiting.remove((future, since_s))
        prompt = self._prompt(rng.randrange(NUM_OBJECTS))
        kind = rng.choice(['add', 'add', 'add', 'refine', 'segment', 'remove', 'parameter'])
        if kind == 'parameter':
            values = Parameter('publish.png_level', value=rng.randint(0, 9)).to_parameter_msg()
            limit = Parameter(
                'tracking.lost_after_s', value=rng.uniform(1.5, 4.0)
            ).to_parameter_msg()
            self._send('set_parameters', SetParameters.Request(parameters=[values, limit]))
        elif kind == 'remove':
            name = f'disc {rng.randrange(NUM_OBJECTS)}'
            self._send('remove_objects', RemoveObjects.Request(object_ids=[name]))
        elif prompt is not None:
            requests = {
                'add': ('add_objects', AddObjects.Request(prompts=[prompt])),
                'refine': ('refine_object', RefineObject.Request(prompt=prompt)),
                'segment': ('segment_once', SegmentOnce.Request(prompts=[prompt])),
            }
            self._send(*requests[kind])

    def _send(self, name: str, request: Any) -> None:
        if self._services[name].service_is_ready():
            self._waiting.append((self._services[name].call_async(request), time.monotonic()))


async def watch_console(tally: Tally, stop: threading.Event) -> None:
    """Take frames from the console as a browser does, and connect again when it ends."""
    while not stop.is_set():
        with contextlib.suppress(aiohttp.ClientError, asyncio.TimeoutError):
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f'http://127.0.0.1:{CONSOLE_PORT}/ws') as socket,
            ):
                await socket.send_str(json.dumps({'type': 'hello', 'protocol': 1}))
                while not stop.is_set():
                    message = await socket.receive(timeout=30)
                    if message.type == aiohttp.WSMsgType.BINARY:
                        tally.console_frames += 1
                        await socket.send_str('{"type": "seen"}')
                    elif message.type != aiohttp.WSMsgType.TEXT:
                        break
        tally.console_ended += not stop.is_set()
        await asyncio.sleep(1.0)


class Recorder:
    """Records, and begins a new bag every few minutes; finished bags are read and removed."""

    def __init__(self, out: Path, tally: Tally, rotate_s: float) -> None:
        self._out, self._tally, self._rotate_s = out, tally, rotate_s
        self.process: subprocess.Popen[bytes] | None = None
        self._number, self._bag, self._began_s = 0, out, 0.0

    def step(self, *, last: bool = False) -> None:
        """Rotate if it is time; finish the last bag."""
        if self.process is not None:
            if not last and time.monotonic() - self._began_s < self._rotate_s:
                return
            ended_ns = time.time_ns()
            self.process.send_signal(signal.SIGINT)
            self.process.wait(STOP_S)
            if time.monotonic() - self._began_s > SETTLE_S:  # else it may hold nothing yet
                self._read(ended_ns)
        if not last:
            self._number += 1
            self._bag, self._began_s = self._out / f'bag_{self._number}', time.monotonic()
            command = [sys.executable, '-m', 'robust_vos_ros.cli', 'bag', 'record']
            with (self._out / 'recorder.log').open('ab') as log:
                self.process = subprocess.Popen(
                    [*command, '--out', str(self._bag)], stdout=log, stderr=subprocess.STDOUT
                )

    def _read(self, ended_ns: int) -> None:
        """Read the bag to its end; the results in it reach to its last second."""
        found: dict[str, Any] = {'bag': self._number, 'megabytes': 0, 'behind_s': None}
        try:
            with BagReader(self._bag) as bag:
                newest = 0
                for message in bag.messages(['/robust_vos/objects']):
                    bag.decode(message)
                    newest = header_stamp_ns(message.cdr)
                found['messages'], found['seconds'] = bag.num_messages, round(bag.duration_s, 1)
                found['topics'] = len(bag.topics)
            found['behind_s'] = round((ended_ns - newest) / 1e9, 2)
            size = sum(path.stat().st_size for path in self._bag.rglob('*'))
            found['megabytes'] = round(size / 1e6, 1)
        except Exception as error:
            self._tally.problems.append(f'bag {self._number}: {type(error).__name__}: {error}')
        self._tally.bags.append(found)
        shutil.rmtree(self._bag, ignore_errors=True)


def sample(robot: Robot, tally: Tally, processes: dict[str, psutil.Process]) -> None:
    """Note memory, files, threads and latencies since the last time."""
    latencies, robot.watch.latencies_ms = robot.watch.latencies_ms, []
    values: dict[str, Any] = {'t_s': round(time.monotonic() - robot.start_s, 1)}
    for name, process in processes.items():
        with contextlib.suppress(psutil.Error):
            values[f'{name} rss_mib'] = round(process.memory_info().rss / 2**20, 1)
            values[f'{name} files'] = process.num_fds()
            values[f'{name} threads'] = process.num_threads()
    if latencies:
        values['frames'] = len(latencies)
        values['p50_ms'], values['p95_ms'] = np.percentile(latencies, (50, 95)).round(1).tolist()
    keys = ('received', 'processed', 'dropped', 'waiting', 'invalid', 'failed')
    for key in keys:
        values[key] = int(robot.diagnostics.get(f'frames {key}', '0'))
    values['load'] = round(os.getloadavg()[0], 1)
    tally.samples.append(values)
    rest = values['received'] - sum(values[key] for key in keys[1:])
    # One frame is in work; the counters are read one after the other.
    if not -2 <= rest <= 2:
        tally.problems.append(f'{values["t_s"]} s: {rest} frames received are not accounted for')
    if values['failed'] or values['invalid']:
        tally.problems.append(f'{values["t_s"]} s: {robot.diagnostics["message"]}')


def summarize(robot: Robot, tally: Tally, hours: float) -> dict[str, Any]:
    """Return the result; RSS is compared between the first and the last quarter, warmed up."""
    found = robot.watch.invariants
    tally.problems += found.problems
    samples = tally.samples[len(tally.samples) // 10 :]
    quarter = max(1, len(samples) // 4)
    growth = {}
    for key in ('rss_mib', 'files', 'threads'):
        for name in ('node', 'console'):
            series = [s[f'{name} {key}'] for s in samples if f'{name} {key}' in s]
            if series:
                growth[f'{name} {key}'] = [
                    float(np.median(series[:quarter])), float(np.median(series[-quarter:]))
                ]  # fmt: skip
    last = tally.samples[-1]
    return {
        'machine': f'{platform.machine()}, {os.cpu_count()} cores',
        'hours': round(hours, 3), 'sent': tally.sent, 'received': last['received'],
        'processed': last['processed'], 'dropped': last['dropped'],
        'checked objects': found.num_objects, 'checked masks': found.num_masks,
        'violations': found.num_problems, 'answers': tally.answers,
        'unanswered': tally.unanswered, 'console frames': tally.console_frames,
        'console connections ended': tally.console_ended, 'bags': tally.bags,
        'first and last quarter': growth, 'problems': tally.problems,
    }  # fmt: skip


def plot(samples: list[dict[str, Any]], path: Path) -> None:
    """Draw memory, files and threads, and latencies over time."""
    import matplotlib as mpl

    mpl.use('Agg')
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(4, 1, figsize=(9, 9), sharex=True, layout='constrained')
    panels = (
        ('RSS (MiB)', ['node rss_mib', 'console rss_mib', 'recorder rss_mib']),
        ('open files', ['node files', 'console files']),
        ('threads', ['node threads', 'console threads']),
        ('latency (ms)', ['p50_ms', 'p95_ms']),
    )
    for axis, (title, keys) in zip(axes, panels, strict=True):
        for key in keys:
            points = [(s['t_s'] / 60, s[key]) for s in samples if key in s]
            if points:
                axis.plot(*zip(*points, strict=True), label=key.split(' ')[0].removesuffix('_ms'))
        axis.set_ylabel(title)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(loc='upper left', ncols=3)
    axes[-1].set_xlabel('minutes')
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run for some hours; print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--hours', type=float, default=0.1)
    parser.add_argument('--rotate-minutes', type=float, default=3.0)
    parser.add_argument('--out', type=Path, default=ROOT / 'out' / 'soak')
    arguments = parser.parse_args()
    out = arguments.out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    os.environ['ROS_DOMAIN_ID'] = str(find_free_domain(random.Random()))
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    tally, stop = Tally(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    parameters = ['-p', 'model.num_threads:=1', '-p', f'state_file:={out / "tracks"}']
    package, page_port = 'robust_vos_ros', ['-p', f'port:={CONSOLE_PORT}']
    with (
        ChildProcess(
            'node', f'{package}.node_program', ['--ros-args', *parameters], out / 'node.log'
        ) as first,
        ChildProcess(
            'console',
            f'{package}.console.program',
            ['--ros-args', *page_port],
            out / 'console.log',
        ) as second,
    ):
        robot, recorder = Robot(tally), Recorder(out, tally, arguments.rotate_minutes * 60)
        page = threading.Thread(target=lambda: asyncio.run(watch_console(tally, stop)))
        page.start()
        processes = {'node': psutil.Process(first.pid), 'console': psutil.Process(second.pid)}
        end_s = time.monotonic() + arguments.hours * 3600
        try:
            while time.monotonic() < end_s and not stop.wait(SAMPLE_S):
                first.check()
                second.check()
                recorder.step()
                processes['recorder'] = psutil.Process(recorder.process.pid)
                sample(robot, tally, processes)
                (out / 'samples.json').write_text(json.dumps(tally.samples))
        except KeyboardInterrupt:
            pass
        finally:
            stop.set()
            recorder.step(last=True)
            hours = (time.monotonic() - robot.start_s) / 3600
            robot.close()
            page.join(STOP_S)
    result = summarize(robot, tally, hours)
    (out / 'soak.json').write_text(json.dumps(result | {'samples': tally.samples}, indent=1))
    plot(tally.samples, out / 'soak.png')
    print(json.dumps(result, indent=1))
    return int(bool(tally.problems or tally.unanswered))


if __name__ == '__main__':
    sys.exit(main())
