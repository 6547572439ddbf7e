"""Build the network a model file describes, load its weights and make it fast."""

from __future__ import annotations

import importlib.resources
import platform
from typing import Any

import pooch
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from robust_vos_ros.core import adapters, weights
from robust_vos_ros.core.allocator import keep_freed_memory
from robust_vos_ros.core.calibration import read_calibration
from robust_vos_ros.core.config import ModelSettings
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.fusion import optimize
from robust_vos_ros.core.model import Model
from robust_vos_ros.core.model_spec import ModelSpec, load_spec
from robust_vos_ros.core.object_calibration import ObjectCalibration

# How the names of its parameters begin.
OBJECT_CALIBRATION = 'object_calibration.'

# What `build_sam2_video_predictor` of sam2 sets on top of the packaged configurations.
_POSTPROCESSING = {
    'binarize_mask_from_pts_for_mem_enc': True,
    'sam_mask_decoder_extra_args': {
        'dynamic_multimask_via_stability': True,
        'dynamic_multimask_stability_delta': 0.05,
        'dynamic_multimask_stability_thresh': 0.98,
    },
}


def load_model(settings: ModelSettings) -> Model:
    """Build a network and load its weights.

    Raises:
        ConfigError: The model, device or precision is not available.
        WeightsError: The weights, the adapter or the calibration are missing or do not fit.
    """
    spec = load_spec(settings.name)
    device = find_device(settings.device)
    precision = find_precision(settings.precision, device)
    if device.type == 'cpu':
        keep_freed_memory()
    if settings.num_threads:
        torch.set_num_threads(settings.num_threads)
    path = weights.find_weights(spec, settings.checkpoint)
    state = weights.read_state_dict(path)
    net = build_network(without_untrained(spec, state))
    weights.check_keys(path, spec.name, state, net.state_dict())
    net.load_state_dict(state, strict=True)
    optimize(net.eval().requires_grad_(False), device, precision)
    model = Model(
        net,
        name=spec.name,
        weights_hash=pooch.file_hash(path),
        device=device,
        precision=precision,
        coarse_prompts=spec.coarse_prompts,
        previous_mask=spec.previous_mask,
    )
    adapters.use(model, weights.find_adapter(settings))
    file = weights.find_calibration(settings, path)
    if file is not None:
        model.calibration = read_calibration(
            file, model=model.name, weights_sha256=model.weights_hash, hidden_dim=model.hidden_dim
        )
        model.looks = model.calibration.looks
    return model


def without_untrained(spec: ModelSpec, state: dict[str, torch.Tensor]) -> ModelSpec:
    """Return the model file less the object calibration if the weights were trained without it."""
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
        ConfigError: The model file names something that does not exist in sam2.
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


def find_device(name: str) -> torch.device:
    """Return a torch device that works.

    Raises:
        ConfigError: It does not.
    """
    if name == 'auto':
        return torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f'device {name!r} is not available on this machine ({error}); use auto or cpu'
        ) from error
    return device


def find_precision(name: str, device: torch.device) -> str:
    """Return fp32 or bf16; `auto` is bf16 where the hardware has it."""
    if name != 'auto':
        return name
    if device.type == 'cuda':
        return 'bf16' if torch.cuda.is_bf16_supported(including_emulation=False) else 'fp32'
    native = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001 (torch has no other)
    return 'bf16' if native else 'fp32'


def device_name(device: torch.device) -> str:
    """Return the name of a GPU, or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else cpu_name()


def cpu_name() -> str:
    """Return what the system calls its processor."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:  # noqa: PTH123 (not a path of ours)
            names = [line.split(':')[1].strip() for line in file if line.startswith('model name')]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()
