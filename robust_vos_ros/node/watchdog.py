"""What happens when the worker does not come back from a frame or a request."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger

from robust_vos_ros.node.settings_sections import WatchdogSettings
from robust_vos_ros.node.worker import Lane

EXIT_CODE = 3  # of the process, with watchdog.action: exit


def end_process() -> None:
    """End the process at once: a thread inside a device's driver cannot be stopped."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_CODE)


class Watchdog:
    """Looks at the worker from the executor's thread, each second.

    A worker that holds Python's global lock also stops the executor, and with it the heartbeat of
    the bond and /diagnostics: their silence then tells.

    Args:
        logger: Of the node.
        end_bond: Ends the heartbeat, so that nav2's lifecycle manager restarts the node.
        end: Ends the process.
    """

    def __init__(
        self,
        logger: RcutilsLogger,
        *,
        end_bond: Callable[[], None],
        end: Callable[[], None] = end_process,
    ) -> None:
        self._logger = logger
        self._actions: dict[str, Callable[[], None]] = {
            'report': lambda: None,
            'bond': end_bond,
            'exit': end,
        }
        self._reported = ''  # identity of the item that was reported last

    def check(self, lane: Lane | None, settings: WatchdogSettings) -> str:
        """Return a sentence about a stuck item for /diagnostics, empty if there is none.

        The first time for each item, it also logs the sentence, writes the stacks of all threads
        to stderr and takes the action of the settings.
        """
        busy = None if lane is None else lane.busy
        if busy is None or not settings.after_s or busy.since_s < settings.after_s:
            return ''
        text = (
            f'{busy.what} is stuck for {busy.since_s:.1f} s (watchdog.after_s is '
            f'{settings.after_s:g}); the stacks of all threads are in the log'
        )
        if self._reported != busy.name:
            self._reported = busy.name
            self._logger.error(f'{text}; action: {settings.action}')
            # Not sys.stderr: it may have no file descriptor.
            faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
            self._actions[settings.action]()
        return text
