"""Run tasks in this process, in several, or on a Ray cluster; records come as tasks end."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool

from robust_vos_ros.cluster import connected, import_ray
from robust_vos_ros.core.errors import ConfigError, RobustVosError
from robust_vos_ros.eval.records import SequenceRecord
from robust_vos_ros.eval.tasks import Task, measure

# Yields (position of the task, its record), in any order.
Runner = Callable[[Sequence[Task]], Iterator[tuple[int, SequenceRecord]]]


def run_here(tasks: Sequence[Task]) -> Iterator[tuple[int, SequenceRecord]]:
    """Run the tasks one after another in this process."""
    for position, task in enumerate(tasks):
        yield position, measure(task)


def run_in_processes(num_processes: int) -> Runner:
    """Return a runner that uses several processes."""

    def run(tasks: Sequence[Task]) -> Iterator[tuple[int, SequenceRecord]]:
        # Not forked: the threads of torch do not survive a fork.
        context = multiprocessing.get_context('spawn')
        with concurrent.futures.ProcessPoolExecutor(num_processes, context) as pool:
            futures = {pool.submit(measure, task): i for i, task in enumerate(tasks)}
            problems = []
            try:
                for future in concurrent.futures.as_completed(futures):
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        raise error
                    if error is not None:
                        problems.append(error)
                    else:
                        yield futures[future], future.result()
            except BrokenProcessPool as error:
                raise RobustVosError(
                    'expected the processes to finish, but one was killed, most likely for want '
                    'of memory; run the same command again with fewer --processes: finished '
                    'sequences are kept'
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
        if problems:  # the other sequences are finished and kept
            raise problems[0]

    return run


def _measure_same(task: Task, key: str) -> SequenceRecord:
    """Run a task on another machine; its code, weights and data must be the same."""
    if task.key() != key:
        raise ConfigError(
            f'sequence {task.sequence}: expected the code, weights and data of the machine that '
            'started this run, got others; install the same version and files on all workers'
        )
    return measure(task)


def run_on_ray(address: str) -> Runner:
    """Return a runner that makes each task a Ray task of one CPU.

    Args:
        address: As in `cluster.connected`. Workers need this package, and the data set at the same
            path.

    Raises:
        ConfigError: Ray is not installed or does not answer.
    """
    ray = import_ray()

    def run(tasks: Sequence[Task]) -> Iterator[tuple[int, SequenceRecord]]:
        with connected(ray, address):
            try:
                remote = ray.remote(num_cpus=1)(_measure_same)
                waiting = {remote.remote(task, task.key()): i for i, task in enumerate(tasks)}
                while waiting:
                    done, _ = ray.wait(list(waiting))
                    for reference in done:
                        yield waiting.pop(reference), ray.get(reference)
            except ray.exceptions.RayError as error:
                raise RobustVosError(
                    f'a Ray task failed: {error}; finished ones are kept'
                ) from error

    return run
