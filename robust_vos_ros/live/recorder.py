"""Record ROS topics into a bag; messages are not deserialized."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.exceptions import InvalidTopicNameException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rclpy.validate_full_topic_name import validate_full_topic_name
from rosbags.interfaces import Qos

from robust_vos_ros.bags.definitions import message_typestore
from robust_vos_ros.bags.derived import DerivedTopics
from robust_vos_ros.bags.reader import RawMessage
from robust_vos_ros.bags.recording import Recording
from robust_vos_ros.bags.results import ResultTopics
from robust_vos_ros.core.errors import BagError, ConfigError
from robust_vos_ros.live.interrupts import Interrupts
from robust_vos_ros.live.topics import matching_qos, message_class, to_bag_qos

DIAGNOSTICS = '/diagnostics'
# Results that only a node publishes, and topics besides. Other masks, markers and points follow
# from these and the images, and would cost the node time.
LIVE_RESULTS = ('class_info', 'detections_3d')
COMMON = ('/tf', '/tf_static', DIAGNOSTICS)
# Keys of the node's diagnostics about model and version, and their names in a bag.
IDENTITY = {
    'version': 'robust_vos.version',
    'model': 'robust_vos.model',
    'weights hash': 'robust_vos.weights_sha256',
    'adapter': 'robust_vos.adapter',
}
_DIAGNOSTICS_TYPE = 'diagnostic_msgs/msg/DiagnosticArray'
_DISCOVERY_S = 0.1
_QUEUE = 300  # messages that wait while this process is busy: ten seconds of images
_SPIN_S = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class RecordOptions:
    """Options of `record`.

    Attributes:
        out: Folder to create.
        image_topic: Input of the node, as in the launch file.
        compressed: Record `image_topic`/compressed.
        namespace: Of the node.
        camera: Name of the camera, of several in one node; empty = the node has only one.
        topics: Further topics.
        use_sim_time: Take the times of recording from /clock.
        duration_s: Stop after so many seconds; 0 = never.
    """

    out: Path
    image_topic: str = '/image'
    compressed: bool = False
    namespace: str = ''
    camera: str = ''
    topics: tuple[str, ...] = ()
    use_sim_time: bool = False
    duration_s: float = 0.0

    @property
    def node_name(self) -> str:
        """Full name of the node, and of the camera in it."""
        name = resolve(self.namespace, 'robust_vos')
        return f'{name}/{self.camera}' if self.camera else name

    def all_topics(self) -> list[str]:
        """Return the full names of all topics to record."""
        image = resolve(self.namespace, self.image_topic)
        camera_info = f'{image.rpartition("/")[0]}/camera_info'
        image += '/compressed' if self.compressed else ''
        results = [*ResultTopics(self.node_name).types]
        results += [f'{self.node_name}/{name}' for name in LIVE_RESULTS]
        more = [resolve(self.namespace, topic) for topic in self.topics]
        return list(dict.fromkeys([image, camera_info, *results, *COMMON, *more]))


@dataclasses.dataclass(frozen=True, slots=True)
class Recorded:
    """Result of `record`.

    Attributes:
        num_lost: Number of messages that the middleware lost.
        num_dropped: Number of messages dropped because the disk was too slow.
        left_out: Topics that could not be recorded, with the reason.
    """

    num_messages: int
    num_topics: int
    num_lost: int
    num_dropped: int
    left_out: dict[str, str]


def resolve(namespace: str, topic: str) -> str:
    """Return the full name of a topic."""
    if topic.startswith('/'):
        return topic
    return '/' + '/'.join(part for part in (namespace.strip('/'), topic) if part)


def record(options: RecordOptions) -> Recorded:
    """Record until SIGINT, SIGTERM or until the disk is full.

    Raises:
        ConfigError: A topic has no valid name, or the folder exists or cannot be created.
        BagError: The recording has ended by itself.
    """
    _check_names(options)
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = Node(
        'robust_vos_recorder', context=context, start_parameter_services=False,
        parameter_overrides=[Parameter('use_sim_time', value=options.use_sim_time)],
    )  # fmt: skip
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    end_s = time.monotonic() + (options.duration_s or float('inf'))
    try:
        with Interrupts() as interrupts, contextlib.ExitStack() as ends:
            recording = Recording(options.out)
            ends.callback(recording.stop)
            recorder = Recorder(node, options, recording)
            ends.callback(recorder.close)
            node.get_logger().info(f'recording to {options.out}; Ctrl-C ends it')
            while not interrupts.received and not recording.problem and time.monotonic() < end_s:
                executor.spin_once(timeout_sec=_SPIN_S)
    finally:
        executor.shutdown(timeout_sec=0)
        node.destroy_node()
        rclpy.try_shutdown(context=context)
    if recording.problem:
        raise BagError(recording.problem)
    return Recorded(
        recording.num_messages, recording.num_topics, recorder.num_lost, recording.num_dropped,
        recording.left_out,
    )  # fmt: skip


def _check_names(options: RecordOptions) -> None:
    """Raise ConfigError if a topic has no valid ROS name."""
    for topic in options.all_topics():
        try:
            validate_full_topic_name(topic)
        except InvalidTopicNameException as error:
            reason = str(error).splitlines()[0].partition(': ')[2].rstrip(':')
            raise ConfigError(
                f'expected names of ROS topics such as /camera/image_raw, got {topic!r}: {reason}'
            ) from error


class Recorder:
    """Subscribes to topics as they appear, and records their messages.

    With simulated time it waits until the time begins.

    Attributes:
        num_lost: Number of messages that the middleware reports as lost.
    """

    def __init__(self, node: Node, options: RecordOptions, recording: Recording) -> None:
        self.num_lost = 0
        self._node = node
        self._recording = recording
        self._missing = options.all_topics()
        self._num_warned = 0  # topics left out, of which a warning was logged
        self._qos: dict[str, list[Qos]] = {}
        self._received: set[str] = set()  # topics with at least one message
        self._status_name = f'{options.node_name.lstrip("/")}: tracker'
        self._identity: dict[str, str] = {}
        topics = ResultTopics(options.node_name)
        self._derived = DerivedTopics(message_typestore(), topics, self._put_derived)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand still
        self._timer = node.create_timer(_DISCOVERY_S, self._discover, clock=steady)
        self._discover()

    def close(self) -> None:
        """Stop deriving messages; the recording goes on."""
        self._derived.stop()

    def _discover(self) -> None:
        """Subscribe to topics that have got a publisher."""
        self._warn()
        if not self._node.get_clock().now().nanoseconds:
            return
        for topic in list(self._missing):
            publishers = self._node.get_publishers_info_by_topic(topic)
            if publishers:
                self._missing.remove(topic)
                self._subscribe(topic, publishers)

    def _warn(self) -> None:
        """Log a warning for each topic that was left out since the last call."""
        for topic, why in list(self._recording.left_out.items())[self._num_warned :]:
            self._node.get_logger().warning(f'{topic} is not recorded: {why}')
            self._num_warned += 1

    def _subscribe(self, topic: str, publishers: list[rclpy.node.TopicEndpointInfo]) -> None:
        msgtype = publishers[0].topic_type
        kind = message_class(msgtype)
        if kind is None:
            self._node.get_logger().warning(
                f'{topic} is not recorded: there is no Python module for its type {msgtype}; '
                'source the workspace that has it'
            )
            return
        self._qos[topic] = to_bag_qos(publishers)
        receive: Callable[[bytes], None] = functools.partial(self._receive, topic, msgtype)
        self._node.create_subscription(
            kind, topic, receive, matching_qos(publishers, depth=_QUEUE), raw=True,
            event_callbacks=SubscriptionEventCallbacks(
                message_lost=functools.partial(self._lose, topic)
            ),
        )  # fmt: skip

    def _receive(self, topic: str, msgtype: str, cdr: bytes) -> None:
        if topic not in self._received:
            self._received.add(topic)
            self._node.get_logger().info(f'recording {topic} ({msgtype})')
        stamp_ns = self._node.get_clock().now().nanoseconds
        message = RawMessage(topic, msgtype, cdr, stamp_ns)
        self._recording.put(message, self._qos[topic])
        if topic in self._derived.sources:
            self._derived.add(message)
        if topic == DIAGNOSTICS and msgtype == _DIAGNOSTICS_TYPE:
            self._note_identity(cdr)

    def _put_derived(self, message: RawMessage) -> None:
        if message.topic not in self._qos:  # the node does not publish it
            self._recording.put(message)

    def _note_identity(self, cdr: bytes) -> None:
        """Record model and version of the node, whenever they change."""
        try:
            array = deserialize_message(cdr, DiagnosticArray)
        except Exception:  # damaged bytes may raise anything in the middleware
            return
        for status in array.status:
            if status.name != self._status_name:
                continue
            values = {item.key: item.value for item in status.values}
            found = {name: values[key] for key, name in IDENTITY.items() if key in values}
            if found and found != self._identity:
                self._identity = found
                self._recording.put_custom_data(found)

    def _lose(self, topic: str, event: rclpy.event_handler.QoSMessageLostInfo) -> None:
        self.num_lost += event.total_count_change
        self._node.get_logger().warning(
            f'{event.total_count_change} messages of {topic} were lost on the way to the recorder',
            throttle_duration_sec=5.0,
        )
