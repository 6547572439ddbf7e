"""Run a benchmark: what was measured before is read, the rest is measured and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydantic

from robust_vos_ros.core.adapters.files import is_adapter
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.optimize import find_device, find_precision
from robust_vos_ros.core.settings import ModelSettings, parse_settings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.data.corruption import YOUTUBE_VOS_P, find_corruptions
from robust_vos_ros.data.severity import MAX_SEVERITY, PROFILES
from robust_vos_ros.eval.compare import parse_weights
from robust_vos_ros.eval.prompting import PROMPT_FORMS
from robust_vos_ros.eval.protocols import PROTOCOLS
from robust_vos_ros.eval.records import CLEAN, Condition, Record
from robust_vos_ros.eval.runners import Runner
from robust_vos_ros.eval.tasks import Job, Task, Variant


def make_conditions(
    corruptions: str, severities: Sequence[float], *, profile: str, seed: int
) -> list[Condition]:
    """Return clean, and every corruption at every severity; those without severities once.

    Args:
        corruptions: See `data.corruption.find_corruptions`; empty = only clean.
        severities: Each above 0, up to 5.
        profile: A name of `data.severity.PROFILES`.
        seed: Of the corruptions.

    Raises:
        ConfigError: A name or severity is not known.
    """
    if profile not in PROFILES:
        raise ConfigError(f'profile: expected one of {", ".join(PROFILES)}, got {profile!r}')
    if not all(0.0 < severity <= MAX_SEVERITY for severity in severities):
        raise ConfigError(
            f'severity: expected numbers above 0, up to {MAX_SEVERITY:g}, got {severities}'
        )
    clean = Condition(corruption=CLEAN, severity=0.0, profile='constant', seed=seed)
    names = find_corruptions(corruptions) if corruptions else ()
    return [
        clean,
        *(
            Condition(corruption=name, severity=severity, profile=profile, seed=seed)
            for name in names
            if name not in YOUTUBE_VOS_P
            for severity in dict.fromkeys(severities)
        ),
        *(
            Condition(corruption=name, severity=1.0, profile='constant', seed=seed)
            for name in names
            if name in YOUTUBE_VOS_P
        ),
    ]


def make_variants(
    text: str, *, model: str, checkpoint: str, device: str, changes: Sequence[str] = ()
) -> list[Variant]:
    """Return what is compared.

    Args:
        text: Names separated by commas: `base` for the model without adapter, `restored` for the
            same on denoised images, `uncalibrated` for the same without its calibration, the name
            of an adapter shipped with it, such as `moga`, NAME=FILE of an adapter for it,
            otherwise as in `compare.parse_weights`.
        model: Model of `base`.
        checkpoint: Weights of `base`; empty = its own.
        device: Torch device.
        changes: Settings of the tracker, each NAME:tracking.KEY=VALUE, or first
            NAME:tracking=plain for those of SAM 2; a NAME that is not in `text` is one more
            variant of `base`.

    Raises:
        ConfigError: A variant has another form or is named twice, or a setting is not known.
    """
    tracking = _parse_changes(changes)
    variants: dict[str, Variant] = {}
    for item in text.split(','):
        name, settings = _parse_variant(item, model, checkpoint)
        if name in variants:
            raise ConfigError(f'variants: expected different names, got {name!r} twice')
        network = parse_settings(ModelSettings, settings | _fixed(device))
        variants[name] = Variant(
            name=name,
            model=network,
            tracking=tracking.pop(name, TrackerSettings()),
            restored=name == 'restored',
        )
    settings = _parse_variant('base', model, checkpoint)[1] | _fixed(device)
    network = parse_settings(ModelSettings, settings)
    for name, own in tracking.items():
        variants[name] = Variant(name=name, model=network, tracking=own)
    return list(variants.values())


def _parse_changes(changes: Sequence[str]) -> dict[str, TrackerSettings]:
    """Return the settings of the tracker by variant."""
    values: dict[str, dict[str, Any]] = {}
    for change in changes:
        name, colon, rest = change.partition(':')
        key, equals, value = rest.partition('=')
        part, dot, field = key.partition('.')
        own = values.setdefault(name, {})
        if name and key == 'tracking' and value == 'plain':
            values[name] = TrackerSettings.plain().model_dump() | own
        elif name and colon and equals and dot and part == 'tracking':
            *groups, leaf = field.split('.')
            for group in groups:
                own = own.setdefault(group, {})
            own[leaf] = value  # pydantic turns text into numbers
        else:
            raise ConfigError(
                'set: expected NAME:tracking.KEY=VALUE, such as '
                f'gate:tracking.gate.min_confidence=0.5, or NAME:tracking=plain, got {change!r}'
            )
    return {name: parse_settings(TrackerSettings, fields) for name, fields in values.items()}


def _parse_variant(item: str, model: str, checkpoint: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a variant and the settings of its model."""
    base = {'name': model, 'checkpoint': _absolute(checkpoint), 'adapter': 'none'}
    if item in {'base', 'restored'}:
        return item, base
    if item == 'uncalibrated':
        return item, base | {'calibration': 'none'}
    name, equals, file = item.partition('=')
    if not equals:
        return name, base | {'adapter': f'{model}_{name}'}
    if is_adapter(Path(file)):
        return name, base | {'adapter': _absolute(file)}
    name, own, file = parse_weights(item)
    return name, {'name': own, 'checkpoint': _absolute(file), 'adapter': 'none'}


def _absolute(path: str) -> str:
    """Return a path that holds in other processes, empty for none."""
    return str(Path(path).expanduser().resolve()) if path else ''


def _fixed(device: str) -> dict[str, Any]:
    """Return settings without `auto`, so that they say what was measured."""
    where = find_device(device)
    return {
        'device': str(where), 'precision': find_precision('auto', where), 'num_threads': 1
    }  # fmt: skip


def choose_prompt(prompt: str, protocol: str) -> str:
    """Return the prompt, or that of the protocol if none is named.

    Raises:
        ConfigError: The prompt or the protocol is not known.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f'protocol: expected one of {", ".join(PROTOCOLS)}, got {protocol!r}')
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
    tasks: Sequence[Job],
    runner: Runner,
    cache: Path,
    *,
    on_done: Callable[[], None] = lambda: None,
) -> list[Any]:
    """Return the records of all tasks, each of its task's `record_type`, in their order.

    Args:
        tasks: What to measure.
        runner: Where to measure what is not in the cache.
        cache: Folder of finished records, one file each; interrupted runs go on from there.
        on_done: Called after each record, for a progress bar.

    Raises:
        RobustVosError: A task failed; the finished ones are in the cache.
    """
    cache.mkdir(parents=True, exist_ok=True)
    paths = [cache / f'{task.key()}.json' for task in tasks]
    records: dict[int, Record] = {}
    for position, path in enumerate(paths):
        record = _read(path, tasks[position].record_type)
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


def _read(path: Path, record_type: type[Record]) -> Record | None:
    """Return a finished record; one that cannot be read is measured again."""
    try:
        return record_type.model_validate_json(path.read_bytes())
    except (OSError, pydantic.ValidationError):
        return None


def _write(path: Path, record: Record) -> None:
    partial = path.with_suffix('.partial')
    partial.write_text(record.model_dump_json(), encoding='utf-8')
    partial.replace(path)  # so that an interruption leaves no half file
