"""A console, and over real DDS a node without a network, which is cheap and predictable."""

import array
import asyncio
import contextlib
import json
import random
import socket
import struct
import threading
import time
import warnings

import cv2
import numpy as np
import pytest

from robust_vos_ros.console.settings import ConsoleSettings
from robust_vos_ros.demo.processes import find_free_domain

with contextlib.suppress(ImportError), warnings.catch_warnings():
    warnings.simplefilter('ignore')  # of lark, which the message packages load on first use
    import rosidl_generator_py  # noqa: F401

TIMEOUT_S = 30.0
WIDTH, HEIGHT = 160, 120
CENTER, RADIUS = (80, 60), 25  # of the disc that is to be tracked
PERIOD_S = 0.1


@pytest.fixture(scope='session')
def domain():
    """A free ROS domain for all of these tests, which only looks at this machine.

    Robots live in it until the process ends, so the lock keeps the tests of the node out of it.
    """
    with pytest.MonkeyPatch.context() as patch, socket.socket() as lock:
        while True:
            number = find_free_domain(random.Random())
            with contextlib.suppress(OSError):
                lock.bind(('127.0.0.1', 24_000 + number))
                break
        patch.setenv('ROS_DOMAIN_ID', str(number))
        patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        patch.delenv('ROS_LOCALHOST_ONLY', raising=False)
        yield number


