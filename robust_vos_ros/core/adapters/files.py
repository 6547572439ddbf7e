"""Attach, detach, save and load adapters.

An adapter file holds low-rank parts, gates, offsets of LayerNorm parameters and changes of the
image encoder, and names the model it was trained for. The file of the model is not changed;
offsets and changes are folded into its parameters while the adapter is attached.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from robust_vos_ros.core.adapters.encoder import EncoderAdapter, EncoderFold, find_modules
from robust_vos_ros.core.adapters.moga import Moga
from robust_vos_ros.core.adapters.settings import AdapterSettings
from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.settings import parse_settings

_FORMAT = 'robust_vos adapter 1'
_NORM_PREFIX = 'layer_norm.'


def make_adapter(model: Model, settings: AdapterSettings) -> Moga:
    """Return an untrained adapter, with which the model's outputs do not change."""
    modules = find_modules(model.net.image_encoder, settings.places)
    return Moga(
        settings,
        dim=model.hidden_dim,
        pointer_dim=model.hidden_dim,
        memory_dim=model.memory_dim,
        num_layers=len(model.net.memory_attention.layers),
        encoder=EncoderAdapter(settings, modules, model.hidden_dim) if modules else None,
    ).to(model.device)


def attach(model: Model, adapter: Moga, norms: dict[str, torch.Tensor] | None = None) -> None:
    """Attach an adapter to a model in place of its present one.

    Args:
        model: The model.
        adapter: Made for this model.
        norms: Offsets of parameters of the model, by name.
    """
    detach(model)
    parameters = dict(model.net.named_parameters())
    originals = {}
    with torch.no_grad():
        for name, change in (norms or {}).items():
            originals[name] = parameters[name].detach().clone()
            parameters[name].add_(change.to(parameters[name]))
    model.adapter = adapter
    if adapter.encoder is not None:
        model.image_encoder.fold = EncoderFold(model.net.image_encoder, adapter.encoder)
    model.adapter_originals = originals


def use(model: Model, path: Path | None) -> None:
    """Attach the adapter of a file, or none; on an error the model keeps its adapter.

    Raises:
        WeightsError: As `load_adapter`.
    """
    if path is None:
        detach(model)
        return
    attach(model, *load_adapter(path, model))
    model.adapter_name = path.stem


def detach(model: Model) -> None:
    """Remove the adapter, if any, and restore the model's parameters."""
    parameters = dict(model.net.named_parameters())
    with torch.no_grad():
        for name, original in model.adapter_originals.items():
            parameters[name].copy_(original)
    if model.image_encoder.fold is not None:
        model.image_encoder.fold.undo()
    model.image_encoder.fold = None
    model.adapter = None
    model.adapter_originals = {}
    model.adapter_name = 'none'


def norm_names(model: Model, settings: AdapterSettings) -> list[str]:
    """Return the names of the LayerNorm parameters whose offsets an adapter has, in order."""
    if settings.layer_norms == 'none' or 'attention' not in settings.places:
        return []
    return [
        f'memory_attention.{module_name}.{name}'
        for module_name, module in model.net.memory_attention.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters(recurse=False)
    ]


def count_parameters(model: Model, adapter: Moga) -> int:
    """Return the number of trained parameters: the adapter and its LayerNorms."""
    parameters = dict(model.net.named_parameters())
    norms = sum(parameters[name].numel() for name in norm_names(model, adapter.settings))
    return norms + sum(parameter.numel() for parameter in adapter.parameters())


def save_adapter(
    path: Path,
    adapter: dict[str, torch.Tensor],
    norms: dict[str, torch.Tensor],
    settings: AdapterSettings,
    *,
    model: str,
    weights_sha256: str,
) -> None:
    """Write an adapter file.

    Args:
        path: `.safetensors` file.
        adapter: State of a `Moga`.
        norms: Offsets of parameters of the model, by name.
        settings: Of the adapter.
        model: Name of the model it was trained for.
        weights_sha256: Hash of that model's weights file.
    """
    header = {
        'format': _FORMAT,
        'model': model,
        'weights_sha256': weights_sha256,
        'settings': settings.model_dump(),
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in adapter.items()}
    tensors |= {_NORM_PREFIX + n: t.detach().cpu().contiguous() for n, t in norms.items()}
    safetensors.torch.save_file(tensors, path, {'robust_vos': json.dumps(header, sort_keys=True)})


def load_adapter(path: Path, model: Model) -> tuple[Moga, dict[str, torch.Tensor]]:
    """Read an adapter for a model, without attaching it.

    Returns:
        The adapter on the device of the model, and its offsets of LayerNorm parameters.

    Raises:
        WeightsError: The file is missing, damaged, not an adapter, or for another model or
            weights.
    """
    header, tensors = _read(path)
    for key, have in (('model', model.name), ('weights_sha256', model.weights_hash)):
        if header[key] != have:
            raise WeightsError(
                f'{path}: expected an adapter of {key} {have}, got one of {header[key]}; train '
                'it for this model, or run the model it belongs to'
            )
    try:
        settings = parse_settings(AdapterSettings, header['settings'])
    except ConfigError as error:
        raise WeightsError(f'{path}: expected the settings of an adapter, got {error}') from error
    adapter = make_adapter(model, settings)
    norms = {n.removeprefix(_NORM_PREFIX): t for n, t in tensors.items() if _NORM_PREFIX in n}
    state = {name: t for name, t in tensors.items() if _NORM_PREFIX not in name}
    _check(path, 'adapter', {n: t.shape for n, t in adapter.state_dict().items()}, state)
    parameters = dict(model.net.named_parameters())
    _check(
        path, 'LayerNorms', {n: parameters[n].shape for n in norm_names(model, settings)}, norms
    )
    adapter.load_state_dict(state)
    return adapter.eval().requires_grad_(False), norms


def is_adapter(path: Path) -> bool:
    """Whether a file is an adapter, not the weights of a model."""
    try:
        _read(path)
    except WeightsError:
        return False
    return True


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the header and the tensors of an adapter file."""
    try:
        with safetensors.safe_open(path, framework='pt') as file:
            header = json.loads((file.metadata() or {})['robust_vos'])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if header['format'] != _FORMAT or not {'model', 'weights_sha256', 'settings'} <= set(
            header
        ):
            raise ValueError(f'format {header["format"]!r}')  # noqa: TRY301
    except Exception as error:  # of safetensors, json and the file system
        raise WeightsError(
            f'{path}: expected an adapter file of robust_vos, got {type(error).__name__}: {error}'
        ) from error
    return header, tensors


def _check(
    path: Path, what: str, expected: dict[str, torch.Size], got: dict[str, torch.Tensor]
) -> None:
    """Raise WeightsError unless names and shapes are the same."""
    shapes = {name: tensor.shape for name, tensor in got.items()}
    if shapes != expected:
        differing = sorted(
            name
            for name in shapes.keys() | expected.keys()
            if shapes.get(name) != expected.get(name)
        )
        name = differing[0]
        raise WeightsError(
            f'{path}: expected {what} with {name} {expected.get(name)}, got {shapes.get(name)} '
            f'({len(differing)} tensors differ)'
        )
