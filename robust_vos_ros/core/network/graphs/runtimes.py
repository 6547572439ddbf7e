"""Runtimes other than torch: a model whose steps are ONNX graphs where that is faster.

docs/speed.md has the times that decide which steps each runtime gets. What a graph does not fit
(prompts, adapters of the image encoder, more objects than exported) runs in torch.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch

from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network.graphs.files import (
    file_name,
    graphs_folder,
    read_manifest,
)
from robust_vos_ros.core.network.graphs.steps import named
from robust_vos_ros.core.network.mask_decoder import NO_PROMPTS, DecoderPrompts
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.object_calibration import DensePrompt
from robust_vos_ros.core.network.object_proxies import References
from robust_vos_ros.core.network.optimize import find_precision
from robust_vos_ros.core.network.tensors import Candidates, Features
from robust_vos_ros.core.saving.named_tensors import Tensors
from robust_vos_ros.core.stages import stage

Runtime = Literal['onnxruntime', 'openvino']
# The steps that measured faster than in torch (docs/speed.md); the others stay in torch.
STEPS: dict[str, tuple[str, ...]] = {
    'onnxruntime': ('encode', 'calibrate', 'decode', 'remember'),
    'openvino': ('encode', 'calibrate', 'decode'),
}


class Session(Protocol):
    """A compiled graph."""

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """Return new arrays."""


class _OnnxRuntime:
    def __init__(self, path: Path, num_threads: int, precision: str) -> None:
        del precision  # fp32, as its CPU kernels
        runtime = _import('onnxruntime')
        options = runtime.SessionOptions()
        options.intra_op_num_threads = num_threads
        # Its threads must not spin while those of torch work.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        self._session = runtime.InferenceSession(path, options, providers=['CPUExecutionProvider'])

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        return list(self._session.run(None, inputs))


class _OpenVino:
    def __init__(self, path: Path, num_threads: int, precision: str) -> None:
        core = _openvino_core()
        compiled = core.compile_model(
            core.read_model(path),
            'CPU',
            {
                'INFERENCE_PRECISION_HINT': {'fp32': 'f32', 'bf16': 'bf16'}[precision],
                'INFERENCE_NUM_THREADS': num_threads,
                'PERFORMANCE_HINT': 'LATENCY',
            },
        )
        self._outputs = compiled.outputs
        self._request = compiled.create_infer_request()

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        results = self._request.infer(inputs, share_inputs=True)
        return [results[output] for output in self._outputs]


@functools.cache
def _openvino_core() -> Any:
    """Return the one core of the process, which is never released.

    A core gives the thread that compiles a stack for signal handlers. When several cores are
    released, this stack is freed while it is still set, and the next signal ends the process
    (OpenVINO 2026.4.1).
    """
    return _import('openvino').Core()


_SESSIONS: dict[str, type[_OnnxRuntime | _OpenVino]] = {
    'onnxruntime': _OnnxRuntime,
    'openvino': _OpenVino,
}


def check_runtime(runtime: Runtime, device: torch.device, precision: str) -> str:
    """Return the precision of a runtime that is installed: `precision`, or its choice for auto.

    Raises:
        ConfigError: It is not installed, or cannot do what is asked.
    """
    if device.type != 'cpu':
        raise ConfigError(
            f'runtime {runtime} runs on the CPU, got device {device}; set model.device to cpu or '
            'model.runtime to torch'
        )
    if runtime == 'onnxruntime' and precision == 'bf16':
        raise ConfigError(
            'runtime onnxruntime computes in fp32, got precision bf16; set model.precision to '
            'fp32 or auto, or model.runtime to openvino or torch'
        )
    _import(runtime)
    return 'fp32' if runtime == 'onnxruntime' else find_precision(precision, device)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"runtime {name} is not installed: pip install 'robust_vos_ros[{name}]', or set "
            'model.runtime to torch'
        ) from error


class GraphModel(Model):
    """A model that runs graphs where they fit, and torch elsewhere.

    Its results are those of torch up to rounding.
    """

    def use_graphs(self, runtime: Runtime, folder: Path | None = None) -> None:
        """Compile the graphs of this model.

        Args:
            runtime: Installed, see `check_runtime`.
            folder: Written by `robust-vos export`; None = the one in the cache.

        Raises:
            WeightsError: The graphs are missing, damaged or of other weights.
        """
        folder = folder or graphs_folder(self.name, self.weights_hash)
        manifest = read_manifest(folder, self)
        self._buckets = manifest.buckets
        self._graphs: dict[str, Session] = {}
        threads = torch.get_num_threads()
        for name in manifest.inputs:
            if not name.startswith(STEPS[runtime]):
                continue
            try:
                self._graphs[name] = _SESSIONS[runtime](folder / name, threads, self.precision)
            except Exception as error:  # each runtime has types of its own
                raise WeightsError(
                    f'{folder / name} cannot be loaded by {runtime} ({error}); run '
                    f'`robust-vos export {self.name}` again'
                ) from error
        side = self.image_size
        with self.inference():
            self._pos = super().encode(torch.zeros(1, side, side, 3, dtype=torch.uint8)).pos

    @stage('encode')
    def encode(self, images: torch.Tensor, gates: torch.Tensor | None = None) -> Features:
        """As `Model.encode`."""
        fold = self.image_encoder.fold
        if fold is not None:
            fold.see(images.to(self.device))
        adapted = fold is not None and fold.is_on  # the graph has the weights without adapter
        graph = None if adapted else self._find('encode', len(images))
        if graph is None:
            return super().encode(images, gates)
        found = graph.run({'image': images})
        pix, fine, middle = (
            x.to(self._dtype).contiguous(memory_format=torch.channels_last) for x in found[:3]
        )
        embedded = None if self.object_calibration is None else found[3]
        return Features(pix, self._pos, (fine, middle), embedded)

    @stage('calibrate')
    def calibrate(
        self,
        features: Features,
        pix: torch.Tensor,
        references: References | None,
        previous_logits: torch.Tensor,
        *,
        group: torch.Tensor | None = None,
        is_best: torch.Tensor | None = None,
    ) -> DensePrompt | None:
        """As `Model.calibrate`."""
        graph = None if group is not None else self._find('calibrate', len(pix), features)
        if graph is None or features.embedded is None or references is None:
            return super().calibrate(
                features, pix, references, previous_logits, group=group, is_best=is_best
            )
        inputs = {'attended': pix, 'previous': previous_logits}
        inputs['is_best'] = (
            pix.new_ones(len(pix), dtype=torch.bool) if is_best is None else is_best
        )
        inputs |= named(references)
        return DensePrompt(*graph.run(inputs, embedded=features.embedded))

    @stage('decode')
    def decode(
        self, features: Features, pix: torch.Tensor, prompts: DecoderPrompts = NO_PROMPTS
    ) -> Candidates:
        """As `Model.decode`."""
        previous, dense = prompts.previous, prompts.dense
        tracked = (
            prompts.clicks is None
            and prompts.words is None
            and prompts.multimask is None
            and (previous is not None) == self.previous_mask
            and (dense is not None) == (self.object_calibration is not None)
        )
        graph = self._find('decode', len(pix), features) if tracked else None
        if graph is None:
            return super().decode(features, pix, prompts)
        fine, middle = features.high_res
        inputs = {'attended': pix}
        if previous is not None:
            inputs['previous'] = previous
        if dense is not None:
            inputs |= {'coarse': dense.coarse, 'dense_fine': dense.fine, 'scores': dense.scores}
        return Candidates(*graph.run(inputs, fine=fine, middle=middle))

    def encode_memory(
        self,
        features: Features,
        mask_logits: torch.Tensor,
        object_scores: torch.Tensor,
        *,
        prompted: bool,
    ) -> torch.Tensor:
        """As `Model.encode_memory`."""
        graph = None if prompted else self._find('remember', len(mask_logits), features)
        if graph is None:
            return super().encode_memory(features, mask_logits, object_scores, prompted=prompted)
        inputs = {'mask_logits': mask_logits, 'object_scores': object_scores}
        return graph.run(inputs, pix=features.pix)[0]

    def _find(self, step: str, batch: int, features: Features | None = None) -> _Padded | None:
        """Return the smallest graph of a step for a batch of objects of one image, or None."""
        if features is not None and len(features.high_res[0]) > 1:
            return None
        fitting = [1] * (batch == 1) if step == 'encode' else self._buckets
        for objects in fitting:
            session = self._graphs.get(file_name(step, objects))
            if session is not None and objects >= batch:
                return _Padded(session, objects)
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class _Padded:
    """A graph for a fixed number of objects, run with at most as many."""

    session: Session
    objects: int

    def run(self, inputs: Tensors, **shared: torch.Tensor) -> list[torch.Tensor]:
        """Run with inputs of each object, and of the image."""
        batch = len(next(iter(inputs.values())))
        padded = {name: _pad(x, self.objects) for name, x in inputs.items()}
        arrays = {name: _to_numpy(x) for name, x in (padded | shared).items()}
        return [torch.from_numpy(x)[:batch] for x in self.session.run(arrays)]


def _pad(x: torch.Tensor, size: int) -> torch.Tensor:
    """Append rows of zeros, or False, up to a number of rows."""
    missing = size - len(x)
    return torch.cat([x, x.new_zeros(missing, *x.shape[1:])]) if missing else x


def _to_numpy(x: torch.Tensor) -> np.ndarray:
    return (x.float() if x.is_floating_point() else x).contiguous().numpy()
