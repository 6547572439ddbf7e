"""Model files: `config/models/NAME.yaml` describes a network and where its weights are."""

from __future__ import annotations

from typing import Any

import pydantic

from robust_vos_ros.core.config import Settings, config_dir, load_yaml, parse_settings
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.object_calibration import CalibrationSettings


class ModelSpec(Settings):
    """One model file.

    Attributes:
        base: YAML inside the installed `sam2` package that the network starts from.
        overrides: Values that replace parts of `base`.
        replace: Dotted sections of `base` that are emptied before the overrides apply.
        file: File name of the weights, in the package's `weights/` or in the cache.
        url: Where to download them; empty for shipped weights.
        sha256: Their checksum; empty for shipped weights.
        adapter: Name of the adapter shipped with the model; empty = none.
        coarse_prompts: The network was trained to get points and boxes also as a coarse mask.
        previous_mask: The network was trained to get the mask of the frame before.
        object_calibration: Size and parts of the object calibration; None = the network has none.
        license: Terms of the weights, for users.
    """

    name: str
    description: str
    base: str
    file: str
    license: str
    url: str = ''
    sha256: str = ''
    adapter: str = ''
    coarse_prompts: bool = False
    previous_mask: bool = False
    object_calibration: CalibrationSettings | None = None
    size_bytes: int = pydantic.Field(0, ge=0)
    overrides: dict[str, Any] = pydantic.Field(default_factory=dict)
    replace: list[str] = pydantic.Field(default_factory=list)


def model_names() -> list[str]:
    """Return the names of all model files, sorted."""
    return sorted(path.stem for path in (config_dir() / 'models').glob('*.yaml'))


def load_spec(name: str) -> ModelSpec:
    """Read a model file.

    Raises:
        ConfigError: There is no such model, or its file is malformed.
    """
    if name not in model_names():
        raise ConfigError(f'unknown model {name!r}; expected one of {", ".join(model_names())}')
    values = load_yaml(config_dir() / 'models' / f'{name}.yaml')
    return parse_settings(ModelSpec, {'name': name, **values})
