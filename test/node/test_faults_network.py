"""A robot and an operator's station with a bad network between them.

Two network namespaces are joined by two TAP devices and a thread that carries the packets, late
and with losses; no module of the kernel (netem) is needed. Needs root: run it with
`make test ARGS='-m long'`.
"""

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
from robust_vos.msg import TrackedObject
from robust_vos.srv import AddObjects

from robust_vos_ros.live.watch import Watch

pytestmark = [pytest.mark.ros, pytest.mark.long]
CLONE_NEWNET, TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x40000000, 0x400454CA, 0x0002, 0x1000
ROBOT, STATION = f'rv{os.getpid()}a', f'rv{os.getpid()}b'
# The robot: the node, and its camera beside it.
PROGRAM = """
import sys, threading, time, array
import numpy as np, rclpy
from sensor_msgs.msg import Image
from robust_vos_ros.node_program import main

def camera():
    context = rclpy.Context()
    context.init(args=[])
    node = rclpy.create_node('camera', context=context)
    publisher = node.create_publisher(Image, '/image', 10)
    y, x = np.mgrid[:96, :128]
    rgb = np.stack([60 + (x * 7 + y * 3) % 40, 80 + (x * 5) % 30, 70 + (y * 9) % 30], axis=-1)
    rgb[(x - 40) ** 2 + (y - 48) ** 2 < 15 ** 2] = (230, 200, 40)
    data = array.array('B', rgb.astype(np.uint8).tobytes())
    while context.ok():
        msg = Image(height=96, width=128, encoding='rgb8', step=384, data=data)
        msg.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(msg)
        time.sleep(0.1)

threading.Thread(target=camera, daemon=True).start()
sys.exit(main(['robot', '--ros-args', '-p', 'model.num_threads:=1']))
"""


def ip(*words):
    subprocess.run(['ip', *words], check=True, capture_output=True)


def inside(namespace, function):
    """Run a function in a thread that is in a network namespace; return its result."""
    result = []

    def run():
        libc = ctypes.CDLL(None, use_errno=True)
        with Path('/var/run/netns', namespace).open() as file:
            assert libc.setns(file.fileno(), CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        result.append(function())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert result, f'failed in {namespace}'
    return result[0]


def make_tap(namespace, address):
    """Make a network device whose packets this process reads and writes."""

    def make():
        tap = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack('16sH14x', b'tap0', IFF_TAP | IFF_NO_PI))
        return tap

    tap = inside(namespace, make)
    for command in (
        'link set lo up', f'addr add {address}/24 dev tap0', 'link set tap0 up',
        'route add 224.0.0.0/4 dev tap0',
    ):  # fmt: skip
        ip('-n', namespace, *command.split())
    return tap


