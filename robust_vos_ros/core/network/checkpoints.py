"""Build networks from model files, and load their weights."""

from __future__ import annotations

import hashlib
import importlib.resources
from pathlib import Path
from typing import Any

import pooch
import safetensors
import safetensors.torch
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.confidence.calibration import read_calibration
from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network.graphs.runtimes import GraphModel, check_runtime
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import (
    ModelSpec,
    find_adapter,
    find_calibration,
    find_weights,
    find_words,
    load_spec,
)
from robust_vos_ros.core.network.object_calibration import ObjectCalibration
from robust_vos_ros.core.network.optimize import (
    find_device,
    find_precision,
    keep_freed_memory,
    optimize,
)
from robust_vos_ros.core.network.prompt_refiner import PromptRefiner
from robust_vos_ros.core.settings import (
    ModelSettings,
)
from robust_vos_ros.core.words.finder import WordFinder

# Parts that a network has beside those of sam2, by the names of their sections in a model file;
# their parameters are named likewise.
OWN_PARTS = ('object_calibration', 'prompt_refiner')

# Settings that `build_sam2_video_predictor` of sam2 adds to the packaged configurations.
_POSTPROCESSING = {
    'binarize_mask_from_pts_for_mem_enc': True,
    'sam_mask_decoder_extra_args': {
        'dynamic_multimask_via_stability': True,
        'dynamic_multimask_stability_delta': 0.05,
        'dynamic_multimask_stability_thresh': 0.98,
    },
}


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


def _megabytes(path: Path) -> str:
    return f'{path.stat().st_size / 1e6:.1f} MB' if path.exists() else 'missing'


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
    """Return the model file, without those of `OWN_PARTS` that the weights do not contain."""
    trained = {name.split('.')[0] for name in state}
    return spec.model_copy(update={part: None for part in OWN_PARTS if part not in trained})


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
    net.object_calibration = net.prompt_refiner = None
    if spec.object_calibration is not None:
        wide = net.image_encoder.trunk.channel_list  # coarsest first
        net.object_calibration = ObjectCalibration(
            spec.object_calibration, net.hidden_dim, (wide[-2], wide[-3])
        )
    if spec.prompt_refiner is not None:
        net.prompt_refiner = PromptRefiner(spec.prompt_refiner, net.hidden_dim)
    return net
