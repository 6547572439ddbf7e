"""A ROS node of the client, spun by its own thread."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from robust_vos_ros.core.errors import RobustVosError

_SPIN_S = 0.1
_POLL_S = 0.05  # interval of checks for a service, as there is no event for it

T = TypeVar('T')


class ClientError(RobustVosError):
    """The node does not exist, is not active, or does not answer."""


class ClosedError(ClientError):
    """The connection is closed."""


class Connection:
    """Subscriptions and service clients; methods may be called from any thread.

    Args:
        services: Type of each service by its full name.
        domain_id: ROS domain; None = ROS_DOMAIN_ID.
    """

    def __init__(self, services: dict[str, Any], domain_id: int | None) -> None:
        self._changed = threading.Condition()
        self._closed = False  # changed under the lock; ROS is not used afterwards
        self._destroyed = False
        self._failure = ''
        self._context = Context()
        self._context.init(args=[], domain_id=domain_id)
        # Arguments of the program such as __node:=NAME are not for this node.
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
        """Leave the ROS graph; waiting calls raise ClosedError."""
        with self._changed:
            if self._destroyed:
                return
            self._closed = self._destroyed = True
            self._changed.notify_all()
        self._thread.join()
        self._executor.shutdown(timeout_sec=0)
        self._node.destroy_node()
        self._context.try_shutdown()

    def subscribe(
        self, kind: Any, topic: str, receive: Callable[[Any], None], qos: QoSProfile
    ) -> Callable[[], None]:
        """Call a function with each message of a topic, then wake waiting threads.

        Returns:
            A function that unsubscribes.

        Raises:
            ClosedError: The connection is closed.
        """

        def receive_and_wake(msg: Any) -> None:
            with self._changed:
                receive(msg)
                self._changed.notify_all()

        def unsubscribe() -> None:
            with self._changed:
                if not self._closed:  # in the spinning thread, which may be using it
                    self._executor.create_task(self._node.destroy_subscription, subscription)

        with self._changed:
            self._check_open()
            subscription = self._node.create_subscription(kind, topic, receive_and_wake, qos)
        return unsubscribe

    @property
    def complete(self) -> bool:
        """Whether every service, and a publisher for every subscription, is there."""
        with self._changed:
            self._check_open()
            return all(client.service_is_ready() for client in self._clients.values()) and all(
                subscription.get_publisher_count() for subscription in self._node.subscriptions
            )

    def sees(self, service: str) -> bool:
        """Tell whether a service exists; it may still not answer.

        Raises:
            ClosedError: The connection is closed.
        """
        with self._changed:
            self._check_open()
            return bool(self._clients[service].service_is_ready())

    def call(self, service: str, request: Any, timeout_s: float) -> Any | None:
        """Return the answer of a service, None if there was none in time.

        Raises:
            ClosedError: The connection is closed.
        """
        end_s = time.monotonic() + timeout_s
        client = self._clients[service]
        while not self.sees(service):
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return None
            with self._changed:
                self._changed.wait_for(lambda: self._closed, min(left_s, _POLL_S))
        with self._changed:
            self._check_open()
            future = client.call_async(request)
            future.add_done_callback(self._wake)
            self._changed.wait_for(lambda: self._closed or future.done(), end_s - time.monotonic())
            if future.done():
                return future.result()
            self._check_open()
            client.remove_pending_request(future)
            return None

    def wait(self, take: Callable[[], T | None], timeout_s: float, what: Callable[[], str]) -> T:
        """Wait until a function does not return None, and return its value.

        Args:
            take: The function; no message is received while it runs.
            timeout_s: Longest time to wait.
            what: Returns a description of the value, for the error.

        Raises:
            ClientError: There was no value in time.
            ClosedError: The connection was closed.
        """
        taken: T | None = None

        def is_over() -> bool:
            nonlocal taken
            taken = None if self._closed else take()
            return self._closed or taken is not None

        with self._changed:
            self._changed.wait_for(is_over, timeout_s)
            if taken is not None:
                return taken
            self._check_open()
        raise ClientError(f'waited {timeout_s:g} s for {what()}')

    def _check_open(self) -> None:
        if self._failure:
            raise ClientError(self._failure)
        if self._closed or not self._context.ok():
            raise ClosedError('the client is closed')

    def _wake(self, _future: Any) -> None:
        with self._changed:
            self._changed.notify_all()

    def _spin(self) -> None:
        failure = ''
        try:
            while not self._closed:
                self._executor.spin_once(timeout_sec=_SPIN_S)
        except ExternalShutdownException:  # Ctrl-C shuts ROS down in this process
            pass
        except Exception as error:  # raised again in waiting calls
            failure = f'the thread of the client ended: {type(error).__name__}: {error}'
        with self._changed:
            self._failure, self._closed = failure, True
            self._changed.notify_all()