class Link:
    """Carries packets between two devices until it is closed."""

    def __init__(self, ends):
        self.loss, self.delay_s, self.is_cut = 0.0, 0.0, False
        self.num_carried = self.num_lost = 0
        self._ends, self._closed = ends, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self):
        self._closed = True
        self._thread.join(10)

    def _run(self):
        rng, order, waiting = random.Random(1), itertools.count(), []
        while not self._closed:
            for end in select.select(self._ends, [], [], 0.002)[0]:
                packet = os.read(end, 65536)
                if self.is_cut or rng.random() < self.loss:
                    self.num_lost += 1
                    continue
                other = self._ends[1 - self._ends.index(end)]
                due_s = time.monotonic() + self.delay_s
                heapq.heappush(waiting, (due_s, next(order), other, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, other, packet = heapq.heappop(waiting)
                os.write(other, packet)
                self.num_carried += 1


@pytest.fixture(scope='module')
def link():
    made = []
    try:
        try:
            for name in (ROBOT, STATION):
                ip('netns', 'add', name)
                made.append(name)
            ends = [make_tap(ROBOT, '10.77.0.1'), make_tap(STATION, '10.77.0.2')]
        except (OSError, subprocess.CalledProcessError, AssertionError) as error:
            pytest.skip(f'cannot make network namespaces and TAP devices here: {error}')
        link = Link(ends)
        yield link
        link.close()
        for end in ends:
            os.close(end)
    finally:
        for name in made:
            ip('netns', 'del', name)


@pytest.fixture(scope='module')
def robot(link, helpers):
    """The domain of a robot that tracks nothing yet."""
    network = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'}
    with pytest.MonkeyPatch.context() as patch, helpers.reserved_domain() as domain:
        for name, value in network.items():
            patch.setenv(name, value)
        process = subprocess.Popen(
            ['ip', 'netns', 'exec', ROBOT, sys.executable, '-c', PROGRAM],
            env=dict(os.environ, ROS_DOMAIN_ID=str(domain)),
        )
        yield domain
        process.terminate()
        process.wait(30)


@pytest.fixture
def station(robot, link, helpers):
    """A function that runs another one with a client and its watch, at the station."""

    def run(function):
        def with_client():
            client = helpers.Client(robot)
            try:
                watch = Watch(client.node, '/robust_vos')
                return function(client, watch)
            finally:
                client.close()

        return inside(STATION, with_client)

    link.loss = link.delay_s = 0.0
    link.is_cut = False
    return run


def spin(client, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.executor.spin_once(timeout_sec=0.05)


def next_frame(client, watch, timeout_s=90):
    """Return how many seconds the next message of objects takes."""
    start, known = time.monotonic(), watch.invariants.num_objects
    client.wait(lambda: watch.invariants.num_objects > known, 'objects', timeout_s)
    return time.monotonic() - start


@pytest.mark.parametrize(
    ('loss', 'delay_s'), [(0.0, 0.0), (0.05, 0.0), (0.0, 0.2), (0.05, 0.2), (0.2, 0.2)]
)
def test_loss_and_delay(station, link, helpers, record_property, loss, delay_s):
    link.loss, link.delay_s = loss, delay_s

    def use(client, watch):
        found_s = next_frame(client, watch)
        start = time.monotonic()
        prompt = helpers.make_box_prompt('disc')
        answer = client.call(
            AddObjects, '/robust_vos/add_objects', 60, prompts=[prompt], replace_existing=True
        )
        answered_s = time.monotonic() - start
        known = watch.invariants.num_objects
        spin(client, 8)
        return found_s, answer, answered_s, watch.invariants.num_objects - known, watch

    found_s, answer, answered_s, num_frames, watch = station(use)
    sys.stdout.write(
        f'\nloss {loss:.0%}, delay {delay_s * 1000:.0f} ms: found after {found_s:.1f} s, answered '
        f'after {answered_s:.2f} s, {num_frames} frames in 8 s'
    )
    assert answer.success, answer.message
    assert watch.invariants.problems == []
    assert watch.invariants.num_masks
    assert num_frames > 0


@pytest.mark.parametrize('seconds', [10, 40])  # 40 s: longer than the lease of DDS
def test_a_partition(station, link, helpers, seconds):
    """The robot tracks on; the station gets the newest results as soon as the network is back."""

    def use(client, watch):
        next_frame(client, watch)
        prompt = helpers.make_box_prompt('disc')
        assert client.call(
            AddObjects, '/robust_vos/add_objects', 60, prompts=[prompt], replace_existing=True
        ).success
        spin(client, 2)
        link.is_cut = True
        spin(client, seconds)
        link.is_cut = False
        recovered_s = next_frame(client, watch)
        spin(client, 3)
        start = time.monotonic()
        answer = client.call(
            AddObjects, '/robust_vos/add_objects', 60, prompts=[prompt], replace_existing=True
        )
        return recovered_s, time.monotonic() - start, answer, watch

    recovered_s, answered_s, answer, watch = station(use)
    sys.stdout.write(
        f'\npartition of {seconds} s: frames after {recovered_s:.1f} s, a request answered after '
        f'{answered_s:.2f} s'
    )
    assert answer.success, answer.message
    assert watch.invariants.problems == []
    assert (
        watch._states.get('tracked') or answer.objects[0].state == TrackedObject.STATE_INITIALIZING
    )
