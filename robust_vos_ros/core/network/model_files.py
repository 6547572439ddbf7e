"""Model files (config/models), and the files of a model: weights, adapter, words, calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydantic

from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network.object_calibration import CalibrationSettings
from robust_vos_ros.core.network.prompt_refiner import RefinerSettings
from robust_vos_ros.core.settings import (
    ModelSettings,
    Settings,
    cache_dir,
    config_dir,
    load_yaml,
    parse_settings,
)

_SHIPPED = Path(__file__).resolve().parents[2] / 'weights'
_WORDS = '_words'  # in the name of the file for words, after that of the model


class ModelSpec(Settings):
    """One model file.

    Attributes:
        base: YAML file of the installed `sam2` package that is the base configuration.
        overrides: Values that replace those of `base`.
        replace: Dotted sections of `base` that are removed before the overrides apply.
        file: File name of the weights, in the package's `weights/` or in the cache.
        url: Download address of the weights; empty for shipped ones.
        sha256: Checksum of the weights; empty for shipped ones.
        adapter: Name of the adapter shipped with the model; empty = none.
        coarse_prompts: Whether the decoder gets points and boxes also as a coarse mask.
        previous_mask: Whether the decoder gets the mask of the previous frame.
        object_calibration: Size and parts of the object calibration; None = the network has none.
        prompt_refiner: Size of the refiner of prompted masks; None likewise.
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
    prompt_refiner: RefinerSettings | None = None
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


def find_weights(spec: ModelSpec, checkpoint: str = '') -> Path:
    """Return the weights file of a model: `checkpoint`, the shipped file or the cached one.

    Raises:
        WeightsError: The file does not exist; the message says where it should be and how to get
            it.
    """
    if checkpoint:
        path = Path(checkpoint).expanduser()
        if not path.is_file():
            raise WeightsError(f'checkpoint {path} does not exist; correct model.checkpoint')
        return path
    for path in (_shipped(spec), cache_dir() / spec.file):
        if path.is_file():
            return path
    if spec.url:
        raise WeightsError(
            f'the weights of {spec.name} are not here; run `robust-vos weights fetch {spec.name}` '
            f'or put {spec.file} into {cache_dir()}'
        )
    raise WeightsError(
        f'{_shipped(spec)} is missing; if {spec.name} is shipped, install the package again, '
        'otherwise train it (docs/training.md) and set model.checkpoint'
    )


def find_words(settings: ModelSettings) -> Path | None:
    """Return the words file that the settings name, or None.

    Raises:
        WeightsError: The file does not exist.
    """
    if settings.words == 'none':
        return None
    if settings.words == 'auto':
        path = _SHIPPED / f'{settings.name}{_WORDS}.safetensors'
        return path if path.is_file() else None
    path = Path(settings.words).expanduser()
    if not path.is_file():
        raise WeightsError(f'words {path} does not exist; correct model.words')
    return path


def find_adapter(settings: ModelSettings) -> Path | None:
    """Return the adapter file that the settings name, or None.

    Raises:
        ConfigError: There is no such model.
        WeightsError: There is no such file.
    """
    name = settings.adapter
    if name == 'auto':  # the shipped adapter fits only the shipped weights
        name = '' if settings.checkpoint else load_spec(settings.name).adapter
    if name in {'', 'none'}:
        return None
    known = ', '.join(['auto', 'none', *shipped_adapters()])
    for path in (_SHIPPED / f'{name}.safetensors', Path(name).expanduser()):
        if path.is_file():
            return path
    raise WeightsError(
        f'adapter: expected a file or one of {known}, got {name!r}; docs/training.md says how to '
        'train one'
    )


def shipped_adapters() -> list[str]:
    """Return the names of the shipped adapters, sorted."""
    models = model_names()
    others = {*models, *(f'{name}{_WORDS}' for name in models)}
    return sorted({path.stem for path in _SHIPPED.glob('*.safetensors')} - others)


def find_calibration(settings: ModelSettings, weights: Path) -> Path | None:
    """Return the calibration file that the settings name, or None.

    Args:
        settings: Of the model; `auto` = the file beside the weights, if any.
        weights: The file of the weights.

    Raises:
        WeightsError: There is no such file.
    """
    if settings.calibration == 'none':
        return None
    if settings.calibration == 'auto':
        beside = weights.with_suffix('.calibration.json')
        return beside if beside.is_file() else None
    path = Path(settings.calibration).expanduser()
    if not path.is_file():
        raise WeightsError(
            f'calibration {path} does not exist; correct model.calibration, or make one with '
            'robust-vos calibrate'
        )
    return path


def _shipped(spec: ModelSpec) -> Path:
    return _SHIPPED / spec.file
