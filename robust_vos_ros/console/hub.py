"""The nodes of the ROS graph, the watched ones, and the browsers that watch them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import time
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.validate_full_topic_name import validate_full_topic_name

from robust_vos_ros.client.asking import RefusedError
from robust_vos_ros.client.connection import ClientError
from robust_vos_ros.client.prompts import to_prompt_message
from robust_vos_ros.console import protocol
from robust_vos_ros.console.camera import SILENT_S, Camera
from robust_vos_ros.console.graph import Graph
from robust_vos_ros.console.mailbox import Mailbox
from robust_vos_ros.console.settings import ConsoleSettings
from robust_vos_ros.console.source import NEWEST, POLL_S, RefusalError, Stamp
from robust_vos_ros.core.errors import ConfigError

KEEP_S = 10.0  # an unwatched camera is kept for this time, since pages are reloaded
_LOG_S = 10.0
_HEALTH_S = 3.0  # diagnostics arrive each second
_MAX_UNWATCHED = 4
_NUM_THREADS = 16
_PREVIEW_ID = 'preview'

T = TypeVar('T')


class Hub:
    """Watches nodes for browsers; all its methods run in one event loop.

    Args:
        node: Provides the graph.
        settings: Of the console.
        domain_id: Of ROS; None = ROS_DOMAIN_ID.

    Raises:
        ConfigError: A setting is not a valid node name.
    """

    def __init__(
        self, node: Node, settings: ConsoleSettings, domain_id: int | None = None
    ) -> None:
        self._node, self._settings, self._domain_id = node, settings, domain_id
        self._graph = Graph(node)
        self._first = full_name(settings.node)
        self._names: list[str] = []
        self._cameras: dict[str, Camera] = {}
        self._watchers: dict[Mailbox, str] = {}
        self._frozen: dict[Mailbox, tuple[Stamp, Any]] = {}  # images for previews
        self._unwatched_s: dict[str, float] = {}
        self._poll_now = asyncio.Event()  # requests an immediate poll
        self._lock = asyncio.Lock()  # held while a camera is opened or closed
        self._threads = concurrent.futures.ThreadPoolExecutor(_NUM_THREADS, 'console')

    async def run(self) -> None:
        """Poll the graph and send changes to browsers, until cancelled."""
        is_connected = False
        while True:
            self._poll_now.clear()
            try:
                if not is_connected:  # pages opened before the console started reconnect soon
                    await self._open(self._first)
                    is_connected = True
                await self._poll()
            except Exception as error:  # errors of ROS may be temporary
                text = f'cannot read the ROS graph: {type(error).__name__}: {error}'
                self._node.get_logger().error(text, throttle_duration_sec=_LOG_S)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._poll_now.wait(), POLL_S)

    async def close(self) -> None:
        """Stop watching."""
        async with self._lock:
            for name in list(self._cameras):
                await self._close(name)
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def in_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run a blocking function in a thread, and await it."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(function, *args))

    async def watch(self, mailbox: Mailbox, name: str) -> None:
        """Send frames and events of a node to a mailbox; a browser watches one node.

        Args:
            mailbox: Of the browser.
            name: Of the node, which need not exist; empty = the one of the settings.

        Raises:
            ConfigError: The name is not a valid node name.
        """
        name = full_name(name or self._settings.node)
        self.leave(mailbox)
        mailbox.drop_frame()
        self._watchers[mailbox] = name
        # Not cancelled when the browser leaves: a half-open camera would never be closed.
        camera = await asyncio.shield(self._open(name))
        self._send_nodes(mailbox)
        mailbox.put_state(self._status_of(camera))
        self._poll_now.set()

    def leave(self, mailbox: Mailbox) -> None:
        """Stop watching."""
        self._frozen.pop(mailbox, None)
        name = self._watchers.pop(mailbox, None)
        if name is not None:
            self._unwatched_s[name] = time.monotonic()

    def freeze(self, mailbox: Mailbox, stamp: Stamp) -> None:
        """Keep the image of this stamp until another one is used."""
        if mailbox in self._frozen and self._frozen[mailbox][0] == stamp:
            return
        self._frozen.pop(mailbox, None)
        camera = self._cameras.get(self._watchers.get(mailbox, ''))
        image = None if camera is None else camera.image_at(stamp)
        if image is not None:
            self._frozen[mailbox] = stamp, image

    async def do(self, mailbox: Mailbox, command: Any) -> dict[str, Any]:
        """Execute a command; returns its result.

        Raises:
            RefusalError: The node refuses, or does not answer.
            ConfigError, PromptError: Something in the command cannot be used.
        """
        try:
            return await self._do(mailbox, command)
        except RefusedError as error:
            raise RefusalError(error.code, error.sentence) from error
        except ClientError as error:
            raise RefusalError('NO_ANSWER', str(error)) from error

    async def _do(self, mailbox: Mailbox, command: Any) -> dict[str, Any]:
        if isinstance(command, protocol.Watch):
            await self.watch(mailbox, command.node)
            return {}
        if isinstance(command, protocol.Seek | protocol.Delete):
            raise RefusalError('BAD_MESSAGE', 'this console shows nodes; only bags can do that')
        camera = self._cameras.get(self._watchers.get(mailbox, ''))
        if camera is None:
            raise ClientError('the console is connecting to the node; try again')
        requests = camera.requests
        if isinstance(command, protocol.Remove):
            return await self.in_thread(requests.remove, command.object_ids)
        if isinstance(command, protocol.Reset):
            return await self.in_thread(requests.reset)
        if isinstance(command, protocol.Find):
            if camera.no_words:
                raise RefusalError('NO_ANSWER', camera.no_words)
            asked = command.text, command.max_objects, command.mode
            return await self.in_thread(requests.find, *asked)
        self.freeze(mailbox, command.stamp)
        prompt = to_prompt_message(
            getattr(command, 'object_id', _PREVIEW_ID),
            class_id=getattr(command, 'class_id', ''),
            box=command.box,
            points=[(x, y) for x, y, _ in command.points],
            labels=[label for _, _, label in command.points],
        )
        if isinstance(command, protocol.Preview):
            image = self._frozen.get(mailbox, (None, None))[1]
            return await self.in_thread(requests.preview, command.stamp, prompt, image)
        change = requests.add if isinstance(command, protocol.Add) else requests.refine
        # A class changes now: it needs no image, which the node may no longer have.
        stamp = command.stamp if command.has_marks else NEWEST
        return await self.in_thread(change, stamp, prompt)

    async def _open(self, name: str) -> Camera:
        loop = asyncio.get_running_loop()
        async with self._lock:
            if name not in self._cameras:
                await self._close_unwatched(keep=_MAX_UNWATCHED)
                self._unwatched_s[name] = time.monotonic()
                self._cameras[name] = await self.in_thread(self._make, name, loop)
            return self._cameras[name]

    def _make(self, name: str, loop: asyncio.AbstractEventLoop) -> Camera:
        return Camera(
            name,
            self._settings,
            show=lambda frame: loop.call_soon_threadsafe(self._send_frame, name, frame),
            tell=lambda note: loop.call_soon_threadsafe(self._send_event, name, note),
            domain_id=self._domain_id,
        )

    async def _close(self, name: str) -> None:
        await self.in_thread(self._cameras.pop(name).close)

    async def _close_unwatched(self, *, keep: int, since_s: float = 0.0) -> None:
        """Close cameras that were unwatched for a while, except the most recent ones."""
        now_s, watched = time.monotonic(), set(self._watchers.values())
        left = sorted(set(self._cameras) - watched, key=lambda name: self._unwatched_s[name])
        for name in left[: max(0, len(left) - keep)]:
            if now_s - self._unwatched_s[name] >= since_s:
                await self._close(name)

    def _send_frame(self, name: str, frame: bytes) -> None:
        for mailbox in self._watchers_of(name):
            mailbox.put_frame(frame)

    def _send_event(self, name: str, note: dict[str, Any]) -> None:
        for mailbox in self._watchers_of(name):
            mailbox.put_event(note)

    def _watchers_of(self, name: str) -> list[Mailbox]:
        return [mailbox for mailbox, watched in self._watchers.items() if watched == name]

    async def _poll(self) -> None:
        names = await self.in_thread(self._graph.nodes)
        if names != self._names:
            self._names = names
            for mailbox in self._watchers:
                self._send_nodes(mailbox)
        async with self._lock:
            await self._close_unwatched(keep=0, since_s=KEEP_S)
        for name in {*self._watchers.values(), *self._cameras}:
            camera = await self._open(name)
            if not await self._update(camera):
                async with self._lock:
                    await self._close(name)  # the next poll opens it again
                continue
            status = self._status_of(camera)
            for mailbox in self._watchers_of(name):
                mailbox.put_state(status)

    async def _update(self, camera: Camera) -> bool:
        """Update the subscriptions of a camera; returns False if it must be opened again."""
        if camera.is_disconnected:
            text = f'{camera.name} is active, but none of its results arrive; reconnecting'
            self._node.get_logger().warning(text)
            return False
        if camera.name not in self._names:
            return True
        topic = await self.in_thread(self._graph.image_of, camera.name)
        try:
            await self.in_thread(camera.follow, topic)
        except ClientError as error:
            self._node.get_logger().error(f'{camera.name}: {error}; reconnecting')
            return False
        return True

    def _send_nodes(self, mailbox: Mailbox) -> None:
        node = self._watchers[mailbox]
        names = {'nodes': self._names, 'node': node}
        mailbox.put_state({'type': 'nodes', 'is_bag': False, **names})

    def _status_of(self, camera: Camera) -> dict[str, Any]:
        """Return the status of a node from the graph and its diagnostics."""
        status: dict[str, Any] = {
            'type': 'status',
            'node': camera.name,
            'present': camera.name in self._names,
            'silent': camera.silent_s > SILENT_S,
            'buffer_s': camera.buffer_s,
            'no_words': camera.no_words,
        }
        health, heard_s = camera.health or (None, 0.0)
        late = time.monotonic() - heard_s > _HEALTH_S
        if health is None or late or not status['present']:
            missing = 'no diagnostics from the node' if status['present'] else 'it is not running'
            health = {'level': 'STALE', 'message': missing, 'values': {}}
        return status | health


def full_name(name: str) -> str:
    """Return the full name of a node.

    Raises:
        ConfigError: The name is not a valid node name.
    """
    name = f'/{name.strip("/")}'
    try:
        validate_full_topic_name(f'{name}/objects')
    except InvalidTopicNameException as error:
        raise ConfigError(
            f'expected the name of a node such as /robust_vos, got {name!r}'
        ) from error
    return name