class Robot:
    """A node that looks like robust_vos: what is pointed at becomes a box around it.

    Attributes:
        objects: Left, top, width, height and label by object_id.
        refuse: Code and sentence for the next request, None = do it.
        in_view: Box of what words find, by text.
        requests: All that came.
        jpegs: All that was sent, where images are compressed as well.
    """

    def __init__(self, name='robust_vos', namespace='/', *, compressed=False, words=True):
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import Point
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.node import Node
        from robust_vos.msg import TrackedObjectArray, TrackEvent
        from robust_vos.srv import (
            AddObjects,
            Find,
            ListObjects,
            RefineObject,
            RemoveObjects,
            SegmentOnce,
        )
        from sensor_msgs.msg import CompressedImage, Image
        from std_srvs.srv import Trigger

        self.objects, self.refuse, self.requests, self.in_view = {}, None, [], {}
        self.context = Context()
        self.context.init()
        self.node = node = Node(name, namespace=namespace, context=self.context)
        node.declare_parameter('tracking.prompt_buffer_s', 20.0)
        self.full_name = node.get_fully_qualified_name()
        self.image_topic = f'{self.full_name}_camera/image'
        publish = node.create_publisher
        self._images = publish(Image, self.image_topic, 5)
        self.jpegs, topic = [], f'{self.image_topic}/compressed'
        self._jpegs = publish(CompressedImage, topic, 5) if compressed else None
        self._arrays = publish(TrackedObjectArray, '~/objects', 30)
        self._labels = publish(CompressedImage, '~/label_mask/compressed', 30)
        self._events = publish(TrackEvent, '~/events', 50)
        self._health = publish(DiagnosticArray, '/diagnostics', 10)
        # What the real node listens to tells which images it sees.
        node.create_subscription(Image, self.image_topic, lambda _: None, 1)
        node.create_subscription(Point, f'{self.image_topic}_mouse_left', lambda _: None, 1)
        for kind, service, do in (
            (AddObjects, 'add_objects', self._add),
            (RefineObject, 'refine_object', self._refine),
            (RemoveObjects, 'remove_objects', self._remove),
            (ListObjects, 'list_objects', self._list),
            (SegmentOnce, 'segment_once', self._segment),
            *([(Find, 'find', self._find)] if words else []),
            (Trigger, 'reset', self._reset),
        ):
            node.create_service(kind, f'~/{service}', self._serve(service, do))
        self.timer = node.create_timer(PERIOD_S, self._tick)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(node)
        self._closed = False
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self):
        while not self._closed:
            self._executor.spin_once(timeout_sec=0.1)

    def close(self):
        self._closed = True
        self._thread.join()
        self._executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()

    def _serve(self, service, do):
        from robust_vos.msg import ErrorCode

        def serve(request, response):
            self.requests.append((service, request))
            refusal, self.refuse = self.refuse, None
            code, response.message = refusal or do(request, response) or ('OK', f'{service} done')
            response.success = code == 'OK'
            if hasattr(response, 'error_code'):
                response.error_code = getattr(ErrorCode, code)
            elif not response.success:
                response.message = f'{code}: {response.message}'
            return response

        return serve

    def _box_of(self, prompt):
        if prompt.box:
            box = prompt.box[0]
            return box.x_offset, box.y_offset, box.width, box.height
        x, y = prompt.points[0].x, prompt.points[0].y
        return max(0, int(x) - 10), max(0, int(y) - 10), 20, 20

    def _add(self, request, response):
        prompt = request.prompts[0]
        if prompt.object_id in self.objects:
            return 'DUPLICATE_ID', f'{prompt.object_id} is already tracked'
        label = len(self.objects) + 1
        self.objects[prompt.object_id] = (*self._box_of(prompt), label, prompt.class_id)
        response.objects = [self._to_object(prompt.object_id)]
        return self.tell('ADDED', prompt.object_id)

    def _refine(self, request, response):
        prompt = request.prompt
        if prompt.object_id not in self.objects:
            return 'UNKNOWN_ID', f'there is no {prompt.object_id}'
        *box, label, kind = self.objects[prompt.object_id]
        box = self._box_of(prompt) if prompt.box or prompt.points else box
        self.objects[prompt.object_id] = (*box, label, prompt.class_id or kind)
        response.object = self._to_object(prompt.object_id)
        return None

    def _find(self, request, response):
        if request.text not in self.in_view:
            response.searching = request.mode == 'until_found'
            return 'OK', f'nothing like {request.text!r} in view'
        self.objects[request.text] = (*self.in_view[request.text], len(self.objects) + 1, 'toy')
        response.object_ids, response.confidences = [request.text], [0.83]
        return 'OK', f'found {request.text} (0.83)'

    def _remove(self, request, response):
        response.removed = list(request.object_ids)
        for object_id in request.object_ids:
            if self.objects.pop(object_id, None) is None:
                return 'UNKNOWN_ID', f'there is no {object_id}'
        return None

    def _list(self, _request, _response):
        return None

    def _reset(self, _request, _response):
        self.objects.clear()

    def _segment(self, request, response):
        from sensor_msgs.msg import Image

        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        x, y, width, height = self._box_of(request.prompts[0])
        labels[y : y + height, x : x + width] = 1
        response.label_mask = Image(height=HEIGHT, width=WIDTH, encoding='mono8', step=WIDTH)
        response.label_mask.data = array.array('B', labels.tobytes())
        response.objects = [make_object('preview', x, y, width, height, 1, '')]

    def _to_object(self, object_id):
        return make_object(object_id, *self.objects[object_id])

    def tell(self, name, object_id):
        """Publish an event."""
        from robust_vos.msg import TrackEvent

        event = TrackEvent(type=getattr(TrackEvent, name), object_id=object_id, detail='as told')
        self._events.publish(event)

    def _tick(self):
        from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
        from robust_vos.msg import TrackedObjectArray
        from sensor_msgs.msg import CompressedImage, Image
        from std_msgs.msg import Header

        header = Header(stamp=self.node.get_clock().now().to_msg(), frame_id='camera')
        rgb = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
        cv2.circle(rgb, CENTER, RADIUS, (230, 200, 40), -1)
        image = Image(header=header, height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH)
        image.data = array.array('B', rgb.tobytes())
        self._images.publish(image)
        if self._jpegs is not None:
            jpeg = CompressedImage(header=header, format='rgb8; jpeg compressed bgr8')
            jpeg.data = array.array('B', cv2.imencode('.jpg', rgb[..., ::-1])[1].tobytes())
            self.jpegs.append(jpeg.data.tobytes())
            self._jpegs.publish(jpeg)
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for x, y, width, height, label, _ in list(self.objects.values()):
            labels[y : y + height, x : x + width] = label
        msg = TrackedObjectArray(header=header, height=HEIGHT, width=WIDTH, frames_dropped=3)
        msg.latency.nanosec, msg.engine_time.nanosec = 40_000_000, 30_000_000
        msg.objects = [self._to_object(object_id) for object_id in list(self.objects)]
        self._arrays.publish(msg)
        png = CompressedImage(header=header, format='mono8; png compressed')
        png.data = array.array('B', cv2.imencode('.png', labels)[1].tobytes())
        self._labels.publish(png)
        status = DiagnosticStatus(
            level=DiagnosticStatus.OK, name=f'{self.full_name[1:]}: tracker', message='tracking',
            values=[KeyValue(key='model', value='none')],
        )  # fmt: skip
        self._health.publish(DiagnosticArray(status=[status]))


