"""The demo's client of node and camera: prompts objects, plays the clip, records the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robust_vos.msg import ObjectPrompt
from robust_vos.srv import AddObjects
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from robust_vos_ros.client.prompts import to_prompt_message
from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.types import Prompt
from robust_vos_ros.demo.camera import FRAME_ID
from robust_vos_ros.demo.collector import Collector
from robust_vos_ros.demo.records import Recording
from robust_vos_ros.ros_types.images import NS_PER_S

NODE, CAMERA = 'robust_vos', 'camera'
IMAGE_TOPIC = '/camera/image_raw'
_ANSWER_TIMEOUT_S, _NUM_ATTEMPTS = 10.0, 4
_FIRST_FRAME_RETRY_S = 5.0
_OVERLAY_TIMEOUT_S = 1.0
_SPIN_S = 0.05


class DemoError(RobustVosError):
    """The demo cannot go on."""


class Operator:
    """A client of the node and of the demo's camera; its own methods spin it.

    Args:
        context: An initialized ROS context.
        compressed: Whether the camera sends JPEG.
        check: Called while it waits; raises if waiting is pointless, as when a process has ended.
    """

    def __init__(
        self, context: rclpy.Context, *, compressed: bool, check: Callable[[], None]
    ) -> None:
        self._check = check
        self._image_topic = f'{IMAGE_TOPIC}/compressed' if compressed else IMAGE_TOPIC
        self._node = Node('demo_operator', context=context, start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._collector = Collector(self._node, name=NODE, camera=CAMERA)
        self._add = self._node.create_client(AddObjects, f'/{NODE}/add_objects')
        self._show = self._node.create_client(Trigger, f'/{CAMERA}/show_first')
        self._play = self._node.create_client(Trigger, f'/{CAMERA}/play')

    def close(self) -> None:
        """Leave the ROS graph."""
        self._executor.shutdown(timeout_sec=0)
        self._node.destroy_node()

    def wait_for_node(self, timeout_s: float) -> None:
        """Wait until the node is active and the camera is there.

        Raises:
            DemoError: The node reports a problem, or one of both does not come in time.
        """

        def ready() -> bool:
            if self._collector.problem:
                raise DemoError(f'the node has a problem: {self._collector.problem}')
            listeners = self._node.get_subscriptions_info_by_topic(self._image_topic)
            clients = (self._add, self._show, self._play)
            # The node subscribes to images when it becomes active.
            return any(info.node_name == NODE for info in listeners) and all(
                client.service_is_ready() for client in clients
            )

        self._wait(ready, timeout_s, 'the node to become active')

    def show_first_frame(self, timeout_s: float) -> int:
        """Let the camera publish its first frame and the node process it.

        Returns:
            Its stamp in nanoseconds.

        Raises:
            DemoError: The node does not process it in time.
        """
        end_s = time.monotonic() + timeout_s
        while (stamp_ns := self._collector.first_result_ns) is None:
            if time.monotonic() > end_s:
                raise DemoError(
                    f'the node published no objects within {timeout_s:.0f} s of frame 0'
                )
            if self._call(self._show, Trigger.Request()).success:
                self._spin_until(
                    lambda: self._collector.first_result_ns is not None, _FIRST_FRAME_RETRY_S
                )
        return stamp_ns

    def add_objects(
        self, prompts: tuple[Prompt, ...], stamp_ns: int, size_hw: tuple[int, int]
    ) -> None:
        """Prompt objects in the frame with this stamp.

        Raises:
            DemoError: The node refuses.
        """
        request = AddObjects.Request(
            header=to_header(stamp_ns, FRAME_ID),
            prompts=[_to_message(item, size_hw) for item in prompts],
            replace_existing=True,  # the service may be called twice
        )
        response = self._call(self._add, request)
        if not response.success:
            raise DemoError(f'the node refused the prompts: {response.message}')

    def follow_positions(self, prompts: tuple[Prompt, ...]) -> None:
        """Record the positions that the node publishes of these objects."""
        self._collector.follow_positions(prompt.object_id for prompt in prompts)

    def play(self, timeout_s: float) -> Recording:
        """Play the clip; return when all its frames are processed or dropped.

        Raises:
            DemoError: The camera does not play, or its clip does not end.
        """
        response = self._call(self._play, Trigger.Request())
        if not response.success:
            raise DemoError(f'the camera does not play: {response.message}')
        self._wait(lambda: self._collector.is_complete, timeout_s, 'the end of the clip')
        # The overlay of the last frame is published after its objects.
        self._spin_until(lambda: self._collector.has_all_overlays, _OVERLAY_TIMEOUT_S)
        return self._collector.make_recording()

    def _call(self, client: Any, request: Any) -> Any:
        """Call a service that may be called twice, again while there is no answer.

        A server that does not know its new client yet loses the answer (rmw_fastrtps).
        """
        for _ in range(_NUM_ATTEMPTS):
            future = client.call_async(request)
            if self._spin_until(future.done, _ANSWER_TIMEOUT_S):
                return future.result()
        seconds = _NUM_ATTEMPTS * _ANSWER_TIMEOUT_S
        raise DemoError(
            f'waited {seconds:.0f} s for an answer of {client.srv_name}; the logs may say why'
        )

    def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        if not self._spin_until(condition, timeout_s):
            raise DemoError(f'waited {timeout_s:.0f} s for {what}; the logs may say why')

    def _spin_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        end_s = time.monotonic() + timeout_s
        while not condition():
            self._check()
            if time.monotonic() > end_s:
                return False
            self._executor.spin_once(timeout_sec=_SPIN_S)
        return True


def to_header(stamp_ns: int, frame_id: str) -> Header:
    """Return a header with a stamp in nanoseconds."""
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp_ns, NS_PER_S)
    return header


def _to_message(prompt: Prompt, size_hw: tuple[int, int]) -> ObjectPrompt:
    """Return the message of a prompt; a box is cut at the right and lower border of the image."""
    box = prompt.box
    if box is not None:
        height, width = size_hw
        box = tuple(np.minimum(box, [width, height, width, height]).tolist())
    return to_prompt_message(
        prompt.object_id,
        class_id=prompt.class_id,
        box=box,
        points=prompt.points.tolist(),
        labels=prompt.point_labels.tolist(),
    )
