"""What made a mask: model, weights, adapter and version, as it is written beside the masks."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pooch

from robust_vos_ros.core.config import ModelSettings, load_yaml, parse_settings
from robust_vos_ros.core.model_spec import load_spec
from robust_vos_ros.core.weights import find_adapter, find_weights

_GROUP = 'model'  # of the settings that say what makes the masks


def package_version() -> str:
    """Return the version of this package, `unknown` where it was not installed."""
    try:
        return importlib.metadata.version('robust_vos_ros')
    except importlib.metadata.PackageNotFoundError:
        return 'unknown'


def read_model_settings(params_file: Path) -> ModelSettings:
    """Return the model settings in a parameter file of the node, written nested or with dots.

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
    """Return model, weights_hash, adapter and version, without loading the model.

    Raises:
        ConfigError: There is no such model.
        WeightsError: The weights or the adapter are missing.
    """
    spec = load_spec(settings.name)
    adapter = find_adapter(settings)
    return {
        'model': spec.name,
        'weights_hash': pooch.file_hash(find_weights(spec, settings.checkpoint)),
        'adapter': 'none' if adapter is None else adapter.stem,
        'version': package_version(),
    }
