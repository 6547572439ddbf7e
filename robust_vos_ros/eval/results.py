"""The JSON file of a benchmark: measures, and the records that they are computed from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import torch

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.optimize import cpu_name
from robust_vos_ros.eval.protocols import NOTES
from robust_vos_ros.eval.records import Condition, Record, SequenceRecord
from robust_vos_ros.eval.summary import differences, summarize
from robust_vos_ros.eval.tasks import (
    Dataset,
    Variant,
    adapter_hash,
    calibration_hash,
    code_hash,
    weights_hash,
)
from robust_vos_ros.files import natural_key

_NUM_STRIPS = 8  # of a variant
_STRIPS_PER_SEQUENCE = 2


class About(Record):
    """Description of a run. Results can be merged if all fields but `machine` are equal.

    Attributes:
        title: Of the data set.
        dataset: Its settings, without the path of its files.
        conditions: In order; `variants` likewise, with model, weights and settings of each.
        code: Hash of the code of this package.
        machine: CPU of the machine.
    """

    title: str
    dataset: dict[str, Any]
    protocol: str
    protocol_note: str
    prompt: str
    conditions: list[Condition]
    code: str
    torch: str
    machine: str
    variants: dict[str, dict[str, Any]]


class Results(Record):
    """Content of a file of results."""

    about: About
    records: list[SequenceRecord]


def describe(
    variants: Sequence[Variant],
    dataset: Dataset,
    conditions: Sequence[Condition],
    *,
    protocol: str,
    prompt: str,
) -> About:
    """Return the description of a run.

    Raises:
        ConfigError, WeightsError: A model or its weights do not exist.
    """
    return About(
        title=dataset.title(),
        dataset=dataset.model_dump(mode='json', exclude={'root': True, 'footage': {'root'}}),
        protocol=protocol,
        protocol_note=NOTES[protocol],
        prompt=prompt,
        conditions=list(conditions),
        code=code_hash(),
        torch=torch.__version__,
        machine=f'{cpu_name()}, one thread per process',
        variants={
            variant.name: {
                'model': variant.model.name,
                'device': variant.model.device,
                'precision': variant.model.precision,
                'weights_sha256': weights_hash(variant.model),
                'adapter': Path(variant.model.adapter).stem,
                'adapter_sha256': adapter_hash(variant.model),
                'calibration_sha256': calibration_hash(variant.model),
                'tracking': variant.tracking.model_dump(),
            }
            for variant in variants
        },
    )


def to_json(results: Results) -> dict[str, Any]:
    """Return the content of the file.

    `variants` has the measures of each variant, `differences` the gains of the others over the
    first one.

    Raises:
        ConfigError: A variant has no record.
    """
    about, records = results.about, in_order(results)
    groups = {name: [r for r in records if r.variant == name] for name in about.variants}
    for name, group in groups.items():
        if not group:
            raise ConfigError(f'expected records of the variant {name!r}, got none')
    first, *others = groups
    return {
        'variants': {name: summarize(group, about.protocol) for name, group in groups.items()},
        'differences': {
            name: differences(groups[first], groups[name], about.protocol) for name in others
        },
        'about': about.model_dump(),
        'records': [record.model_dump() for record in keep_worst_strips(records)],
    }


def merge(paths: Sequence[Path]) -> Results:
    """Join the results of several files, such as shards.

    Raises:
        ConfigError: A file cannot be read, is of another run, or repeats a record; or records are
            missing.
    """
    parts = [read(path) for path in paths]
    records: dict[str, SequenceRecord] = {}
    for path, part in zip(paths, parts, strict=True):
        for name, value in part.about:
            expected = getattr(parts[0].about, name)
            if name != 'machine' and value != expected:
                raise ConfigError(
                    f'{path}: expected {name} as in {paths[0]}, {expected!r}, got {value!r}'
                )
        for record in part.records:
            key = f'{record.variant} {record.sequence} {record.condition}'
            if key in records:
                raise ConfigError(f'{path}: expected new records, got one more of {key}')
            records[key] = record
    joined = Results(about=parts[0].about, records=list(records.values()))
    _check_complete(joined)
    return joined


def in_order(results: Results) -> list[SequenceRecord]:
    """Return the records in the order of sequences, variants and conditions."""
    variants = list(results.about.variants)
    conditions = {condition: i for i, condition in enumerate(results.about.conditions)}
    return sorted(
        results.records,
        key=lambda r: (
            natural_key(r.sequence),
            variants.index(r.variant),
            conditions[r.condition],
        ),
    )


def _check_complete(results: Results) -> None:
    """Raise ConfigError unless every variant has every sequence under every condition."""
    have = {(r.sequence, r.variant, r.condition) for r in results.records}
    for sequence in sorted({record.sequence for record in results.records}):
        for variant in results.about.variants:
            for condition in results.about.conditions:
                if (sequence, variant, condition) not in have:
                    raise ConfigError(
                        f'expected all records of {sequence}, got none of {variant} under '
                        f'{condition.corruption} {condition.severity:g}; merge all shards'
                    )


def read(path: Path) -> Results:
    """Read a file of results.

    Raises:
        ConfigError: It is missing or no such file.
    """
    content = read_json(path)
    try:
        return Results(about=content['about'], records=content['records'])
    except (KeyError, pydantic.ValidationError) as error:
        raise ConfigError(
            f'{path}: expected results of robust-vos evaluate of this version, got {error}'
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file with an object.

    Raises:
        ConfigError: It is missing or has other content.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise ConfigError(f'{path}: expected a JSON file, got {error}') from error
    if not isinstance(content, dict):
        raise ConfigError(f'{path}: expected a JSON object, got {type(content).__name__}')
    return content


def keep_worst_strips(records: Sequence[SequenceRecord]) -> list[SequenceRecord]:
    """Return the records; for each variant only the worst ones keep their strips."""
    taken: Counter[tuple[str, str]] = Counter()
    kept: dict[str, set[int]] = {}
    for position in sorted(range(len(records)), key=lambda i: worst_score(records[i])):
        record = records[position]
        mine = kept.setdefault(record.variant, set())
        key = record.variant, record.sequence
        if len(mine) < _NUM_STRIPS and taken[key] < _STRIPS_PER_SEQUENCE:
            taken[key] += 1
            mine.add(position)
    return [
        record if position in kept[record.variant] else record.model_copy(update={'strip': ''})
        for position, record in enumerate(records)
    ]


def worst_score(record: SequenceRecord) -> tuple[float, float]:
    """Return the smallest and the mean J after the frame of the prompt, 1 without such frames."""
    values = [j for item in record.objects for j in item.j[1:]]
    return (min(values), float(np.mean(values))) if values else (1.0, 1.0)