def make_object(object_id, x, y, width, height, label, class_id):
    """Make a robust_vos/TrackedObject of a box."""
    from robust_vos.msg import TrackedObject
    from sensor_msgs.msg import RegionOfInterest

    roi = RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)
    return TrackedObject(
        object_id=object_id, label=label, class_id=class_id, state=TrackedObject.STATE_TRACKED,
        confidence=0.9, mask_quality=0.8, area_px=width * height, roi=roi,
    )  # fmt: skip


@pytest.fixture(scope='session')
def make_robot(domain):
    """Start robots; all are stopped at the end."""
    with contextlib.ExitStack() as stack:

        def make(*args, **options):
            robot = Robot(*args, **options)
            stack.callback(robot.close)
            return robot

        yield make


@pytest.fixture(scope='session')
def shared_robot(make_robot):
    return make_robot()


@pytest.fixture
def robot(shared_robot):
    """The robot without objects."""
    shared_robot.objects.clear()
    shared_robot.requests.clear()
    shared_robot.in_view = {'the disc': (55, 35, 50, 50)}
    shared_robot.refuse = None
    return shared_robot


class Console:
    """Consoles in this process, on one event loop of a thread of its own."""

    def __init__(self, domain):
        import rclpy
        from rclpy.node import Node

        self._context = rclpy.Context()
        self._context.init(domain_id=domain)
        self._node = Node('robust_vos_console', context=self._context)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._stack, self.hubs = [], {}

    def run(self, coroutine):
        """Run a coroutine on the loop of the console."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(TIMEOUT_S)

    def serve(self, **settings):
        """Start a console; return its port, and a function that ends it."""
        from robust_vos_ros.console.hub import Hub
        from robust_vos_ros.console.server import Server

        async def start():
            options = ConsoleSettings(**{'port': 0, **settings})
            hub = Hub(self._node, options)
            server = Server(options, hub, self._node.get_logger())
            port = await server.start()
            self.hubs[port] = hub
            looking = asyncio.create_task(hub.run())

            async def end():
                looking.cancel()
                await asyncio.gather(looking, return_exceptions=True)
                await server.close()
                await hub.close()

            return port, end

        port, end = self.run(start())
        self._stack.append(end)

        def stop():
            self._stack.remove(end)
            self.run(end())

        return port, stop

    def close(self):
        for end in self._stack:
            self.run(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture(scope='session')
def console(domain):
    console = Console(domain)
    yield console
    console.close()


@pytest.fixture(scope='session')
def port(console):
    """Port of a console with default settings."""
    return console.serve()[0]


class Page:
    """A browser's side of the socket."""

    def __init__(self, socket):
        self.socket = socket
        self.notes = []
        self.thanks = True

    async def send(self, **message):
        await self.socket.send_str(json.dumps(message))

    async def hello(self, **fields):
        await self.send(type='hello', protocol=1, **fields)

    async def receive(self):
        """Return the next note, or ('frame', head, picture)."""
        message = await self.socket.receive(timeout=TIMEOUT_S)
        if message.data is None or isinstance(message.data, int):
            raise ConnectionError(f'closed with {self.socket.close_code}')
        if isinstance(message.data, str):
            note = json.loads(message.data)
            self.notes.append(note)
            return note
        (length,) = struct.unpack('>I', message.data[:4])
        if self.thanks:
            with contextlib.suppress(ConnectionError):  # the next message tells why
                await self.send(type='seen')
        head = json.loads(message.data[4 : 4 + length])
        return {'type': 'frame', 'head': head, 'picture': message.data[4 + length :]}

    async def wait(self, condition, what):
        """Receive until the condition holds of something received; return that."""
        end = time.monotonic() + TIMEOUT_S
        while time.monotonic() < end:
            note = await self.receive()
            if condition(note):
                return note
        raise AssertionError(f'{what} did not come within {TIMEOUT_S} s')

    async def event(self, name):
        """Return an event, which may have come already."""
        while not (found := [note for note in self.notes if note.get('event') == name]):
            await self.wait(lambda note: note['type'] == 'event', f'the event {name}')
        return found[0]

    async def frame(self, condition=lambda head: True):
        """Return the next picture with objects for which the condition holds."""
        return await self.wait(
            lambda note: (
                note['type'] == 'frame'
                and note['picture']
                and note['head']['objects'] is not None
                and condition(note['head'])
            ),
            'a frame',
        )

    async def ask(self, kind, **fields):
        """Send a request and return its answer."""
        await self.send(type=kind, id=7, **fields)
        return await self.wait(lambda note: note['type'] == 'answer', f'the answer of {kind}')


