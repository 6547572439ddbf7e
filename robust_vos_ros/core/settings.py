"""Every setting of the engine, defined once: type, default, unit, range and description.

YAML files, the command line and ROS parameters are all made from these models. Unknown keys are
errors. `dynamic` settings may change while tracking; the others need a restart of the engine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, TypeVar

import pydantic
import yaml

from robust_vos_ros.core.errors import ConfigError

T = TypeVar('T', bound='Settings')


class Settings(pydantic.BaseModel):
    """Base of all settings: immutable, and unknown keys are errors."""

    model_config = pydantic.ConfigDict(extra='forbid', frozen=True, validate_default=True)


def setting(
    default: Any, description: str, *, unit: str = '', dynamic: bool = False, **bounds: Any
) -> Any:
    """Declare one setting.

    Args:
        default: Default value.
        description: One sentence for users.
        unit: Physical unit, empty for pure numbers and choices.
        dynamic: Whether it may change while the node is active.
        bounds: `ge`, `gt`, `le`, `lt` of pydantic.
    """
    extra: dict[str, Any] = {'unit': unit, 'dynamic': dynamic}
    return pydantic.Field(default, description=description, json_schema_extra=extra, **bounds)


class ModelSettings(Settings):
    """Which network runs, and where."""

    name: str = setting('nano', 'Model: a file name in config/models without its ending.')
    checkpoint: str = setting(
        '', 'Path of a checkpoint; empty = the shipped file or the cache of `robust-vos weights`.'
    )
    device: str = setting('auto', 'Torch device: auto (cuda when present, else cpu), cpu, cuda:N.')
    precision: Literal['auto', 'fp32', 'bf16'] = setting(
        'auto', 'Arithmetic: auto = bf16 where the hardware has it, fp32 elsewhere.'
    )
    num_threads: int = setting(
        0, 'CPU threads of torch; 0 = as many as torch chooses.', ge=0, le=256
    )
    adapter: str = setting(
        'auto',
        'Adapter for adverse weather: auto = the one shipped with the model, if any; none; the '
        'name of a shipped one; or a file.',
        dynamic=True,
    )
    calibration: str = setting(
        'auto',
        'What makes P(IoU > 0.5) of the predictions of the network: auto = the calibration file '
        'beside its weights, if any; none; or a file of `robust-vos calibrate`.',
    )


DiscontinuityPolicy = Literal['keep', 'reset_memory', 'remove_objects']
POLICIES = (
    'keep = go on, reset_memory = keep the objects and their prompts but forget recent frames, '
    'remove_objects = start over.'
)


class StreamSettings(Settings):
    """What breaks in the stream of images do to the tracks."""

    on_time_jump: DiscontinuityPolicy = setting(
        'reset_memory', 'What to do when time goes backwards (a bag starts again): ' + POLICIES,
        dynamic=True,
    )  # fmt: skip
    time_jump_tolerance_s: float = setting(
        0.2, 'Stamps may step back by this much (clock corrections) without being a time jump.',
        unit='s', dynamic=True, ge=0.0, le=60.0,
    )  # fmt: skip
    on_resolution_change: DiscontinuityPolicy = setting(
        'keep', 'What to do when the image size changes: ' + POLICIES, dynamic=True
    )
    on_frame_id_change: DiscontinuityPolicy = setting(
        'reset_memory', 'What to do when header.frame_id changes (another camera): ' + POLICIES,
        dynamic=True,
    )  # fmt: skip


class Scale16Settings(Settings):
    """How 16-bit images become the 8-bit ones that the model sees."""

    method: Literal['range', 'percentiles'] = setting(
        'range',
        'What becomes black and white in a 16-bit image: range = the values low and high, for '
        'every image the same; percentiles = what is seen of each image, for a thermal camera.',
        dynamic=True,
    )
    low: int = setting(0, 'Value that becomes black (range).', dynamic=True, ge=0, le=65534)
    high: int = setting(
        65535, 'Value that becomes white (range); above low.', dynamic=True, ge=1, le=65535
    )
    percentile_low: float = setting(
        1.0, 'Share of the pixels that becomes black (percentiles).',
        unit='%', dynamic=True, ge=0.0, le=50.0,
    )  # fmt: skip
    percentile_high: float = setting(
        99.0, 'Share of the pixels that does not become white (percentiles); above '
        'percentile_low.',
        unit='%', dynamic=True, ge=50.0, le=100.0,
    )  # fmt: skip

    @pydantic.model_validator(mode='after')
    def _check_order(self) -> Scale16Settings:
        for low_name, high_name in (('low', 'high'), ('percentile_low', 'percentile_high')):
            low, high = getattr(self, low_name), getattr(self, high_name)
            if low >= high:
                raise ValueError(
                    f'{low_name} must be below {high_name}, got {low:g} and {high:g}; lower '
                    f'{low_name} or raise {high_name}'
                )
        return self


def parse_settings(cls: type[T], values: dict[str, Any]) -> T:
    """Validate a dictionary.

    Raises:
        ConfigError: A key is unknown or a value is out of range; names each of them.
    """
    try:
        return cls(**values)
    except pydantic.ValidationError as error:
        lines = [
            f'{".".join(map(str, item["loc"])) or cls.__name__}: {item["msg"]}'
            + (f', got {item["input"]!r}' if item['type'] != 'value_error' else '')
            for item in error.errors()
        ]
        raise ConfigError('; '.join(lines)) from None


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        ConfigError: The file is missing, not YAML or not a mapping.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise ConfigError(f'cannot read {path}: {error.strerror}') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f'{path} is not valid YAML: {error}') from error
    if not isinstance(data, dict):
        raise ConfigError(f'{path} must hold a mapping of settings, got {type(data).__name__}')
    return data


def config_dir() -> Path:
    """Return the folder `config/` of the source tree, or of the installation around this file.

    Raises:
        ConfigError: Neither exists: the installation is incomplete.
    """
    here = Path(__file__).resolve()
    candidates = [here.parents[2] / 'config']
    candidates += [parent / 'share' / 'robust_vos' / 'config' for parent in here.parents]
    for candidate in candidates:
        if (candidate / 'models').is_dir():
            return candidate
    raise ConfigError(f'no config/models next to or above {here}; install the package again')


def cache_dir() -> Path:
    """Return the folder for downloaded weights (ROBUST_VOS_CACHE, else XDG, else ~/.cache)."""
    override = os.environ.get('ROBUST_VOS_CACHE')
    if override:
        return Path(override)
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'robust_vos'
