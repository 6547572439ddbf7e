"""The Python client with a real node and a camera."""

import collections
import contextlib
import re
import threading

import numpy as np
import pytest

pytest.importorskip('rclpy')
from robust_vos.msg import TrackedObjectArray
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from robust_vos_ros.client import ClientError, RefusedError, RobustVos, prompts
from robust_vos_ros.client.frames import FrameJoiner, explain_missing
from robust_vos_ros.client.prompts import to_prompt_message
from robust_vos_ros.core.errors import PromptError
from robust_vos_ros.core.prompting import prompts as core_prompts

pytestmark = pytest.mark.ros

TOPIC = '/camera/image_raw'
STEP_NS = 50_000_000
PATIENCE_S = 60.0  # for a busy machine
CENTER, RADIUS = (190, 160), 60  # as of README's cup
BOX = (130, 100, 250, 220)


class Camera:
    """Publishes images of a disc, ten times a second, from a thread of its own."""

    def __init__(self, helpers, node):
        self._publisher = node.create_publisher(Image, TOPIC, 1)
        self._make = helpers.make_image
        y, x = np.mgrid[:280, :320]
        self._rgb = np.stack([60 + (x * 7 + y * 3) % 40, 80 + x % 30, 70 + y % 30], -1)
        self._rgb = self._rgb.astype(np.uint8)
        self._rgb[(x - CENTER[0]) ** 2 + (y - CENTER[1]) ** 2 < RADIUS**2] = (230, 200, 40)
        self.stamp_ns, self.step_ns = 10**9, STEP_NS
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._end.wait(0.1):
            self.stamp_ns += self.step_ns
            self._publisher.publish(self._make(self.stamp_ns, self._rgb))

    def close(self):
        self._end.set()
        self._thread.join()


@pytest.fixture(scope='module')
def starting(make_bench, helpers):
    """A node that is not configured yet, with a camera."""
    bench = make_bench(arguments=['-r', f'image:={TOPIC}'], start=False)
    bench.camera = Camera(helpers, bench.node)
    yield bench
    bench.camera.close()


@pytest.fixture(scope='module')
def watched(make_bench, helpers):
    """A node that is active, with a camera."""
    bench = make_bench(arguments=['-r', f'image:={TOPIC}'], start=False)
    bench.on_node(bench.robust_vos.start)
    bench.camera = Camera(helpers, bench.node)
    wait_for_frames(bench)
    yield bench
    bench.camera.close()


def wait_for_frames(bench):
    """Wait until the node works on images: a client can only wait for what comes of them."""
    bench.wait(lambda: bench.counts.processed, 'a processed image', PATIENCE_S)


def connect(bench, *, timeout_s=PATIENCE_S, **options):
    return RobustVos(domain_id=bench.domain, timeout_s=timeout_s, **options)


def expect_failure(bench, reason):
    """Connect in vain, for longer each time: a busy machine takes seconds to see a node."""
    for timeout_s in (1.0, 4.0, 16.0, PATIENCE_S):
        with pytest.raises(ClientError) as caught:
            connect(bench, timeout_s=timeout_s)
        if re.search(reason, str(caught.value)):
            return
    raise AssertionError(f'expected {reason}, got {caught.value}')


def wait_until_heard(bench):
    """Wait until the node sees the client's subscriptions: DDS tells the two sides separately."""
    topics = {'/robust_vos/objects', '/robust_vos/label_mask/compressed'}

    def heard():
        publishers = list(bench.robust_vos.publishers)
        return topics <= {p.topic_name for p in publishers if p.get_subscription_count()}

    bench.wait(heard, 'the node to see the subscriptions of the client', PATIENCE_S)


def test_it_waits_until_the_node_is_active(starting):
    expect_failure(starting, r'within \d+ s: the node is unconfigured')
    with pytest.raises(ClientError, match=r'/robot/eyes did not become active.*no such node'):
        connect(starting, name='robot/eyes', timeout_s=0.5)
    starting.server.create_task(starting.robust_vos.start)
    with connect(starting) as vos:
        wait_for_frames(starting)
        wait_until_heard(starting)
        assert next(vos).objects == {}


@contextlib.contextmanager
def busy(bench):
    """The executor of the node is held, as while it loads a model."""
    entered, leave = threading.Event(), threading.Event()
    bench.server.create_task(lambda: entered.set() or leave.wait(120))
    assert entered.wait(PATIENCE_S)
    try:
        yield
    finally:
        leave.set()


def test_a_node_that_loads_its_model_is_not_missing(starting):
    reason = r'it is there but does not answer; .* while it loads its model'
    with busy(starting):
        expect_failure(starting, reason)


@pytest.fixture
def vos(watched):
    with connect(watched) as vos:
        wait_until_heard(watched)
        vos.reset()
        yield vos


def stamp_of(msg):
    return msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec


@pytest.fixture
def example(watched, helpers, monkeypatch):
    text = (helpers.SOURCE / 'README.md').read_text()
    (example,) = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    assert 'RobustVos' in example
    assert len(example.splitlines()) <= 20
    monkeypatch.setenv('ROS_DOMAIN_ID', str(watched.domain))
    monkeypatch.setitem(RobustVos.__init__.__kwdefaults__, 'timeout_s', PATIENCE_S)
    return example


def test_the_example_of_the_readme_ends_when_it_is_refused(vos, example):
    vos.add('cup', box=BOX)
    with pytest.raises(SystemExit, match=r'cup was not added: .*DUPLICATE_ID'):
        exec(example, {})


def test_the_example_of_the_readme(vos, example, capsys):
    exec(example, {})
    (line,) = capsys.readouterr().out.splitlines()
    x, y, num_pixels = map(
        int, re.fullmatch(r'cup at .(\d+), (\d+)., (\d+) pixels', line).groups()
    )
    assert (abs(x - CENTER[0]) < 8, abs(y - CENTER[1]) < 8) == (True, True)
    assert num_pixels == pytest.approx(np.pi * RADIUS**2, rel=0.2)
    assert vos.remove() == []  # it left none behind


def test_arrays_come_with_their_masks_in_order(vos):
    image = vos.next_image(TOPIC)
    added = vos.add('disc', class_id='toy', box=BOX, on=image)
    assert (added.object_id, added.class_id) == ('disc', 'toy')
    frames = []
    for frame in vos:
        frames.append(frame)
        if sum('disc' in frame.objects for frame in frames) == 3:
            break
    stamps = [stamp_of(frame) for frame in frames]
    assert stamps == sorted(set(stamps))
    for frame in frames[-3:]:
        item = frame.objects['disc']
        assert item.uuid == added.uuid
        assert frame.labels.shape == (frame.array.height, frame.array.width) == (280, 320)
        assert frame.mask('disc').sum() == item.area_px > 0
    with pytest.raises(KeyError):
        frame.mask('cup')


def test_a_prompt_hits_the_image_that_was_pointed_at(watched, vos, monkeypatch):
    """Also one that reaches the node only later, as its camera is far."""
    requests, camera = watched.robust_vos._configured.cameras[0].requests, watched.camera
    applied, add = [], requests.add
    monkeypatch.setattr(
        requests, 'add', lambda *args, **kw: applied.append(add(*args, **kw)) or applied[-1]
    )
    image = vos.next_image(TOPIC)
    assert vos.add(box=BOX, on=image).object_id.startswith('object_')
    assert applied[-1].header.stamp == image.header.stamp

    monkeypatch.setattr(camera, 'step_ns', 0)
    coming, coming_ns = Header(), camera.stamp_ns + STEP_NS
    coming.stamp.sec, coming.stamp.nanosec = divmod(coming_ns, 10**9)
    failed = watched.counts.requests_failed
    thread = threading.Thread(target=lambda: vos.add(box=BOX, on=coming))
    thread.start()
    watched.wait(lambda: watched.counts.requests_failed > failed, 'a first refusal')
    camera.stamp_ns = coming_ns  # the same image again and again: none gets lost for good
    thread.join(30)
    assert applied[-1].header.stamp == coming.stamp

    never = Header()
    never.stamp.sec = 10**6
    with pytest.raises(RefusedError, match=r'has not arrived yet'):
        vos.add(box=BOX, on=never)


def test_refusals_have_a_code_and_a_sentence(vos):
    vos.add('disc', box=BOX)
    for call, code in (
        (lambda: vos.add('disc', box=BOX), 'DUPLICATE_ID'),
        (lambda: vos.refine('cup', points=[CENTER]), 'UNKNOWN_ID'),
        (lambda: vos.remove('disc', 'cup'), 'UNKNOWN_ID'),
        (lambda: vos.add('dot', points=[(5000, 5)]), 'BAD_PROMPT'),
    ):
        with pytest.raises(RefusedError, match=code) as caught:
            call()
        assert caught.value.code == code
    assert vos.add('disc', box=BOX, replace=True).object_id == 'disc'
    assert vos.refine('disc', points=[CENTER, (10, 10)], labels=[1, 0]).object_id == 'disc'
    assert vos.remove('disc') == ['disc']


