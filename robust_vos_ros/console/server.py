"""The HTTP server: static pages, the WebSocket, and access control."""

from __future__ import annotations

import asyncio
import hmac
import importlib.resources
import urllib.parse
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from robust_vos_ros.console import protocol, views
from robust_vos_ros.console.mailbox import RateLimit
from robust_vos_ros.console.serving import Log
from robust_vos_ros.console.session import Session
from robust_vos_ros.console.settings import PageSettings, is_loopback
from robust_vos_ros.console.source import Source
from robust_vos_ros.core.errors import ConfigError

TYPES = {'.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript'}
HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    'X-Content-Type-Options': 'nosniff',
    'Referrer-Policy': 'no-referrer',
    'Cache-Control': 'no-cache',
}
HELLO_S = 5.0
# Delay after a wrong token, against guessing.
WRONG_TOKEN_S = 1.0
_MAX_STRANGERS = 16
_LOG_S = 10.0
_HEARTBEAT_S, _SEND_S = 10.0, 15.0
WRONG_TOKEN, WRONG_HELLO = 4401, 4400  # private close codes (RFC 6455)


def load_pages() -> dict[str, tuple[bytes, str]]:
    """Return content and type of each static file; files are read once, not per request."""
    folder = importlib.resources.files('robust_vos_ros.console') / 'static'
    pages = {}
    for item in folder.iterdir():
        kind = TYPES.get(f'.{item.name.rpartition(".")[2]}')
        if kind is not None:
            pages[item.name] = (item.read_bytes(), kind)
    return pages


