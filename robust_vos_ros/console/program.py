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
from robust_vos_ros.console.settings import ConsoleSettings
from robust_vos_ros.core.errors import ConfigError, RobustVosError
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


async def serve(node: Node, settings: ConsoleSettings, stop: asyncio.Event) -> None:
    """Serve until `stop`.

    Raises:
        ConfigError: aiohttp is missing, the port is in use, or a setting is not a valid node name.
    """
    try:
        from robust_vos_ros.console.server import Server  # noqa: PLC0415  needs aiohttp
    except ImportError as error:
        raise ConfigError(
            f'the console needs aiohttp ({error}); install it with: pip install "aiohttp>=3.9"'
        ) from error

    hub = Hub(node, settings)
    server = Server(settings, hub, node.get_logger())
    port = await server.start()
    looking = asyncio.create_task(hub.run())
    try:
        node.get_logger().info(describe_address(settings, port))
        await stop.wait()
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
        await server.close()
        await hub.close()


def describe_address(settings: ConsoleSettings, port: int) -> str:
    """Return the address for the browser, without the token."""
    host = f'[{settings.host}]' if ':' in settings.host else settings.host
    token = '#token=<the token>' if settings.token else ''
    return f'open http://{host}:{port}/{token} in a browser'


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
    await serve(node, read_settings(node), stop)


if __name__ == '__main__':
    sys.exit(main())