@contextlib.asynccontextmanager
async def open_page(port, *, hello=True, headers=None, **fields):
    """Open a socket, and say hello."""
    import aiohttp

    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f'http://127.0.0.1:{port}/ws', headers=headers) as socket,
    ):
        page = Page(socket)
        if hello:
            await page.hello(**fields)
        yield page


@pytest.fixture(scope='session')
def helpers():
    """What tests need of this file."""
    import types

    return types.SimpleNamespace(open_page=open_page, center=CENTER, timeout_s=TIMEOUT_S)


IMAGE_STEP_NS = 100_000_000
# Of the disc in each image; None = no result.
STATES = [None, 0, 1, 1, 1, 2, 3, 4, 4, 1, 1, 1]


@pytest.fixture(scope='session')
def bag_path(tmp_path_factory):
    """A bag without ROS: images of the disc, and results as the node records them."""
    from robust_vos_ros.bags.definitions import message_typestore
    from robust_vos_ros.bags.results import ResultSerializer, ResultTopics
    from robust_vos_ros.bags.writer import BagWriter
    from robust_vos_ros.ros_types.messages import MessageMaker

    store, topics = message_typestore(), ResultTopics('/robust_vos')
    maker = MessageMaker(store.types, lambda values: np.frombuffer(values, np.uint8))
    serializer, path = ResultSerializer(topics), tmp_path_factory.mktemp('bag') / 'drive'
    with BagWriter(path) as bag:
        image_type, topic = 'sensor_msgs/msg/Image', '/camera/image_raw'
        for index, state in enumerate(STATES):
            stamp_ns = 1_700_000_000 * 10**9 + index * IMAGE_STEP_NS
            rgb = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
            cv2.circle(rgb, (CENTER[0] + index, CENTER[1]), RADIUS, (230, 200, 40), -1)
            result = make_result(index, state or 0, stamp_ns)
            image = maker.to_image(rgb, 'rgb8', maker.to_header(result))
            bag.write(topic, image_type, store.serialize_cdr(image, image_type), stamp_ns)
            # Results are recorded after the image, with its stamp.
            recorded = [] if state is None else serializer.serialize(result, stamp_ns + 30_000_000)
            for item in recorded:
                bag.write(item.topic, item.msgtype, item.cdr, item.stamp_ns)
    return path


def make_result(index, state, stamp_ns):
    """Return the engine's result for an image: the box of the disc, where it is seen."""
    import uuid

    import torch

    from robust_vos_ros.core.types import ObjectFlag, ObjectState, TrackedObject, TrackResult

    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    box = (CENTER[0] + index - RADIUS, CENTER[1] - RADIUS, 2 * RADIUS, 2 * RADIUS)
    seen = state in {1, 2}
    if seen:
        labels[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = 1
    item = TrackedObject(
        object_id='disc', uuid=uuid.UUID(int=1), label=1, class_id='toy', state=ObjectState(state),
        confidence=0.9, existence_probability=0.9, mask_quality=0.8, gate_activity=0.0,
        memory_updated=True, path_switched=False, last_seen_ns=stamp_ns, age_ns=0,
        frames_since_seen=0, flags=ObjectFlag(0), box_xywh=box if seen else (0, 0, 0, 0),
        centroid_xy=CENTER, area_px=4 * RADIUS * RADIUS if seen else 0,
    )  # fmt: skip
    return TrackResult(
        stamp_ns=stamp_ns, frame_id='camera', frame_index=index, label_mask=labels,
        mask_logits=torch.zeros(1, 4, 4), objects=(item,), events=(), engine_ns=0,
    )  # fmt: skip
