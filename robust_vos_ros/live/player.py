"""Publish the messages of a bag at the rate of their recording; their bytes are not changed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import QosDurability

from robust_vos_ros.bags.reader import BagReader, RawMessage, Topic
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.live.interrupts import Interrupts
from robust_vos_ros.live.topics import LATCHED, message_class

# The last messages must be received before the publishers are destroyed.
_ACK_TIMEOUT = Duration(seconds=2.0)
_DEPTH, _LATCHED_DEPTH = 50, 100
_POLL_S = 0.1  # interval of checks for a signal


@dataclasses.dataclass(frozen=True, slots=True)
class PlayOptions:
    """Options of `play`.

    Attributes:
        rate: Factor of the speed; 2 = twice as fast as recorded.
        topics: Names; empty = all.
        loop: Start again at the end, until a signal is received.
        delay_s: Wait before the first message, so that subscribers find the publishers.
    """

    bag: Path
    rate: float = 1.0
    topics: tuple[str, ...] = ()
    loop: bool = False
    delay_s: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Played:
    """Result of `play`.

    Attributes:
        skipped: Topics whose message type is not installed.
    """

    num_messages: int
    num_topics: int
    skipped: tuple[str, ...]


def play(options: PlayOptions) -> Played:
    """Play a bag to its end, or until SIGINT or SIGTERM.

    Raises:
        BagError: The bag cannot be read, lacks a topic, or none of its types is installed.
    """
    with BagReader(options.bag) as bag:
        unknown = [topic for topic in options.topics if topic not in bag.topics]
        if unknown:
            raise BagError(f'{options.bag} has no {unknown[0]}; it has {", ".join(bag.topics)}')
        context = rclpy.Context()
        rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
        node = Node('robust_vos_player', context=context, start_parameter_services=False)
        try:
            with Interrupts() as interrupts:
                return _Player(node, bag, options, interrupts).run()
        finally:
            node.destroy_node()
            rclpy.try_shutdown(context=context)


class _Player:
    def __init__(
        self, node: Node, bag: BagReader, options: PlayOptions, interrupts: Interrupts
    ) -> None:
        self._bag, self._options, self._interrupts = bag, options, interrupts
        self._publishers: dict[str, Any] = {}
        self._skipped: list[str] = []
        for name in options.topics or bag.topics:
            kind = message_class(bag.topics[name].msgtype)
            if kind is None:
                self._skipped.append(name)
            else:
                self._publishers[name] = self._publish(node, kind, bag.topics[name])
        if not self._publishers:
            raise BagError(
                f'no message type of {options.bag} is installed here; source the workspace that '
                f'has {bag.topics[self._skipped[0]].msgtype}'
            )

    def _publish(self, node: Node, kind: Any, topic: Topic) -> Any:
        try:
            return node.create_publisher(kind, topic.name, _qos(topic))
        except (InvalidTopicNameException, ValueError) as error:
            raise BagError(
                f'{self._options.bag}: {topic.name!r} is no name of a ROS 2 topic; choose '
                'others with --topics'
            ) from error

    def run(self) -> Played:
        """Publish all messages in time."""
        num_messages = 0
        self._sleep_until(time.monotonic() + self._options.delay_s)
        for due_s, message in self._schedule():
            self._sleep_until(due_s)
            if self._interrupts.received:
                break
            self._publishers[message.topic].publish(message.cdr)
            num_messages += 1
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(_ACK_TIMEOUT)
        return Played(num_messages, len(self._publishers), tuple(self._skipped))

    def _schedule(self) -> Iterator[tuple[float, RawMessage]]:
        """Yield every message with the time.monotonic() at which it is published."""
        while True:
            start_s = time.monotonic()
            for message in self._bag.messages(self._publishers):
                elapsed_s = (message.stamp_ns - self._bag.start_ns) / 1e9
                yield start_s + elapsed_s / self._options.rate, message
            if not self._options.loop:
                return

    def _sleep_until(self, due_s: float) -> None:
        while (rest_s := due_s - time.monotonic()) > 0 and not self._interrupts.received:
            time.sleep(min(rest_s, _POLL_S))


def _qos(topic: Topic) -> QoSProfile:
    """Return reliable QoS, compatible with every subscriber; latched if the topic was latched."""
    if any(item.durability == QosDurability.TRANSIENT_LOCAL for item in topic.qos):
        return QoSProfile(depth=_LATCHED_DEPTH, durability=LATCHED)
    return QoSProfile(depth=_DEPTH)
