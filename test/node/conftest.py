"""A running node and a client of it, each in its own ROS context, over real DDS."""

from __future__ import annotations

import array
import atexit
import contextlib
import os
import socket
import sys
import threading
import time
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
os.environ.pop('ROS_LOCALHOST_ONLY', None)  # would override it
SOURCE = Path(__file__).parents[2]
TIMEOUT_S = 30.0
SIZE_HW = (96, 128)  # small: one image is one packet, and none gets lost
_DOMAIN_OFFSETS = iter(range(100))
FAST = {'model.num_threads': 1}

with contextlib.suppress(ImportError), warnings.catch_warnings():
    warnings.simplefilter('ignore')  # of lark, which the message packages load on first use
    import rosidl_generator_py  # noqa: F401


@contextlib.contextmanager
def reserved_domain():
    """Yield a ROS_DOMAIN_ID that no other test process on this machine uses or has used.

    The lifecycle services of a destroyed node stay visible until its process ends: a later test
    in the same domain would talk to the dead.
    """
    for offset in _DOMAIN_OFFSETS:
        domain = 1 + (os.getpid() + offset) % 100
        lock = socket.socket()
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind(('', 7400 + 250 * domain))  # fails if somebody takes part in it
            lock.bind(('127.0.0.1', 24_000 + domain))
        except OSError:
            lock.close()
            continue
        atexit.register(lock.close)  # held until the process ends
        yield domain
        return
    raise RuntimeError('all 100 ROS domains are in use')


def make_rgb(shift=0, size_hw=SIZE_HW):
    """A textured background with a bright disc, 30 pixels wide, at (40 + shift, 48)."""
    height, width = size_hw
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([60 + (x * 7 + y * 3) % 40, 80 + (x * 5) % 30, 70 + (y * 9) % 30], axis=-1)
    disc = (x - 40 - shift) ** 2 + (y - 48) ** 2 < 15**2
    rgb[disc] = (230, 200, 40)
    return rgb.astype(np.uint8)


def make_image(stamp_ns, rgb=None, *, frame_id='camera', encoding='rgb8'):
    """Make a well-formed sensor_msgs/Image."""
    from sensor_msgs.msg import Image

    rgb = make_rgb() if rgb is None else rgb
    height, width = rgb.shape[:2]
    msg = Image(height=height, width=width, encoding=encoding, step=rgb.strides[0])
    msg.data = array.array('B', rgb.tobytes())
    msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    msg.header.frame_id = frame_id
    return msg


def make_box_prompt(object_id='disc', x=25, y=33, side=30, class_id=''):
    """A box around the disc of make_rgb()."""
    from robust_vos.msg import ObjectPrompt
    from sensor_msgs.msg import RegionOfInterest

    box = RegionOfInterest(x_offset=x, y_offset=y, width=side, height=side)
    return ObjectPrompt(object_id=object_id, class_id=class_id, box=[box])


def make_point_prompt(object_id, *points, labels=()):
    from geometry_msgs.msg import Point
    from robust_vos.msg import ObjectPrompt

    points = [Point(x=float(x), y=float(y)) for x, y in points]
    return ObjectPrompt(object_id=object_id, points=points, point_labels=list(labels))


def make_detection(x, y, width, height=None, *, theta=0.0, name='', **scores):
    """Make a vision_msgs/Detection2D, or a stand-in with its fields: it is an extra."""
    results = [make_hypothesis(class_id, score) for class_id, score in scores.items()]
    height = width if height is None else height
    try:
        from vision_msgs.msg import BoundingBox2D, Detection2D
    except ImportError:
        space = types.SimpleNamespace
        center = space(position=space(x=x, y=y), theta=theta)
        bbox = space(center=center, size_x=width, size_y=height)
        return space(id=name, bbox=bbox, results=results)
    bbox = BoundingBox2D(size_x=float(width), size_y=float(height))
    bbox.center.position.x, bbox.center.position.y = float(x), float(y)
    bbox.center.theta = theta
    return Detection2D(id=name, bbox=bbox, results=results)


