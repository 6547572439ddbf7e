"""The bond to nav2's lifecycle manager, if the package bond is installed."""

from __future__ import annotations

import uuid

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from robust_vos_ros.core.errors import ConfigError

try:
    from bond.msg import Status
except ImportError:  # part of nav2, not of a minimal installation
    Status = None

PERIOD_S = 0.1  # as in nav2's nodes
TIMEOUT_S = 4.0  # the other side may declare this one dead after this silence


def check_installed() -> None:
    """Raise ConfigError if the messages of bond are not installed."""
    if Status is None:
        raise ConfigError(
            'bond is true, but the package bond cannot be imported; install it (apt install '
            'ros-<distro>-bond), or set bond to false'
        )


class Bond:
    """Publishes a heartbeat on `bond` from construction to `destroy`.

    The protocol is that of bond_core: both sides publish bond/Status with a common id, here the
        name of the node, and an instance_id of their own. A side that sends nothing for its
        timeout, or `active` false, counts as dead. As with nav2's nodes, only the manager reacts:
        this node continues when the manager dies. The executor publishes, so a node that hangs
        sends nothing.
    """

    def __init__(self, node: Node) -> None:
        """Publish the first heartbeat at once."""
        self._node = node
        self._instance_id = str(uuid.uuid4())
        self._publisher = node.create_publisher(Status, 'bond', 10)
        self._timer = node.create_timer(
            PERIOD_S, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._publish()

    def end(self) -> None:
        """Publish that this side ends the bond; from then on nothing."""
        self._timer.cancel()
        self._publish(active=False)

    def destroy(self) -> None:
        """End the bond and destroy its parts."""
        self.end()
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def _publish(self, *, active: bool = True) -> None:
        status = Status(id=self._node.get_name(), instance_id=self._instance_id, active=active)
        status.header.stamp = self._node.get_clock().now().to_msg()
        status.heartbeat_period, status.heartbeat_timeout = PERIOD_S, TIMEOUT_S
        self._publisher.publish(status)
