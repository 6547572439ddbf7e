"""The origin of masks: model, weights, adapter and version, stored with the masks."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pooch

from robust_vos_ros.core.network.model_files import find_adapter, find_weights, load_spec
from robust_vos_ros.core.settings import ModelSettings, config_dir, load_yaml, parse_settings

_GROUP = 'model'  # of the model settings in a parameter file


def package_version() -> str:
    """Return the version of this package."""
    try:
        return importlib.metadata.version('robust_vos_ros')
    except importlib.metadata.PackageNotFoundError:  # in the source tree or a colcon installation
        text = (config_dir().parent / 'package.xml').read_text('utf-8')
        return text.partition('<version>')[2].partition('</version>')[0]


def describe(model: str, weights_sha256: str, adapter: Path | None) -> dict[str, str]:
    """Return the origin of masks, as stored in a bag.

    Args:
        model: Name of the model.
        weights_sha256: Hash of the weights file.
        adapter: File of the adapter, or None.
    """
    return {
        'robust_vos.version': package_version(),
        'robust_vos.model': model,
        'robust_vos.weights_sha256': weights_sha256,
        'robust_vos.adapter': 'none' if adapter is None else adapter.stem,
        'robust_vos.adapter_sha256': '' if adapter is None else pooch.file_hash(adapter),
    }


def read_model_settings(params_file: Path) -> ModelSettings:
    """Return the model settings of a parameter file of the node, with nested or dotted names.

    Raises:
        ConfigError: The file cannot be read, or a setting is wrong.
    """
    values: dict[str, Any] = {}
    for section in load_yaml(params_file).values():
        parameters = section.get('ros__parameters') if isinstance(section, dict) else None
        for name, value in (parameters or {}).items():
            if name == _GROUP:
                values.update(value)
            elif name.startswith(f'{_GROUP}.'):
                values[name.removeprefix(f'{_GROUP}.')] = value
    return parse_settings(ModelSettings, values)


def identify(settings: ModelSettings) -> dict[str, str]:
    """Return the origin for model settings, without loading the model.

    Raises:
        ConfigError: There is no such model.
        WeightsError: The weights or the adapter are missing.
    """
    spec = load_spec(settings.name)
    weights = find_weights(spec, settings.checkpoint)
    return describe(spec.name, pooch.file_hash(weights), find_adapter(settings))
