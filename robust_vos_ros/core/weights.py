"""Find, download, check and read checkpoints."""

from __future__ import annotations

from pathlib import Path

import pooch
import requests
import safetensors
import safetensors.torch
import torch

from robust_vos_ros.core.config import ModelSettings, cache_dir
from robust_vos_ros.core.errors import WeightsError
from robust_vos_ros.core.model_spec import ModelSpec, load_spec, model_names

_SHIPPED = Path(__file__).resolve().parents[1] / 'weights'


def find_weights(spec: ModelSpec, checkpoint: str = '') -> Path:
    """Return the weights file of a model: `checkpoint`, the shipped file or the cached one.

    Raises:
        WeightsError: The file does not exist; says where it is expected and how to get it.
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


def find_adapter(settings: ModelSettings) -> Path | None:
    """Return the file of the adapter that settings ask for, None for none.

    Raises:
        ConfigError: There is no such model.
        WeightsError: There is no such file.
    """
    name = settings.adapter
    if name == 'auto':  # the shipped adapter belongs to the shipped weights
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
    """Return the names of the adapters that came with the package, sorted."""
    models = model_names()
    return sorted(p.stem for p in _SHIPPED.glob('*.safetensors') if p.stem not in models)


def find_calibration(settings: ModelSettings, weights: Path) -> Path | None:
    """Return the calibration file that settings ask for, None for none.

    Args:
        settings: `auto` takes the file beside the weights, if there is one.
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


def fetch_weights(spec: ModelSpec, *, progress: bool = True) -> Path:
    """Download the weights of a model into the cache, unless they are there already.

    Raises:
        WeightsError: There is no network, or what came has another checksum.
    """
    if not spec.url:
        return find_weights(spec)
    try:
        path = pooch.retrieve(
            spec.url, f'sha256:{spec.sha256}', spec.file, cache_dir(), progressbar=progress
        )
    except ValueError as error:
        raise WeightsError(
            f'{spec.url} did not deliver the expected file: {error}; try again, or put '
            f'{spec.file} with sha256 {spec.sha256} into {cache_dir()}'
        ) from error
    except (requests.RequestException, OSError) as error:
        raise WeightsError(
            f'cannot download {spec.url} ({type(error).__name__}); on a machine with a network '
            f'download it there and put it at {cache_dir() / spec.file}'
        ) from error
    return Path(path)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read a `.safetensors` file, or a PyTorch checkpoint shaped `{'model': state_dict}`.

    Raises:
        WeightsError: The file is truncated, of another format, or holds something else.
    """
    try:
        if path.suffix == '.safetensors':
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises anything from EOFError to UnpicklingError here
        raise WeightsError(
            f'{path} ({_megabytes(path)}) is not a readable checkpoint ({type(error).__name__}); '
            'it may be truncated: download it again'
        ) from error
    state = content.get('model') if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise WeightsError(
            f"{path} must hold {{'model': state_dict}} as SAM 2 checkpoints do, "
            f'got {type(content).__name__}'
        )
    return state


def check_keys(
    path: Path, name: str, have: dict[str, torch.Tensor], want: dict[str, torch.Tensor]
) -> None:
    """Compare a checkpoint with the network it is meant for.

    Raises:
        WeightsError: A key is missing, unexpected or of another shape; names the first of each.
    """
    missing = sorted(want.keys() - have.keys())
    unexpected = sorted(have.keys() - want.keys())
    reshaped = sorted(k for k in want.keys() & have.keys() if want[k].shape != have[k].shape)
    if not (missing or unexpected or reshaped):
        return
    parts = []
    if missing:
        parts.append(f'{len(missing)} missing tensors (first: {missing[0]})')
    if unexpected:
        parts.append(f'{len(unexpected)} unexpected tensors (first: {unexpected[0]})')
    if reshaped:
        first = reshaped[0]
        parts.append(
            f'{len(reshaped)} tensors of another shape (first: {first}, '
            f'expected {tuple(want[first].shape)}, got {tuple(have[first].shape)})'
        )
    raise WeightsError(f'{path} does not fit model {name}: {"; ".join(parts)}')


def _shipped(spec: ModelSpec) -> Path:
    return _SHIPPED / spec.file


def _megabytes(path: Path) -> str:
    return f'{path.stat().st_size / 1e6:.1f} MB' if path.exists() else 'missing'
