"""Model files (config/models), their weights, and building networks from them."""

from __future__ import annotations

import hashlib
import importlib.resources
from pathlib import Path
from typing import Any

import pooch
import pydantic
import safetensors
import safetensors.torch
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.confidence.calibration import read_calibration
from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.object_calibration import CalibrationSettings, ObjectCalibration
from robust_vos_ros.core.network.optimize import (
    find_device,
    find_precision,
    keep_freed_memory,
    optimize,
)
from robust_vos_ros.core.network.runtimes import GraphModel, check_runtime
from robust_vos_ros.core.settings import (
    ModelSettings,
    Settings,
    cache_dir,
    config_dir,
    load_yaml,
    parse_settings,
)
from robust_vos_ros.core.words.finder import WordFinder


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


_SHIPPED = Path(__file__).resolve().parents[2] / 'weights'
_WORDS = '_words'  # in the name of the file for words, after that of the model


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


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Read a `.safetensors` file, or a PyTorch checkpoint shaped `{'model': state_dict}`.

    Raises:
        WeightsError: The file is truncated or of another format.
    """
    try:
        if path.suffix == '.safetensors':
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # torch raises many types, from EOFError to UnpicklingError
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
    """Check that a checkpoint fits a network.

    Raises:
        WeightsError: Keys are missing, unexpected or of another shape; the message names the first
            of each.
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


# Prefix of its parameter names.
OBJECT_CALIBRATION = 'object_calibration.'

# Settings that `build_sam2_video_predictor` of sam2 adds to the packaged configurations.
_POSTPROCESSING = {
    'binarize_mask_from_pts_for_mem_enc': True,
    'sam_mask_decoder_extra_args': {
        'dynamic_multimask_via_stability': True,
        'dynamic_multimask_stability_delta': 0.05,
        'dynamic_multimask_stability_thresh': 0.98,
    },
}


def load_model(settings: ModelSettings, *, portable: bool = False) -> Model:
    """Build a network and load its weights.

    Args:
        settings: Of the model.
        portable: See `optimize`.

    Raises:
        ConfigError: The model, device, precision or runtime is not available.
        WeightsError: The weights, graphs, adapter or calibration are missing or do not fit.
    """
    spec = load_spec(settings.name)
    device = find_device(settings.device)
    precision = find_precision(settings.precision, device)
    if device.type == 'cpu':
        keep_freed_memory()
    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)
    kind: type[Model] = Model
    if settings.runtime != 'torch':
        precision = check_runtime(settings.runtime, device, settings.precision)
        kind = GraphModel
    path = find_weights(spec, settings.checkpoint)
    state = read_state_dict(path)
    net = build_network(without_untrained(spec, state))
    check_keys(path, spec.name, state, net.state_dict())
    net.load_state_dict(state, strict=True)
    optimize(net.eval().requires_grad_(False), device, precision, portable=portable)
    model = kind(
        net,
        name=spec.name,
        weights_hash=pooch.file_hash(path),
        device=device,
        precision=precision,
        coarse_prompts=spec.coarse_prompts,
        previous_mask=spec.previous_mask,
    )
    if isinstance(model, GraphModel) and settings.runtime != 'torch':
        model.use_graphs(settings.runtime, Path(settings.graphs) if settings.graphs else None)
    adapters.use(model, find_adapter(settings))
    model.encoder_hash = hash_encoder(state)
    model.finder = WordFinder(model, find_words(settings), settings.text_encoder)
    file = find_calibration(settings, path)
    if file is not None:
        model.calibration = read_calibration(
            file, model=model.name, weights_sha256=model.weights_hash, hidden_dim=model.hidden_dim
        )
        model.projection = model.calibration.projection
    return model


def hash_encoder(state: dict[str, torch.Tensor]) -> str:
    """Return the SHA-256 of the image encoder in a state dict, which words are trained on."""
    digest = hashlib.sha256()
    for name in sorted(state):
        if name.startswith('image_encoder.'):
            digest.update(name.encode())
            digest.update(state[name].float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def without_untrained(spec: ModelSpec, state: dict[str, torch.Tensor]) -> ModelSpec:
    """Return the model file, without object calibration if the weights do not contain it."""
    if any(name.startswith(OBJECT_CALIBRATION) for name in state):
        return spec
    return spec.model_copy(update={'object_calibration': None})


def build_network(spec: ModelSpec, *, target: str = '') -> Any:
    """Build an untrained network.

    Args:
        spec: The model file.
        target: Dotted class to build instead of `SAM2Base`, with the same configuration.

    Returns:
        A `SAM2Base`, or a `target`.

    Raises:
        ConfigError: The model file does not fit the installed sam2.
    """
    path = importlib.resources.files('sam2') / spec.base
    try:
        config = OmegaConf.load(str(path)).model
        OmegaConf.set_struct(config, False)
        for section in spec.replace:
            OmegaConf.update(config, section, OmegaConf.create({}), merge=False)
        config = OmegaConf.merge(config, _POSTPROCESSING, spec.overrides)
        config.compile_image_encoder = False
        if target:
            config._target_ = target
        net: Any = instantiate(config, _recursive_=True)
    except Exception as error:  # omegaconf and hydra raise many types here
        raise ConfigError(f'model {spec.name} cannot be built from {path}: {error}') from error
    net.object_calibration = None
    if spec.object_calibration is not None:
        net.object_calibration = ObjectCalibration(spec.object_calibration, net.hidden_dim)
    return net
