"""A node of its own in the ROS graph, spun by a thread of its own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from robust_vos_ros.core.errors import RobustVosError

_SPIN_S = 0.1


class ClientError(RobustVosError):
    """The node is not there, not active, or silent."""


class ClosedError(ClientError):
    """The connection was closed while somebody waited."""


class Connection:
    """Subscriptions and service clients, for callers of any thread.

    Args:
        services: Type of each service by its full name.
        domain_id: Of ROS; None = ROS_DOMAIN_ID.
    """

    def __init__(self, services: dict[str, Any], domain_id: int | None) -> None:
        self._changed = threading.Condition()
        self._closed = False
        self._context = Context()
        self._context.init(args=[], domain_id=domain_id)
        # Arguments such as __node:=NAME are meant for the program's own node.
        self._node = Node(
            f'robust_vos_client_{uuid.uuid4().hex[:8]}', context=self._context,
            use_global_arguments=False, enable_rosout=False, start_parameter_services=False,
        )  # fmt: skip
        self._clients = {
            name: self._node.create_client(kind, name) for name, kind in services.items()
        }
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name='robust_vos client', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leave the ROS graph; who waits gets a ClosedError."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        self._executor.shutdown(timeout_sec=0)
        self._node.destroy_node()
        self._context.try_shutdown()

    def subscribe(
        self, kind: Any, topic: str, receive: Callable[[Any], None], qos: QoSProfile
    ) -> Callable[[], None]:
        """Hand each message of a topic to a function, then wake who waits.

        Returns:
            A function that unsubscribes.
        """

        def receive_and_wake(msg: Any) -> None:
            with self._changed:
                receive(msg)
                self._changed.notify_all()

        subscription = self._node.create_subscription(kind, topic, receive_and_wake, qos)
        return lambda: self._node.destroy_subscription(subscription)

    @property
    def complete(self) -> bool:
        """Whether every service and every publisher of a subscription is there."""
        return all(client.service_is_ready() for client in self._clients.values()) and all(
            subscription.get_publisher_count() for subscription in self._node.subscriptions
        )

    def call(self, service: str, request: Any, timeout_s: float) -> Any | None:
        """Return the answer of a service, None when none came in time.

        Raises:
            ClosedError: The connection is closed.
        """
        if self._closed:
            raise ClosedError('the client is closed')
        client = self._clients[service]
        if not client.wait_for_service(timeout_s):
            return None
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout_s):
            client.remove_pending_request(future)
            return None
        return future.result()

    def wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for a condition that messages bring about.

        Raises:
            ClientError: It did not come in time.
            ClosedError: The connection was closed.
        """
        with self._changed:
            came = self._changed.wait_for(lambda: self._closed or condition(), timeout_s)
            if self._closed:
                raise ClosedError('the client is closed')
        if not came:
            raise ClientError(f'waited {timeout_s:g} s for {what}')

    def _spin(self) -> None:
        while not self._closed:
            self._executor.spin_once(timeout_sec=_SPIN_S)
