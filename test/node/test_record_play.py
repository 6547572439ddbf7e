"""`robust-vos bag record` as a program and `bag play`, over real DDS: the same bytes come back."""

import os
import signal
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest

pytest.importorskip('rclpy')
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from mcap.records import Message
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from robust_vos.msg import TrackedObject, TrackedObjectArray
from rosbags.interfaces import QosDurability, QosReliability
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from robust_vos_ros.bags.metadata import read_custom_data
from robust_vos_ros.bags.reader import BagReader, header_stamp_ns
from robust_vos_ros.bags.recording import Recording
from robust_vos_ros.bags.salvage import salvage
from robust_vos_ros.bags.writer import BagWriter
from robust_vos_ros.core.errors import BagError, ConfigError
from robust_vos_ros.live import player
from robust_vos_ros.live.player import PlayOptions, play
from robust_vos_ros.live.recorder import Recorder, RecordOptions, record

pytestmark = pytest.mark.ros

NUM_FRAMES, PERIOD_S = 40, 0.02
STRING = 'std_msgs/msg/String'
IMAGE, INFO, NOTE = '/camera/image_raw', '/camera/camera_info', '/note'
OBJECTS, PNG = '/robust_vos/objects', '/robust_vos/label_mask/compressed'
LATCHED = {'durability': DurabilityPolicy.TRANSIENT_LOCAL}
SENSOR = {'reliability': ReliabilityPolicy.BEST_EFFORT}


def make_frame(helpers, index):
    """Return topic -> serialized message of one frame, all with the header of the image."""
    image = helpers.make_image(10**18 + index * 10**7)
    mask = np.zeros(helpers.SIZE_HW, np.uint8)
    mask[30:60, 20 + index : 50 + index] = 1
    png = cv2.imencode('.png', mask)[1]
    item = TrackedObject(object_id='disc', label=1, state=TrackedObject.STATE_TRACKED)
    compressed = CompressedImage(header=image.header, format='mono8; png compressed ')
    compressed.data = png.tobytes()
    messages = {
        IMAGE: image,
        INFO: CameraInfo(header=image.header, width=128, height=96),
        OBJECTS: TrackedObjectArray(header=image.header, height=96, width=128, objects=[item]),
        PNG: compressed,
    }
    # Once: the bytes between fields differ from one time to the next.
    return {topic: serialize_message(message) for topic, message in messages.items()}


def make_diagnostics():
    values = {'model': 'nano', 'weights hash': 'abc', 'adapter': 'none', 'version': '1.2.3'}
    pairs = [KeyValue(key=key, value=value) for key, value in values.items()]
    status = DiagnosticStatus(name='robust_vos: tracker', values=pairs)
    return DiagnosticArray(status=[status, DiagnosticStatus(name='other: tracker')])


