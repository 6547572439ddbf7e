"""Serve a source until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from robust_vos_ros.console.settings import PageSettings
from robust_vos_ros.console.source import Source
from robust_vos_ros.core.errors import ConfigError


class Log(Protocol):
    """Takes messages for operators: a logger of rclpy, or of the standard library."""

    def warning(self, text: str, /) -> object:
        """Take a warning."""

    def error(self, text: str, /) -> object:
        """Take an error."""


async def serve(
    make_source: Callable[[], Source],
    settings: PageSettings,
    log: Log,
    *,
    announce: Callable[[str], object],
    stop: asyncio.Event,
) -> None:
    """Serve until `stop`.

    Args:
        make_source: Makes what is shown.
        settings: Of page and server.
        log: Gets messages for operators; never a token.
        announce: Called with a sentence that has the address, once browsers can open it.
        stop: Ends serving.

    Raises:
        ConfigError: aiohttp is missing, the port is in use, or a setting cannot be used.
    """
    try:
        from robust_vos_ros.console.server import Server  # noqa: PLC0415  needs aiohttp
    except ImportError as error:
        raise ConfigError(
            f'the console needs aiohttp ({error}); install it with: pip install "aiohttp>=3.9"'
        ) from error

    source = make_source()
    server = Server(settings, source, log)
    port = await server.start()
    running = asyncio.create_task(source.run())
    try:
        announce(describe_address(settings, port))
        await stop.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await server.close()
        await source.close()


def describe_address(settings: PageSettings, port: int) -> str:
    """Return the address for the browser, without the token."""
    host = f'[{settings.host}]' if ':' in settings.host else settings.host
    token = '#token=<the token>' if settings.token else ''
    return f'open http://{host}:{port}/{token} in a browser'
