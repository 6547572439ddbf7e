"""Run a benchmark; finished records are cached and read back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pydantic

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.eval.prompting import PROMPT_FORMS
from robust_vos_ros.eval.protocols import NOTES
from robust_vos_ros.eval.records import SequenceRecord
from robust_vos_ros.eval.runners import Runner
from robust_vos_ros.eval.tasks import Task
from robust_vos_ros.files import replace_file


def choose_prompt(prompt: str, protocol: str) -> str:
    """Return the form of the prompt, the default of the protocol if none is named.

    Raises:
        ConfigError: The prompt or the protocol is not known.
    """
    if protocol not in NOTES:
        raise ConfigError(f'protocol: expected one of {", ".join(NOTES)}, got {protocol!r}')
    chosen = prompt or ('clicks3' if protocol == 'robustpvos' else 'mask')
    if chosen not in PROMPT_FORMS:
        raise ConfigError(f'prompt: expected one of {", ".join(PROMPT_FORMS)}, got {prompt!r}')
    return chosen


def take_shard(tasks: Sequence[Task], shard: str) -> list[Task]:
    """Return the tasks of every n-th sequence.

    Args:
        tasks: All of them.
        shard: `i/n`, i from 1 to n, n at most the number of sequences.

    Raises:
        ConfigError: The text has another form.
    """
    names = list(dict.fromkeys(task.sequence for task in tasks))
    index, _, total = shard.partition('/')
    numbers = index.isdecimal() and total.isdecimal()
    if not numbers or not 1 <= int(index) <= int(total) <= len(names):
        raise ConfigError(
            f'shard: expected i/n with i from 1 to n and n at most {len(names)}, the number of '
            f'sequences, such as 1/2, got {shard!r}'
        )
    kept = names[int(index) - 1 :: int(total)]
    return [task for task in tasks if task.sequence in kept]


def run_benchmark(
    tasks: Sequence[Task],
    runner: Runner,
    cache: Path,
    *,
    on_done: Callable[[], None] = lambda: None,
) -> list[SequenceRecord]:
    """Return the records of all tasks, in their order.

    Args:
        tasks: All tasks.
        runner: Runs those that are not in the cache.
        cache: Folder of finished records, one file each; an interrupted run is resumed from it.
        on_done: Called after each record, for a progress bar.

    Raises:
        RobustVosError: A task failed; the finished ones are in the cache.
    """
    cache.mkdir(parents=True, exist_ok=True)
    paths = [cache / f'{task.key()}.json' for task in tasks]
    records: dict[int, SequenceRecord] = {}
    for position, path in enumerate(paths):
        record = _read(path)
        if record is not None:
            records[position] = record
            on_done()
    missing = [position for position in range(len(tasks)) if position not in records]
    for number, record in runner([tasks[position] for position in missing]):
        position = missing[number]
        records[position] = record
        _write(paths[position], record)
        on_done()
    return [records[position] for position in range(len(tasks))]


def _read(path: Path) -> SequenceRecord | None:
    """Return a finished record; None if it is missing or damaged."""
    try:
        return SequenceRecord.model_validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError):
        return None


def _write(path: Path, record: SequenceRecord) -> None:
    replace_file(path, lambda new: new.write_text(record.model_dump_json(), encoding='utf-8'))