class Server:
    """Serves the page and its WebSocket.

    Args:
        settings: Of page and server.
        source: What is shown.
        log: Gets messages for operators; never a token.
    """

    def __init__(self, settings: PageSettings, source: Source, log: Log) -> None:
        self._settings, self._source, self._log = settings, source, log
        self._warnings = RateLimit(1 / _LOG_S, 1)
        self._pages = load_pages()
        self._sockets: set[web.WebSocketResponse] = set()
        self._num_sessions = 0
        app = web.Application(middlewares=[_add_headers], client_max_size=1024)
        app.add_routes(
            [
                web.get('/', self._serve_page),
                web.get('/ws', self._serve_socket),
                web.get('/{name}', self._serve_page),
            ]
        )
        # No access log, which could contain a token of an address.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> int:
        """Listen; returns the port.

        Raises:
            ConfigError: The port is in use, or the address is not of this machine.
        """
        settings = self._settings
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, settings.host, settings.port).start()
        except OSError as error:
            raise ConfigError(
                f'cannot listen on port {settings.port} of {settings.host}: {error.strerror}; '
                'choose another port or host'
            ) from error
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """End all connections."""
        for socket in [item for item in self._sockets if item.prepared]:
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b'the console ends')
        await self._runner.cleanup()

    async def _serve_page(self, request: web.Request) -> web.Response:
        content = self._pages.get(request.match_info.get('name', 'index.html'))
        if content is None:
            raise web.HTTPNotFound
        return web.Response(body=content[0], content_type=content[1], charset='utf-8')

    async def _serve_socket(self, request: web.Request) -> web.WebSocketResponse:
        refusal = check_origin(request.headers, has_token=bool(self._settings.token))
        if refusal:
            raise web.HTTPForbidden(text=refusal)
        # Sockets without a hello have a limit of their own, so that they do not exclude browsers.
        if len(self._sockets) >= self._settings.max_clients + _MAX_STRANGERS:
            raise web.HTTPServiceUnavailable(text='too many sockets are open; try again later')
        socket = web.WebSocketResponse(
            heartbeat=_HEARTBEAT_S, max_msg_size=protocol.MAX_MESSAGE_BYTES, compress=False
        )
        self._sockets.add(socket)
        try:
            await socket.prepare(request)
            await self._talk(socket, request)
        finally:
            self._sockets.discard(socket)
        return socket

    async def _talk(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        hello = await self._receive_hello(socket, request)
        if hello is None:
            return
        limit = self._settings.max_clients
        if self._num_sessions >= limit:
            text = f'{limit} browsers are connected already (max_clients); close one of them'
            await _end(socket, 'FULL', text, WRONG_HELLO)
            return
        self._num_sessions += 1
        try:
            await self._serve_session(socket, hello)
        finally:
            self._num_sessions -= 1

    async def _serve_session(self, socket: web.WebSocketResponse, hello: protocol.Hello) -> None:
        session = Session(self._source, self._log)
        try:
            await session.start(hello.node)
        except ConfigError as error:
            await _end(socket, 'BAD_MESSAGE', str(error), WRONG_HELLO)
            return
        tasks = {
            asyncio.create_task(_send_all(socket, session)),
            asyncio.create_task(_receive_all(socket, session)),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await session.close()
            await socket.close()

    async def _receive_hello(
        self, socket: web.WebSocketResponse, request: web.Request
    ) -> protocol.Hello | None:
        """Return the first message if it is a hello with access, else None."""
        try:
            message = await socket.receive(timeout=HELLO_S)
            if message.type != WSMsgType.TEXT:
                await socket.close(code=WRONG_HELLO)
                return None
            hello = protocol.parse(message.data)
        except (asyncio.TimeoutError, protocol.ProtocolError) as error:
            text = str(error) or f'expected a hello within {HELLO_S:g} s'
            await _end(socket, 'BAD_MESSAGE', text, WRONG_HELLO)
            return None
        if not isinstance(hello, protocol.Hello):
            await _end(socket, 'BAD_MESSAGE', 'expected a hello first', WRONG_HELLO)
            return None
        if not is_allowed(self._settings.token, hello.token, request.headers):
            await asyncio.sleep(WRONG_TOKEN_S)
            if self._warnings.take():
                self._log.warning(f'a browser at {request.remote} sent no token or a wrong one')
            text = 'no token or a wrong one; open the address that ends in #token=... again'
            await _end(socket, 'WRONG_TOKEN', text, WRONG_TOKEN)
            return None
        if hello.protocol != protocol.PROTOCOL:
            text = 'this page is of another version of the console; load it again'
            await _end(socket, 'WRONG_VERSION', text, WRONG_HELLO)
            return None
        return hello


def check_origin(headers: Any, *, has_token: bool) -> str:
    """Return why a request with these headers is refused; '' if it is not.

    A page of another site may open sockets to this machine; its browser then sends its site in
    Origin. Without a token, Host must also name this machine, because after DNS rebinding Origin
    and Host are equal.
    """
    host, origin = headers.get('Host', ''), headers.get('Origin')
    try:
        name = urllib.parse.urlsplit(f'//{host}').hostname or ''
        site = None if origin is None else urllib.parse.urlsplit(origin).netloc
    except ValueError:  # a bracket is missing
        name, site = '', ''
    if site is not None and site.lower() != host.lower():
        return f'expected a page of {host}, got one of {origin}'
    if not has_token and not is_loopback(name):
        return f'expected the host localhost or 127.0.0.1, got {host}; other names need a token'
    return ''


def is_allowed(token: str, given: str, headers: Any) -> bool:
    """Whether the token is valid, from the hello or from `Authorization: Bearer`."""
    bearer = headers.get('Authorization', '').removeprefix('Bearer ')
    # Both in constant time, so that the duration reveals nothing about the token.
    matches = [
        hmac.compare_digest(value.encode(errors='replace'), token.encode())
        for value in (given, bearer)
    ]
    return not token or any(matches)


async def _send_all(socket: web.WebSocketResponse, session: Session) -> None:
    while True:
        item = await session.mailbox.get()
        if isinstance(item, bytes):
            sending = socket.send_bytes(item)
        else:
            sending = socket.send_str(views.to_json(item))
        # Waits while the browser does not read; a timeout closes the connection.
        await asyncio.wait_for(sending, _SEND_S)


async def _receive_all(socket: web.WebSocketResponse, session: Session) -> None:
    async for message in socket:
        if message.type != WSMsgType.TEXT:
            await socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
        elif not session.receive(message.data):
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=b'too many messages')


async def _end(socket: web.WebSocketResponse, code: str, text: str, close_code: int) -> None:
    await socket.send_str(views.to_json({'type': 'refused', 'code': code, 'message': text}))
    await socket.close(code=close_code)


@web.middleware
async def _add_headers(request: web.Request, handler: Any) -> web.StreamResponse:
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        error.headers.update(HEADERS)
        raise
    if not response.prepared:
        response.headers.update(HEADERS)
    return response
