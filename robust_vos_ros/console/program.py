"""The program robust_vos_console: `ros2 run robust_vos robust_vos_console`."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from robust_vos_ros.console.hub import Hub
from robust_vos_ros.console.serving import serve
from robust_vos_ros.console.settings import ConsoleSettings
from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.settings import parse_settings

NAME = 'robust_vos_console'


def read_settings(node: Node) -> ConsoleSettings:
    """Declare every setting as a parameter, and return the settings.

    Raises:
        ConfigError: A value is out of range or of the wrong type.
    """
    values: dict[str, Any] = {}
    for name, field in ConsoleSettings.model_fields.items():
        descriptor = ParameterDescriptor(
            description=field.description or '', read_only=True, dynamic_typing=True
        )
        value = node.declare_parameter(name, field.default, descriptor).value
        # A token of digits has type integer; its value must not appear in an error.
        values[name] = str(value) if name == 'token' else value
    return parse_settings(ConsoleSettings, values)


def main(args: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM.

    Returns:
        The exit code: 0, or 1 if the console cannot start.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node = Node(NAME, start_parameter_services=False)
    try:
        asyncio.run(_run(node))
    except RobustVosError as error:
        node.get_logger().fatal(str(error))
        return 1
    except KeyboardInterrupt:
        pass
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


async def _run(node: Node) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    settings, log = read_settings(node), node.get_logger()
    await serve(lambda: Hub(node, settings), settings, log, announce=log.info, stop=stop)


if __name__ == '__main__':
    sys.exit(main())
