"""Folders of ONNX files, one per step and number of objects, with a manifest."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pydantic
import torch

from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network.graphs.steps import Step, steps
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.settings import cache_dir

OPSET = 18
BUCKETS = (1, 4, 8, 16)
_MANIFEST = 'manifest.json'


class Manifest(pydantic.BaseModel):
    """What a folder of graphs was made from, and for.

    Attributes:
        model: Name of the model.
        weights_sha256: Hash of its weights file.
        opset: ONNX version.
        buckets: Numbers of objects; a smaller batch is padded.
        inputs: By file and name: dtype and shape.
        outputs: By file, names.
    """

    model: str
    weights_sha256: str
    opset: int
    buckets: list[int]
    inputs: dict[str, dict[str, tuple[str, list[int]]]] = {}
    outputs: dict[str, list[str]] = {}


def graphs_folder(model: str, weights_hash: str) -> Path:
    """Return the folder in the cache for the graphs of some weights."""
    return cache_dir() / 'graphs' / f'{model}-{weights_hash[:12]}'


def file_name(step: str, objects: int) -> str:
    """Return the name of a graph; `encode` has one for all numbers of objects."""
    return 'encode.onnx' if step == 'encode' else f'{step}_{objects}.onnx'


def num_files(model: Model) -> int:
    """Return the number of graphs that `export` writes by default."""
    return 1 + len(BUCKETS) * (2 if model.object_calibration is None else 3)


def export(
    model: Model,
    folder: Path,
    *,
    buckets: Sequence[int] = BUCKETS,
    on_file: Callable[[], None] = lambda: None,
) -> Manifest:
    """Write all steps as ONNX files, and the manifest last.

    Args:
        model: `portable`, in fp32, on the CPU, without adapter.
        folder: Made if it does not exist.
        buckets: Numbers of objects.
        on_file: Called after each file, for a progress bar.

    Raises:
        ConfigError: A package that writes ONNX is not installed.
    """
    assert model.precision == 'fp32', 'graphs are exported in fp32; runtimes choose their own'
    assert model.adapter is None, 'an adapter changes weights per frame'
    try:
        import onnxscript  # noqa: F401, PLC0415  only export needs it
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"export needs {error.name}: pip install 'robust_vos_ros[export]'"
        ) from error
    model.warm_up()  # constants are cached now, not while tracing
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest(
        model=model.name,
        weights_sha256=model.weights_hash,
        opset=OPSET,
        buckets=sorted(buckets),
    )
    for step in steps(model):
        for objects in manifest.buckets[:1] if step.name == 'encode' else manifest.buckets:
            name = file_name(step.name, objects)
            inputs = step.inputs(objects)
            _write(step, inputs, folder / name)
            manifest.inputs[name] = {
                key: (str(value.dtype).removeprefix('torch.'), list(value.shape))
                for key, value in inputs.items()
            }
            manifest.outputs[name] = list(step.outputs)
            on_file()
    (folder / _MANIFEST).write_text(manifest.model_dump_json(indent=1) + '\n', encoding='utf-8')
    return manifest


def read_manifest(folder: Path, model: Model) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        WeightsError: It is missing, unreadable, or of other weights.
    """
    path, advice = folder / _MANIFEST, f'run `robust-vos export {model.name}`'
    try:
        manifest = Manifest.model_validate(json.loads(path.read_text(encoding='utf-8')))
    except OSError as error:
        raise WeightsError(
            f'expected the graphs of {model.name} in {folder}, got none; {advice}, or set '
            'model.graphs to the folder that it wrote'
        ) from error
    except ValueError as error:
        raise WeightsError(f'{path} is not a manifest of graphs ({error}); {advice}') from error
    if manifest.weights_sha256 != model.weights_hash:
        raise WeightsError(
            f'{folder} has graphs of {manifest.model} with weights '
            f'{manifest.weights_sha256[:12]}, expected {model.name} with '
            f'{model.weights_hash[:12]}; {advice}'
        )
    return manifest


def _write(step: Step, inputs: dict[str, torch.Tensor], path: Path) -> None:
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)  # it misses torchvision
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # deprecations inside of torch
        program = torch.onnx.export(
            step.eval(),
            tuple(inputs.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(step.outputs),
            verbose=False,
            custom_translation_table=_translations(),
        )
    assert program is not None
    program.save(path)


def _translations() -> dict[Any, Any]:
    """Return ONNX for operators that the exporter does not know."""
    from onnxscript import opset18 as op  # noqa: PLC0415  only export needs it

    def kthvalue(x: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
        assert keepdim, 'as ConditioningLayer does'
        count: Any = op.Constant(value_ints=[k])
        last: Any = op.Constant(value_ints=[k - 1])
        values, indices = op.TopK(x, count, axis=dim, largest=0)
        return op.Gather(values, last, axis=dim), op.Gather(indices, last, axis=dim)

    return {torch.ops.aten.kthvalue.default: kthvalue}