def make_hypothesis(class_id, score):
    """Make a vision_msgs/ObjectHypothesisWithPose, or a stand-in."""
    try:
        from vision_msgs.msg import ObjectHypothesisWithPose
    except ImportError:
        hypothesis = types.SimpleNamespace(class_id=class_id, score=score)
        return types.SimpleNamespace(hypothesis=hypothesis)
    msg = ObjectHypothesisWithPose()
    msg.hypothesis.class_id, msg.hypothesis.score = class_id, float(score)
    return msg


def make_detections(*detections, header=None):
    """Make a vision_msgs/Detection2DArray, or a stand-in."""
    from std_msgs.msg import Header

    try:
        from vision_msgs.msg import Detection2DArray
    except ImportError:
        return types.SimpleNamespace(header=header or Header(), detections=list(detections))
    return Detection2DArray(header=header or Header(), detections=list(detections))


def stamp_ns(header):
    return header.stamp.sec * 10**9 + header.stamp.nanosec


class Client:
    """What a robot has beside the node: publishers, subscriptions and service clients."""

    def __init__(self, domain):
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node

        self.domain = domain
        self.context = Context()
        self.context.init(domain_id=domain)
        self.node = Node('client', context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.clients = {}
        self.publishers = {}

    def close(self):
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def wait(self, condition, what='the condition', timeout_s=TIMEOUT_S):
        """Spin until the condition holds; return its value."""
        end = time.monotonic() + timeout_s
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < end, f'{what} did not come within {timeout_s} s'
            self.executor.spin_once(timeout_sec=0.02)

    def listen(self, kind, topic, *, depth=100):
        """Return a list that collects the messages of a topic."""
        received = []
        subscription = self.node.create_subscription(kind, topic, received.append, depth)
        self.wait(subscription.get_publisher_count, f'a publisher of {topic}')
        return received

    def talk(self, kind, topic, **qos):
        """Return a function that publishes on a topic once somebody listens."""
        from rclpy.qos import QoSProfile

        publisher = self.node.create_publisher(kind, topic, QoSProfile(**{'depth': 10, **qos}))
        self.publishers[topic] = publisher
        self.wait(publisher.get_subscription_count, f'a subscriber of {topic}')
        return publisher.publish

    def send(self, kind, name, **fields):
        """Call a service; return the future of the response."""
        from rclpy.qos import QoSProfile

        if name not in self.clients:
            client = self.node.create_client(kind, name, qos_profile=QoSProfile(depth=1000))
            self.wait(client.service_is_ready, f'service {name}')
            self.clients[name] = client
        return self.clients[name].call_async(kind.Request(**fields))

    def call(self, kind, name, timeout_s=TIMEOUT_S, **fields):
        """Call a service and wait for the response."""
        future = self.send(kind, name, **fields)
        self.wait(future.done, f'the answer of {name}', timeout_s)
        return future.result()


class Bench(Client):
    """A node in this process, spun by a thread, and a client with shorthands for its topics."""

    def __init__(self, domain, parameters=None, arguments=()):
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter import Parameter

        from robust_vos_ros.data.corruption import corrupt_live
        from robust_vos_ros.node.lifecycle_node import RobustVosNode

        super().__init__(domain)
        self.server_context = Context()
        self.server_context.init(domain_id=domain)
        values = {**FAST, **(parameters or {})}
        self.robust_vos = RobustVosNode(
            corrupt=corrupt_live,
            context=self.server_context,
            parameter_overrides=[Parameter(name, value=v) for name, v in values.items()],
            cli_args=['--ros-args', *arguments] if arguments else None,
        )
        self.server = SingleThreadedExecutor(context=self.server_context)
        self.server.add_node(self.robust_vos)
        self.failures = []
        self._thread = threading.Thread(target=self._spin, name='node under test', daemon=True)
        self._thread.start()
        self.stamp = 10**9
        self.objects = []

    def _spin(self):
        while not self.server._is_shutdown:
            self._spin_once()

    def _spin_once(self):
        try:
            self.server.spin_once(timeout_sec=0.2)
        except Exception as error:  # a test asks for these
            self.failures.append(error)

    def on_node(self, function):
        """Run a function on the node's executor thread; return its result."""
        task = self.server.create_task(function)
        end = time.monotonic() + TIMEOUT_S
        while not task.done():
            assert time.monotonic() < end, 'the node does not answer'
            self.executor.spin_once(timeout_sec=0.02)
        return task.result()

    def start(self):
        """Configure and activate the node, and connect to its topics."""
        self.on_node(self.robust_vos.start)
        assert self.pipeline is not None, 'the node did not start, see its log'
        self.connect()

    def connect(self):
        """Subscribe to the objects and events of an active node, and prepare to send images."""
        from robust_vos.msg import TrackedObjectArray, TrackEvent
        from sensor_msgs.msg import Image

        self.objects = self.listen(TrackedObjectArray, '/robust_vos/objects')
        self.events = self.listen(TrackEvent, '/robust_vos/events')
        self.publish = self.talk(Image, '/image')

    def listen(self, kind, topic, *, depth=100):
        """As Client.listen, and the publisher knows it: DDS tells the two sides separately."""
        received = super().listen(kind, topic, depth=depth)
        self.wait(
            lambda: any(
                publisher.topic_name == topic and publisher.get_subscription_count()
                for publisher in self.robust_vos.publishers
            ),
            f'the publisher of {topic} to see its subscriber',
        )
        return received

    def talk(self, kind, topic, **options):
        """As Client.talk, and the subscriber knows it, too."""
        publish = super().talk(kind, topic, **options)
        self.wait_for_input(topic)
        return publish

    def wait_for_input(self, topic='/image'):
        """Wait until a subscription of the node sees its publisher."""
        self.wait(
            lambda: any(
                subscription.topic_name == topic and subscription.get_publisher_count()
                for subscription in self.robust_vos.subscriptions
            ),
            f'the subscriber of {topic} to see its publisher',
        )

    @property
    def pipeline(self):
        return self.robust_vos.pipeline

    @property
    def counts(self):
        return self.pipeline.statistics.counts

    def next_stamp(self, step_ns=33_000_000):
        self.stamp += step_ns
        return self.stamp

    def process(self, msg):
        """Publish an image and return the objects the node found in it."""
        known = len(self.objects)
        self.publish(msg)

        def answer():
            return next((m for m in self.objects[known:] if m.header == msg.header), None)

        return self.wait(answer, 'the objects of an image')

    def show(self, rgb=None, **options):
        """Process the next well-formed image."""
        return self.process(make_image(self.next_stamp(), rgb, **options))

    def fresh(self):
        """Forget everything an earlier test left behind."""
        from std_srvs.srv import Trigger

        assert self.call(Trigger, '/robust_vos/reset').success
        self.show()
        self.wait(
            lambda: self.events and self.events[-1].type == self.events[-1].RESET, 'RESET event'
        )
        self.events.clear()
        self.objects.clear()

    def add(self, *prompts, stamp=0, replace=False):
        from robust_vos.srv import AddObjects
        from std_msgs.msg import Header

        header = Header()
        header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10**9)
        return self.call(
            AddObjects,
            '/robust_vos/add_objects',
            header=header,
            prompts=list(prompts),
            replace_existing=replace,
        )

    def close(self):
        self.server.shutdown()
        self._thread.join(TIMEOUT_S)
        assert self.robust_vos.close()
        self.server_context.try_shutdown()
        super().close()


@pytest.fixture(scope='module')
def make_bench():
    """Start nodes, each in its own domain; they are stopped at the end of the module."""
    with contextlib.ExitStack() as stack:

        def make(parameters=None, arguments=(), *, start=True):
            domain = stack.enter_context(reserved_domain())
            bench = Bench(domain, parameters, arguments)
            stack.callback(bench.close)
            if start:
                bench.start()
            return bench

        yield make


@pytest.fixture(scope='module')
def shared_bench(make_bench):
    return make_bench()


@pytest.fixture
def bench(shared_bench):
    """The module's node with default parameters, without objects."""
    shared_bench.fresh()
    yield shared_bench
    assert shared_bench.failures == []


@pytest.fixture(scope='session')
def helpers():
    """This module, for tests that need its functions."""
    return sys.modules[__name__]
