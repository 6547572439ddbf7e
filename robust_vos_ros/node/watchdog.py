"""What happens when the worker does not come back, or every frame fails."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable

from rclpy.impl.rcutils_logger import RcutilsLogger

from robust_vos_ros.node.pipeline import Pipeline
from robust_vos_ros.node.settings_sections import WatchdogSettings

EXIT_CODE = 3  # of the process, with watchdog.action: exit


def end_process() -> None:
    """End the process at once: a thread inside a device's driver cannot be stopped."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(EXIT_CODE)


class Watchdog:
    """Looks at the work for one camera from the executor's thread, each second.

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
        self._stuck = ''  # identity of the item that was reported last
        self._failing = False  # whether the present series of failures was reported

    def check(self, pipeline: Pipeline | None, settings: WatchdogSettings) -> str:
        """Return a sentence about what is wrong for /diagnostics, empty if nothing is.

        The first time for each stuck item, and for each series of failures, it also logs the
        sentence and takes the action of the settings.
        """
        if pipeline is None or pipeline.lane is None:
            return ''
        return self._check_stuck(pipeline, settings) or self._check_failing(pipeline, settings)

    def _check_stuck(self, pipeline: Pipeline, settings: WatchdogSettings) -> str:
        """Report an item that does not end; the stacks of all threads go to stderr."""
        busy = None if pipeline.lane is None else pipeline.lane.busy
        if busy is None or not settings.after_s or busy.since_s < settings.after_s:
            return ''
        text = (
            f'{busy.what} is stuck for {busy.since_s:.1f} s (watchdog.after_s is '
            f'{settings.after_s:g}); the stacks of all threads are in the log'
        )
        if self._stuck != busy.name:
            self._stuck = busy.name
            self._logger.error(f'{text}; action: {settings.action}')
            # Not sys.stderr: it may have no file descriptor.
            faulthandler.dump_traceback(sys.__stderr__ or 2, all_threads=True)
            self._actions[settings.action]()
        return text

    def _check_failing(self, pipeline: Pipeline, settings: WatchdogSettings) -> str:
        """Report frames that all fail: after some errors a GPU serves its process no more."""
        snapshot = pipeline.statistics.snapshot()
        number, limit = snapshot.failed_in_succession, settings.after_failed_frames
        if not limit or number < limit:
            self._failing = False
            return ''
        text = (
            f'{number} frames in succession failed (watchdog.after_failed_frames is {limit}), '
            f'restart the process if that goes on: {snapshot.error}'
        )
        if not self._failing:
            self._failing = True
            self._logger.error(f'{text}; action: {settings.action}')
            self._actions[settings.action]()
        return text
