"""Run a lifecycle node as a program, with an orderly shutdown on a signal."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from robust_vos_ros.core.errors import RobustVosError

SPIN_TIMEOUT_S = 0.2


class ManagedNode(Protocol):
    """Methods that `run` needs besides those of an rclpy node."""

    def start(self) -> None:
        """Configure and activate the node, if it has autostart."""

    def close(self) -> bool:
        """Stop everything; returns False if a thread is still in a computation."""

    def get_logger(self) -> Any:
        """Return the logger."""


def run(create: Callable[[], ManagedNode], args: list[str] | None) -> int:
    """Run a node until SIGINT or SIGTERM.

    Args:
        create: Creates the node.
        args: Command-line arguments; None = sys.argv.

    Returns:
        The exit code: 0, or 1 if the parameters are invalid.
    """
    stop = threading.Event()

    def interrupt(_number: int, _frame: Any) -> None:
        stop.set()  # works also where exceptions are ignored, e.g. in a destructor
        raise KeyboardInterrupt

    # rclpy's handlers would invalidate the context at once, which prevents an orderly shutdown.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    node, executor, clean = None, None, True
    try:
        node = create()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        node.start()
        while rclpy.ok() and not stop.is_set():
            _spin_once(node, executor)
    except RobustVosError as error:
        rclpy.logging.get_logger('robust_vos').fatal(str(error))
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if node is not None:
            clean = node.close()
        if executor is not None:
            executor.shutdown(timeout_sec=0)
        rclpy.try_shutdown()
        gc.freeze()  # otherwise garbage collection of torch's objects delays the exit by a second
    if not clean:
        # A normal exit could wait for, or crash because of, a thread inside the device's driver.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _spin_once(node: ManagedNode, executor: SingleThreadedExecutor) -> None:
    try:
        # With a timeout, because Python handles signals only between two waits.
        executor.spin_once(timeout_sec=SPIN_TIMEOUT_S)
    except ExternalShutdownException:
        raise
    except Exception as error:  # from a callback; rclpy would end the node
        node.get_logger().error(f'callback failed: {type(error).__name__}: {error}')