def test_closing_ends_an_iteration(vos):
    seen = []

    def close_after_two():
        for frame in vos:
            seen.append(frame)
            if len(seen) == 2:
                vos.close()

    thread = threading.Thread(target=close_after_two, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert len(seen) == 2
    with pytest.raises(ClientError, match=r'closed'):
        vos.reset()
    with pytest.raises(ClientError, match=r'closed'):
        vos.next_image(TOPIC)


def test_closing_wakes_who_waits_for_an_answer(watched, vos):
    errors = []

    def add():
        try:
            vos.add('late', box=BOX)
        except ClientError as error:
            errors.append(str(error))

    sent = vos._connection._clients['/robust_vos/add_objects']._pending_requests
    thread = threading.Thread(target=add, daemon=True)
    with busy(watched):
        thread.start()
        watched.wait(lambda: sent, 'the request to be sent')
        vos.close()
        thread.join(10)
        assert not thread.is_alive()
    assert errors == ['the client is closed']


def test_the_thread_that_spins_unsubscribes(vos, monkeypatch):
    """Another one would take subscriptions away while it waits for them."""
    node, threads, done = vos._connection._node, [], threading.Event()
    destroy = node.destroy_subscription

    def note_and_destroy(subscription):
        threads.append(threading.current_thread())
        destroy(subscription)
        done.set()

    before = len(list(node.subscriptions))
    with monkeypatch.context() as patch:
        patch.setattr(node, 'destroy_subscription', note_and_destroy)
        vos.next_image(TOPIC)
        assert done.wait(30)
    assert threads == [vos._connection._thread]
    assert len(list(node.subscriptions)) == before


def test_the_end_of_the_thread_that_spins_is_told(vos):
    def fail():
        raise ValueError('spoilt')

    vos._connection._executor.create_task(fail)
    with pytest.raises(ClientError, match=r'the thread of the client ended: ValueError: spoilt'):
        vos.next_image('/nowhere')
    with pytest.raises(ClientError, match=r'spoilt'):
        next(vos)


def test_what_another_thread_takes_is_not_missing(vos, monkeypatch):
    wait = vos._connection.wait

    def wait_and_lose(*args):
        parts = wait(*args)
        vos._frames.clear()  # by another iteration
        return parts

    monkeypatch.setattr(vos._connection, 'wait', wait_and_lose)
    assert next(vos).objects == {}


def test_silence_is_an_error(watched, monkeypatch, vos):
    monkeypatch.setattr(vos, '_timeout_s', 0.2)
    with pytest.raises(ClientError, match=r'waited 0.2 s for an image on /nowhere'):
        vos.next_image('/nowhere')


def message(kind, number):
    msg = kind()
    msg.header.stamp.sec = number
    return msg


def test_joining():
    """By stamp, whichever comes first; what has no other half is given up by the next frame."""
    joiner, done = FrameJoiner(), []
    array, png = TrackedObjectArray, CompressedImage
    order = [
        (array, 1),
        (png, 1),
        (array, 2),
        (png, 3),
        (array, 3),
        (png, 2),
        (array, 4),
        (png, 4),
    ]
    for kind, number in order:
        parts = joiner.add(message(kind, number))
        if parts is not None:
            assert parts[array].header == parts[png].header
            done.append(parts[array].header.stamp.sec)
    assert done == [1, 3, 4]
    for number in range(10, 1000):
        assert joiner.add(message(array, number)) is None
    assert len(joiner._pending) == 100


@pytest.mark.parametrize(
    ('came', 'why'),
    [
        ({}, r'nothing came: does it get images'),
        ({TrackedObjectArray: 7}, r'7 lists of objects came but no mask: is publish.label_mask'),
        ({TrackedObjectArray: 7, CompressedImage: 2}, r'7 lists of objects and 2 masks came'),
    ],
)
def test_a_missing_frame_is_explained(came, why):
    assert re.match(why, explain_missing(collections.Counter(came)))


def test_prompts_as_messages():
    mask = np.zeros((4, 6))
    mask[1, 2] = 7
    msg = to_prompt_message(
        'it', box=(-0.5, 1.2, 4.5, 3.0), points=[(1, 2)], labels=[0], mask=mask
    )
    (roi,), (image,), (point,) = msg.box, msg.mask, msg.points
    assert (roi.x_offset, roi.y_offset, roi.width, roi.height) == (0, 1, 5, 2)
    assert (point.x, point.y, list(msg.point_labels)) == (1.0, 2.0, [0])
    assert np.flatnonzero(np.frombuffer(image.data, np.uint8)).tolist() == [8]
    assert (image.width, image.height, image.encoding) == (6, 4, 'mono8')


@pytest.mark.parametrize(
    'fields',
    [
        {'box': (5, 5, 5, 9)},  # no width
        {'box': (9, 5, 5, 9)},  # corners swapped
        {'box': (-9, 5, -5, 9)},  # beside the image
        {'box': (-4, -4, 16, 16)},  # 64% inside: another object would be meant
        {'box': (-4, 5, 8, 9)},  # 67% inside
        {'box': (-1e30, 2, 3, 4)},
        {'box': (1, 2, float('nan'), 4)},
        {'box': (1, 2, 3, 1e30)},
        {'mask': np.zeros((4, 6, 3))},
    ],
)
def test_prompts_of_no_form(fields):
    with pytest.raises(PromptError, match='expected a'):
        to_prompt_message('it', **fields)


def test_boxes_are_cut_by_the_rule_of_the_node():
    assert prompts._MIN_INSIDE == core_prompts._MIN_INSIDE
