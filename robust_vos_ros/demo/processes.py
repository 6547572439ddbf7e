"""Child processes of the demo, with log files; they are always stopped."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from robust_vos_ros.core.errors import RobustVosError

_STOP_TIMEOUT_S = 5.0
_LOG_TAIL_LINES = 5
# In higher domains the ports of DDS are in the ephemeral range of the system.
_MAX_DOMAIN = 100
_DDS_PORT_BASE, _DDS_PORTS_PER_DOMAIN = 7400, 250


class ProcessError(RobustVosError):
    """A child process has ended unexpectedly."""


class ChildProcess:
    """A Python module that runs as a process inside `with`.

    Args:
        name: Name for messages.
        module: Module to run.
        arguments: Arguments of its command line.
        log: File for its output.
    """

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path) -> None:
        self._name = name
        self._command = [sys.executable, '-m', module, *arguments]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ChildProcess:
        """Start it."""
        environment = dict(os.environ, PYTHONUNBUFFERED='1')
        with self._log.open('wb') as log:
            self._process = subprocess.Popen(  # noqa: S603  our own modules
                self._command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only the demo, which stops its children
            )
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it by SIGINT, and by SIGKILL if it does not end."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """Its process id, inside `with`."""
        assert self._process is not None
        return self._process.pid

    def check(self) -> None:
        """Raise ProcessError if it has ended."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return
        tail = self._log.read_text('utf-8', errors='replace').splitlines()[-_LOG_TAIL_LINES:]
        raise ProcessError(
            f'the {self._name} ended with code {code}; the end of {self._log}:\n' + '\n'.join(tail)
        )


def find_free_domain(rng: random.Random) -> int:
    """Return a ROS_DOMAIN_ID from 1 to 100 that is not in use on this machine.

    Raises:
        ProcessError: All are in use.
    """
    domains = list(range(1, _MAX_DOMAIN + 1))
    rng.shuffle(domains)
    for domain in domains:
        # Every DDS participant of the domain listens on this port for others.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(('', _DDS_PORT_BASE + _DDS_PORTS_PER_DOMAIN * domain))
            except OSError:
                continue
            return domain
    raise ProcessError(f'all ROS domains from 1 to {_MAX_DOMAIN} are in use; set ROS_DOMAIN_ID')


class Deadline:
    """A time limit of the whole demo."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._end_s = time.monotonic() + timeout_s

    def check(self) -> None:
        """Raise ProcessError if the time is over."""
        if time.monotonic() > self._end_s:
            raise ProcessError(f'the demo did not end within {self._timeout_s:.0f} s')
