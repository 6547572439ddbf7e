"""One connected browser: its concurrent commands and its mailbox."""

from __future__ import annotations

import asyncio
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger

from robust_vos_ros.client.asking import RefusedError
from robust_vos_ros.client.connection import ClientError
from robust_vos_ros.client.prompts import to_prompt_message
from robust_vos_ros.console import protocol
from robust_vos_ros.console.hub import Hub
from robust_vos_ros.console.mailbox import Mailbox, RateLimit
from robust_vos_ros.console.pictures import Stamp
from robust_vos_ros.core.errors import ConfigError, ImageError, PromptError

MAX_PENDING = 4
RATE_HZ, BURST = 40.0, 120
_PREVIEW_ID = 'preview'


class Session:
    """Executes the commands of a browser.

    Args:
        hub: Manages the nodes.
        log: Logs unexpected errors.

    Attributes:
        mailbox: Messages to the browser.
    """

    def __init__(self, hub: Hub, log: RcutilsLogger) -> None:
        self.mailbox = Mailbox()
        self._hub, self._log = hub, log
        self._kept: tuple[Stamp, Any] | None = None  # the frozen image
        self._limit = RateLimit(RATE_HZ, BURST)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, node: str) -> None:
        """Watch a node.

        Raises:
            ConfigError: The name is not a valid node name.
        """
        await self._hub.watch(self.mailbox, node)

    async def close(self) -> None:
        """Cancel all commands after the browser disconnected."""
        self._hub.leave(self.mailbox)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def receive(self, text: str) -> bool:
        """Start the command of a message; returns False if there are too many messages."""
        if not self._limit.take():
            return False
        try:
            command = protocol.parse(text)
        except protocol.ProtocolError as error:
            self._refuse(error.message_id, 'BAD_MESSAGE', str(error))
            return True
        if isinstance(command, protocol.Seen):
            self.mailbox.seen()
        elif isinstance(command, protocol.Freeze):
            self._keep(command.stamp)
        elif isinstance(command, protocol.Hello):
            self._refuse(None, 'BAD_MESSAGE', 'expected one hello, got another one')
        elif len(self._tasks) >= MAX_PENDING:
            text = f'{MAX_PENDING} requests are being processed; wait for their answers'
            self._refuse(command.id, 'BUSY', text)
        else:
            task = asyncio.create_task(self._answer(command))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return True

    async def _answer(self, command: Any) -> None:
        """Execute a command, and answer it in any case."""
        try:
            result = await self._do(command)
        except RefusedError as error:
            self._refuse(command.id, error.code, error.sentence)
        except ClientError as error:
            self._refuse(command.id, 'NO_ANSWER', str(error))
        except (PromptError, ImageError) as error:
            self._refuse(command.id, 'BAD_PROMPT', str(error))
        except ConfigError as error:
            self._refuse(command.id, 'BAD_MESSAGE', str(error))
        except Exception as error:  # no command may end the session
            self._log.error(f'{command.type} failed: {type(error).__name__}: {error}')
            text = f'unexpected {type(error).__name__}: {error}; the log of the console has it'
            self._refuse(command.id, 'INTERNAL', text)
        else:
            self.mailbox.put_answer(protocol.make_answer(command.id, result))

    async def _do(self, command: Any) -> dict[str, Any]:
        """Execute a command; returns its result."""
        if isinstance(command, protocol.Watch):
            self._kept = None
            await self.start(command.node)
            return {}
        camera, in_thread = self._hub.camera_of(self.mailbox), self._hub.in_thread
        if isinstance(command, protocol.Remove):
            return await in_thread(camera.remove, command.object_ids)
        if isinstance(command, protocol.Reset):
            return await in_thread(camera.reset)
        self._keep(command.stamp)
        object_id = getattr(command, 'object_id', _PREVIEW_ID)
        prompt = to_prompt_message(
            object_id,
            class_id=getattr(command, 'class_id', ''),
            box=command.box,
            points=[(x, y) for x, y, _ in command.points],
            labels=[label for _, _, label in command.points],
        )
        if isinstance(command, protocol.Preview):
            kept = self._kept[1] if self._kept and self._kept[0] == command.stamp else None
            return await in_thread(camera.preview, command.stamp, prompt, kept)
        change = camera.add if isinstance(command, protocol.Add) else camera.refine
        return await in_thread(change, command.stamp, prompt)

    def _keep(self, stamp: Stamp) -> None:
        """Keep the image of this stamp until another one is used."""
        if self._kept is not None and self._kept[0] == stamp:
            return
        try:
            image = self._hub.camera_of(self.mailbox).image_at(stamp)
        except ClientError:
            image = None
        self._kept = None if image is None else (stamp, image)

    def _refuse(self, message_id: int | None, code: str, text: str) -> None:
        self.mailbox.put_answer(protocol.make_refusal(message_id, code, text))
