"""Variants of a comparison, parsed from options: models, adapters, settings of the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robust_vos_ros.core.adapters.files import is_adapter
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.optimize import find_device, find_precision
from robust_vos_ros.core.settings import ModelSettings, parse_settings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.eval.compare import parse_weights
from robust_vos_ros.eval.tasks import Variant


def make_variants(
    text: str, *, model: str, checkpoint: str, device: str, changes: Sequence[str] = ()
) -> list[Variant]:
    """Return the variants of a comparison.

    Args:
        text: Names separated by commas: `base` is the model without adapter, `restored` the same
            on denoised images, `uncalibrated` the same without its calibration; the name of an
            adapter shipped with the model, such as `moga`; NAME=FILE of an adapter for it;
            otherwise as in `compare.parse_weights`.
        model: Model of `base`.
        checkpoint: Weights of `base`; empty = its own.
        device: Torch device.
        changes: Settings of the tracker, each as NAME:tracking.KEY=VALUE; before them
            NAME:tracking=plain may select those of SAM 2. A NAME that is not in `text` is one more
            variant of `base`.

    Raises:
        ConfigError: A variant has another form or is named twice, or a setting is unknown.
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
    """Return the settings of the tracker by the name of the variant."""
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
                f'gate:tracking.memory.min_confidence=0.5, or NAME:tracking=plain, got {change!r}'
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
    """Return an absolute path, for other processes; empty for none."""
    return str(Path(path).expanduser().resolve()) if path else ''


def _fixed(device: str) -> dict[str, Any]:
    """Return the settings that are `auto` by default with their actual values."""
    where = find_device(device)
    return {
        'device': str(where), 'precision': find_precision('auto', where), 'num_threads': 1
    }  # fmt: skip
