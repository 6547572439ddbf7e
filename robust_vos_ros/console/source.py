"""What a console shows: the nodes of a ROS graph, or a bag. Imports neither ROS nor a network."""

from __future__ import annotations

from typing import Any, Protocol

from robust_vos_ros.console.mailbox import Mailbox
from robust_vos_ros.core.errors import RobustVosError

POLL_S = 0.5  # a page hears of the state at least this often
Stamp = tuple[int, int]  # seconds and nanoseconds of an image
NEWEST: Stamp = 0, 0  # for a node, the newest image


class RefusalError(RobustVosError):
    """A command is refused.

    Attributes:
        code: For programs, such as UNKNOWN_ID.
        sentence: For people.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(f'{sentence} ({code})')
        self.code = code
        self.sentence = sentence


class Source(Protocol):
    """Sends images, objects and states to mailboxes, and executes commands.

    All methods run in one event loop.
    """

    async def run(self) -> None:
        """Work until cancelled."""

    async def close(self) -> None:
        """Stop."""

    async def watch(self, mailbox: Mailbox, name: str) -> None:
        """Begin to send to a mailbox what `name` shows; empty = what is shown first.

        Raises:
            ConfigError: There cannot be such a name.
        """

    def leave(self, mailbox: Mailbox) -> None:
        """Stop sending to a mailbox."""

    def freeze(self, mailbox: Mailbox, stamp: Stamp) -> None:
        """Keep the image with this stamp for prompts."""

    async def do(self, mailbox: Mailbox, command: Any) -> dict[str, Any]:
        """Execute a command of `protocol` that has an id; returns its result.

        Raises:
            RefusalError: The command is refused.
            ConfigError, ImageError, PromptError: Something in the command cannot be used.
        """
