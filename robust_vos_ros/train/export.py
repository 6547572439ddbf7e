"""The result of a training: the weights of a model, or an adapter for it."""

from __future__ import annotations

from pathlib import Path

import safetensors.torch
import torch

from robust_vos_ros.core.adapters.files import norm_names, save_adapter
from robust_vos_ros.core.network.model import Model

WEIGHTS_FILE = 'weights.safetensors'
ADAPTER_FILE = 'adapter.safetensors'
_NORM = 'norm.'


class Export:
    """The trained tensors, and the file that they are written to.

    Args:
        model: The trained model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._norms: dict[str, torch.Tensor] = {}  # values before training
        if self._model.adapter is not None:
            names = norm_names(self._model, self._model.adapter.settings)
            parameters = dict(self._model.net.named_parameters())
            self._norms = {name: parameters[name].detach().clone() for name in names}

    @property
    def file(self) -> str:
        """Name of the file."""
        return WEIGHTS_FILE if self._model.adapter is None else ADAPTER_FILE

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the current tensors by name."""
        if self._model.adapter is None:
            return self._model.net.state_dict()
        parameters = dict(self._model.net.named_parameters())
        norms = {_NORM + name: parameters[name].detach() for name in self._norms}
        return self._model.adapter.state_dict() | norms

    def save(self, path: Path, tensors: dict[str, torch.Tensor]) -> None:
        """Write tensors: weights in half precision, or an adapter with the changes of norms."""
        self._write(path, tensors)
        path.chmod(0o644)

    def _write(self, path: Path, tensors: dict[str, torch.Tensor]) -> None:
        adapter = self._model.adapter
        if adapter is None:
            half = {
                name: (tensor.half() if tensor.is_floating_point() else tensor).cpu().contiguous()
                for name, tensor in tensors.items()
            }
            safetensors.torch.save_file(half, path)
            return
        save_adapter(
            path,
            {name: t for name, t in tensors.items() if not name.startswith(_NORM)},
            {name: tensors[_NORM + name] - before for name, before in self._norms.items()},
            adapter.settings,
            model=self._model.name,
            weights_sha256=self._model.weights_hash,
        )
