"""The load of a soak: camera and operator, a browser, a recorder; each notes what happens."""

from __future__ import annotations

import array
import asyncio
import contextlib
import dataclasses
import json
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
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from robust_vos.msg import ObjectPrompt
from robust_vos.srv import AddObjects, RefineObject, RemoveObjects, SegmentOnce
from sensor_msgs.msg import Image, RegionOfInterest
from soak_scene import NUM_OBJECTS, RADIUS, SIZE_HW, Scene

from robust_vos_ros.bags.reader import BagReader, header_stamp_ns
from robust_vos_ros.live.watch import Watch

RATE_HZ, REQUEST_S, STOP_S, SETTLE_S = 30.0, 2.0, 40.0, 20.0
CONSOLE_PORT = 18_099


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
