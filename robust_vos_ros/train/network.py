"""The network that is trained, and its initial weights."""

from __future__ import annotations

from pathlib import Path

import pooch
import torch
import torch.nn.functional as F
from torch import nn

from robust_vos_ros.core.adapters.files import attach, make_adapter, norm_names
from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network import checkpoints, model_files
from robust_vos_ros.core.network.backbone import MobileNetTrunk
from robust_vos_ros.core.network.checkpoints import OWN_PARTS, build_network
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import load_spec
from robust_vos_ros.core.network.optimize import find_device, keep_freed_memory, speed_up_norms
from robust_vos_ros.train.config import TrainSettings

_BATCH_NORM_EPS = 1e-5
_JOIN_MAPS = 'object_calibration.join_maps.weight'


def build_model(settings: TrainSettings) -> Model:
    """Build the network that is trained, in float32 on its device.

    Raises:
        ConfigError: The model or a frozen part does not exist.
        WeightsError: A file to start from does not fit.
    """
    spec = load_spec(settings.model)
    torch.manual_seed(settings.seed)
    net, path = build_network(spec), None
    if settings.trunk_weights:
        load_mobilenet(net.image_encoder.trunk, Path(settings.trunk_weights).expanduser())
    if settings.weights or settings.adapter:
        path = model_files.find_weights(spec, settings.weights)
        state = checkpoints.read_state_dict(path)
        if not settings.adapter:
            state = _with_untrained_parts(net, state)
        checkpoints.check_keys(path, spec.name, state, net.state_dict())
        net.load_state_dict(state)
    freeze(net, [''] if settings.adapter else settings.frozen)
    speed_up_norms(net)
    speed_up_strides(net)
    device = find_device(settings.device)
    if device.type == 'cpu':
        keep_freed_memory()
    net.train().to(device, memory_format=torch.channels_last)
    model = Model(
        net,
        name=spec.name,
        weights_hash=pooch.file_hash(path) if path else '',
        device=device,
        precision=settings.precision,
        coarse_prompts=spec.coarse_prompts,
        previous_mask=spec.previous_mask,
    )
    if settings.adapter:
        attach(model, make_adapter(model, settings.adapter))
        for name in norm_names(model, settings.adapter):
            net.get_parameter(name).requires_grad_(True)
    return model


def _with_untrained_parts(
    net: nn.Module, state: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Add to weights what they lack of `OWN_PARTS`, so that the model's outputs stay.

    The input of the classifier came later than the rest of object calibration.
    """
    own = net.state_dict()
    for part in OWN_PARTS:
        prefix = part + '.'
        if not any(name.startswith(prefix) for name in state):
            state = state | {name: own[name] for name in own if name.startswith(prefix)}
    if _JOIN_MAPS not in state:
        return state
    maps = state[_JOIN_MAPS]
    missing = own[_JOIN_MAPS].shape[1] - maps.shape[1]
    return state | {_JOIN_MAPS: F.pad(maps, (0, 0, 0, 0, 0, missing))} if missing == 1 else state


def freeze(net: nn.Module, prefixes: list[str]) -> None:
    """Exclude parameters from training by the prefixes of their names.

    Raises:
        ConfigError: No parameter has a prefix.
    """
    for prefix in prefixes:
        found = [p for name, p in net.named_parameters() if name.startswith(prefix)]
        if not found:
            raise ConfigError(f'frozen: expected the prefix of a parameter, got {prefix!r}')
        for parameter in found:
            parameter.requires_grad_(False)


def speed_up_strides(net: nn.Module) -> None:
    """Replace depth-wise convolutions of stride 2 by modules with the same parameters and result.

    On a CPU in bf16, torch's gradient of their input takes 20 times as long as that of stride 1.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1 and module.stride == (2, 2):
            module.__class__ = _StridedConv


class _StridedConv(nn.Conv2d):
    """A convolution of stride 2, computed at every pixel and then thinned out."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        every = F.conv2d(x, self.weight, self.bias, 1, self.padding, self.dilation, self.groups)
        return F.avg_pool2d(every, 1, 2)


def load_mobilenet(trunk: nn.Module, path: Path) -> None:
    """Initialize a `MobileNetTrunk` from a classifier trained on ImageNet.

    Tensors must be in the order of torchvision, with any names: each convolution without bias is
    followed by its batch norm, which is folded into it. Later layers are ignored.

    Raises:
        ConfigError: The model has another trunk.
        WeightsError: The file is not a MobileNetV2.
    """
    if not isinstance(trunk, MobileNetTrunk):
        raise ConfigError('trunk_weights: only a MobileNetTrunk can start from MobileNetV2')
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
        tensors = list(state.values())
        starts = [index for index, tensor in enumerate(tensors) if tensor.ndim == 4]
        convolutions = [m for m in trunk.modules() if isinstance(m, nn.Conv2d)]
        for start, convolution in zip(starts, convolutions, strict=False):
            _fold(convolution, tensors[start : start + 5])
    except Exception as error:  # anything from FileNotFoundError to shapes that do not fit
        raise WeightsError(
            f'{path} is not a MobileNetV2 checkpoint in the layout of torchvision: {error}'
        ) from error
    if len(starts) < len(convolutions):
        raise WeightsError(
            f'{path}: expected at least {len(convolutions)} convolutions, got {len(starts)}'
        )


@torch.no_grad()
def _fold(convolution: nn.Conv2d, tensors: list[torch.Tensor]) -> None:
    """Fold a batch norm (gain, offset, mean, variance) into the convolution before it."""
    weight, gain, offset, mean, variance = (tensor.double() for tensor in tensors)
    if weight.shape != convolution.weight.shape:
        raise ValueError(f'expected {tuple(convolution.weight.shape)}, got {tuple(weight.shape)}')
    scale = gain / (variance + _BATCH_NORM_EPS).sqrt()
    convolution.weight.copy_(weight * scale[:, None, None, None])
    convolution.bias.copy_(offset - mean * scale)