@pytest.fixture(scope='module')
def recorded(tmp_path_factory, helpers):
    """Record a camera and what a node would publish; return the bag, what was sent, the output."""
    out = tmp_path_factory.mktemp('record') / 'drive'
    with helpers.reserved_domain() as domain:
        client = helpers.Client(domain)
        command = [sys.executable, '-m', 'robust_vos_ros.cli', 'bag', 'record', '--out', str(out)]
        program = subprocess.Popen(
            [*command, '--image-topic', IMAGE, '--topic', NOTE],
            env=dict(os.environ, ROS_DOMAIN_ID=str(domain)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            sent = {NOTE: [serialize_message(String(data='before the recorder'))]}
            sent['/diagnostics'] = [serialize_message(make_diagnostics())]
            node = client.node
            node.create_publisher(
                String, NOTE, QoSProfile(depth=10, **LATCHED)
            ).publish(sent[NOTE][0])  # fmt: skip
            publish = {
                IMAGE: client.talk(Image, IMAGE, **SENSOR),
                INFO: client.talk(CameraInfo, INFO),
                OBJECTS: client.talk(TrackedObjectArray, OBJECTS),
                PNG: client.talk(CompressedImage, PNG),
                '/diagnostics': client.talk(DiagnosticArray, '/diagnostics'),
            }
            publish['/diagnostics'](sent['/diagnostics'][0])
            sent[IMAGE] = send_until_recorded(program, publish[IMAGE], helpers)
            for index in range(NUM_FRAMES):
                for topic, message in make_frame(helpers, index).items():
                    publish[topic](message)
                    sent.setdefault(topic, []).append(message)
                time.sleep(PERIOD_S)  # the pace of a camera
            client.wait(
                lambda: is_written(out, [messages[-1] for messages in sent.values()]),
                'the end of the recording',
            )
            program.send_signal(signal.SIGINT)
            text = program.communicate(timeout=30)[0]
            sent[IMAGE] = arrived(out, sent[IMAGE])
        finally:
            program.kill()
            program.wait(10)
            client.close()
    assert program.returncode == 0, text
    return out, sent, text


def is_written(out, wanted):
    """Whether an unfinished bag has some messages; the recorder writes every half second."""
    records = [record for path in out.glob('*.mcap') for record in salvage(path)]
    written = [record.data for record in records if isinstance(record, Message)]
    return all(any(data.startswith(one) for data in written) for one in wanted)


def send_until_recorded(program, publish, helpers):
    """Send images until the recorder says that one came; returns what was sent.

    Best effort: what is sent before the recorder knows the camera is lost.
    """
    told = threading.Event()

    def read():
        for line in program.stdout:
            if f'recording {IMAGE} ' in line:
                told.set()
                return

    reader = threading.Thread(target=read)
    reader.start()
    sent = []
    while not told.is_set() and len(sent) < 1000:
        sent.append(serialize_message(helpers.make_image(10**17 + len(sent))))
        publish(sent[-1])
        told.wait(PERIOD_S)
    reader.join(10)
    return sent


def arrived(out, sent):
    """Return the images from the first one that was recorded on."""
    with BagReader(out) as bag:
        count = sum(1 for _ in bag.messages([IMAGE]))
    assert count > NUM_FRAMES
    return sent[-count:]


def assert_same(received, sent, topic):
    """The same bytes, but for up to three that DDS appends to fill a word."""
    assert len(received) == len(sent), topic
    for got, expected in zip(received, sent, strict=True):
        assert got[: len(expected)] == expected, topic
        assert len(got) - len(expected) < 4


def test_every_byte_is_recorded(recorded):
    out, sent, text = recorded
    with BagReader(out) as bag:
        for topic, expected in sent.items():
            assert_same([message.cdr for message in bag.messages([topic])], expected, topic)
        stamps = [message.stamp_ns for message in bag.messages()]
        qos = {name: topic.qos[0] for name, topic in bag.topics.items() if topic.qos}
    assert stamps == sorted(stamps)
    assert qos[NOTE].durability == QosDurability.TRANSIENT_LOCAL
    assert qos[IMAGE].reliability == QosReliability.BEST_EFFORT
    assert (
        f'recorded {4 * NUM_FRAMES + 3 + len(sent[IMAGE])} messages on 8 topics' in text
    )  # with those made here
    assert 'lost' not in text
    assert 'Traceback' not in text


def test_what_made_the_masks_is_noted(recorded):
    assert read_custom_data(recorded[0]) == {
        'robust_vos.version': '1.2.3',
        'robust_vos.model': 'nano',
        'robust_vos.weights_sha256': 'abc',
        'robust_vos.adapter': 'none',
    }


def test_viewers_get_label_info_and_annotations(recorded):
    with BagReader(recorded[0]) as bag:
        (info,) = [bag.decode(item) for item in bag.messages(['/robust_vos/label_info'])]
        drawn = [bag.decode(item) for item in bag.messages(['/robust_vos/annotations'])]
        assert bag.topics['/robust_vos/annotations'].msgtype == (
            'foxglove_msgs/msg/ImageAnnotations'
        )
    assert [(item.class_id, item.class_name) for item in info.class_map] == [(1, 'disc')]
    assert len(drawn) == NUM_FRAMES
    assert drawn[0].texts[0].text == 'disc 0.00 TRACKED'


def test_simulated_time_is_waited_for(tmp_path, helpers):
    with helpers.reserved_domain() as domain:
        client = helpers.Client(domain)
        sim = [Parameter('use_sim_time', value=True)]
        node = Node('recorder', context=client.context, parameter_overrides=sim)
        client.executor.add_node(node)
        recording = Recording(tmp_path / 'bag')
        recorder = Recorder(node, RecordOptions(tmp_path, topics=(NOTE,)), recording)
        note = client.node.create_publisher(String, NOTE, QoSProfile(depth=1, **LATCHED))
        note.publish(String(data='before the time'))
        try:
            tick = client.talk(Clock, '/clock')
            client.wait(lambda: node.count_publishers(NOTE), 'the note')
            assert not note.get_subscription_count()
            end_s = time.monotonic() + 20
            while not recording.num_messages and time.monotonic() < end_s:
                tick(Clock(clock=Time(sec=7)))
                client.executor.spin_once(timeout_sec=0.05)
        finally:
            recorder.close()
            recording.stop()
            node.destroy_node()
            client.close()
    with BagReader(tmp_path / 'bag') as bag:
        (message,) = bag.messages()
    assert (message.topic, message.stamp_ns) == (NOTE, 7 * 10**9)


@pytest.mark.parametrize(
    'fields', [{'image_topic': '/a b'}, {'namespace': 'my-robot'}, {'topics': ('/1st',)}]
)
def test_wrong_names_get_one_sentence(fields, tmp_path):
    with pytest.raises(ConfigError, match='expected names of ROS topics such as'):
        record(RecordOptions(tmp_path / 'bag', **fields))
    assert not (tmp_path / 'bag').exists()


@pytest.mark.parametrize('msgtype', ['diagnostic_msgs/msg/DiagnosticArray', STRING])
def test_diagnostics_of_others_do_no_harm(msgtype, tmp_path, helpers):
    with helpers.reserved_domain() as domain:
        client = helpers.Client(domain)
        recording = Recording(tmp_path / 'bag')
        recorder = Recorder(client.node, RecordOptions(tmp_path), recording)
        note = serialize_message(String(data='no diagnostics'))
        recorder._qos['/diagnostics'] = []
        recorder._receive('/diagnostics', msgtype, note)
        recorder.close()
        recording.stop()
        client.close()
    with BagReader(tmp_path / 'bag') as bag:
        assert [message.cdr for message in bag.messages()] == [note]


@pytest.fixture
def listener(helpers, monkeypatch):
    """Return a client that listens in a thread, in the domain that `play` will use."""
    with helpers.reserved_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        client = helpers.Client(domain)
        stop = threading.Event()

        def spin():
            while not stop.is_set():
                client.executor.spin_once(timeout_sec=0.05)

        thread = threading.Thread(target=spin)

        def listen(*topics):
            received = []
            kinds = {IMAGE: Image, OBJECTS: TrackedObjectArray, PNG: CompressedImage, NOTE: String}
            for topic in topics:
                client.node.create_subscription(
                    kinds[topic],
                    topic,
                    lambda cdr, topic=topic: received.append((topic, cdr, time.monotonic())),
                    QoSProfile(depth=100, **(LATCHED if topic == NOTE else {})),
                    raw=True,
                )
            thread.start()
            return received

        yield listen
        stop.set()
        thread.join(10)
        client.close()


def test_play_gives_the_same_bytes_at_the_same_pace(recorded, listener):
    out, sent, _ = recorded
    received = listener(IMAGE, OBJECTS, PNG, NOTE)
    played = play(PlayOptions(out, topics=(IMAGE, OBJECTS, PNG, NOTE), delay_s=1.0))
    total = 2 * NUM_FRAMES + 1 + len(sent[IMAGE])
    assert (played.num_messages, played.num_topics, played.skipped) == (total, 4, ())
    end_s = time.monotonic() + 10
    while len(received) < total and time.monotonic() < end_s:
        time.sleep(0.01)
    for topic in (IMAGE, OBJECTS, PNG, NOTE):
        assert_same([cdr for name, cdr, _ in received if name == topic], sent[topic], topic)
    images = [time_s for name, _, time_s in received if name == IMAGE]
    with BagReader(out) as bag:
        stamps = [message.stamp_ns for message in bag.messages([IMAGE])]
    assert images[-1] - images[0] == pytest.approx((stamps[-1] - stamps[0]) / 1e9, abs=0.5)


def test_play_faster_and_again(recorded, listener):
    out = recorded[0]
    received = listener(OBJECTS)

    ended = threading.Event()

    def interrupt():
        end_s = time.monotonic() + 60.0  # if messages get lost, the test fails and does not hang
        while len(received) < 2.5 * NUM_FRAMES and time.monotonic() < end_s:
            time.sleep(0.01)
        if not ended.is_set():  # a signal after the end of playing would hit another test
            signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        played = play(PlayOptions(out, topics=(OBJECTS,), rate=10.0, loop=True, delay_s=0.5))
    finally:
        ended.set()
        thread.join(70)
    assert played.num_messages >= 2.5 * NUM_FRAMES
    stamps = [header_stamp_ns(cdr) for _, cdr, _ in received]
    assert stamps[NUM_FRAMES] == stamps[0]  # headers are not made anew


def test_a_topic_that_is_not_there_gets_one_sentence(recorded):
    with pytest.raises(BagError, match='has no /nothing; it has /camera/camera_info'):
        play(PlayOptions(recorded[0], topics=('/nothing',)))


def test_types_that_are_not_installed_are_skipped(recorded, monkeypatch):
    monkeypatch.setattr(player, 'message_class', lambda _: None)
    with pytest.raises(BagError, match='source the workspace that has robust_vos/msg/Tracked'):
        play(PlayOptions(recorded[0], topics=(OBJECTS,)))


def test_a_name_that_ros_2_lacks_gets_one_sentence(tmp_path):
    with BagWriter(tmp_path / 'bag') as bag:
        bag.write('/my-camera/note', STRING, bytes(serialize_message(String(data='a'))), 1)
    with pytest.raises(BagError, match="'/my-camera/note' is no name of a ROS 2 topic"):
        play(PlayOptions(tmp_path / 'bag'))


def test_one_of_several_cameras_is_recorded(tmp_path):
    topics = RecordOptions(tmp_path, image_topic='/left/image', camera='left').all_topics()
    assert {'/left/image', '/left/camera_info', '/robust_vos/left/objects'} <= set(topics)
    assert not any(topic.startswith('/robust_vos/objects') for topic in topics)
