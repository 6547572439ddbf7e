"""One connected browser: its concurrent commands and its mailbox."""

from __future__ import annotations

import asyncio
from typing import Any

from robust_vos_ros.console import protocol
from robust_vos_ros.console.mailbox import Mailbox, RateLimit
from robust_vos_ros.console.serving import Log
from robust_vos_ros.console.source import RefusalError, Source
from robust_vos_ros.core.errors import BagError, ConfigError, ImageError, PromptError

MAX_PENDING = 4
RATE_HZ, BURST = 40.0, 120


class Session:
    """Executes the commands of a browser.

    Args:
        source: What is shown.
        log: Gets unexpected errors.

    Attributes:
        mailbox: Messages to the browser.
    """

    def __init__(self, source: Source, log: Log) -> None:
        self.mailbox = Mailbox()
        self._source, self._log = source, log
        self._limit = RateLimit(RATE_HZ, BURST)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, name: str) -> None:
        """Watch a node or a bag; empty = the one that is shown first.

        Raises:
            ConfigError: There cannot be such a name.
        """
        await self._source.watch(self.mailbox, name)

    async def close(self) -> None:
        """Cancel all commands after the browser disconnected."""
        self._source.leave(self.mailbox)
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
            self._source.freeze(self.mailbox, command.stamp)
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
            result = await self._source.do(self.mailbox, command)
        except RefusalError as error:
            self._refuse(command.id, error.code, error.sentence)
        except (PromptError, ImageError) as error:
            self._refuse(command.id, 'BAD_PROMPT', str(error))
        except (ConfigError, BagError) as error:
            self._refuse(command.id, 'BAD_MESSAGE', str(error))
        except Exception as error:  # no command may end the session
            self._log.error(f'{command.type} failed: {type(error).__name__}: {error}')
            text = f'unexpected {type(error).__name__}: {error}; the log of the console has it'
            self._refuse(command.id, 'INTERNAL', text)
        else:
            self.mailbox.put_answer(protocol.make_answer(command.id, result))

    def _refuse(self, message_id: int | None, code: str, text: str) -> None:
        self.mailbox.put_answer(protocol.make_refusal(message_id, code, text))
