"""Exported graphs give the results of torch."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network import checkpoints
from robust_vos_ros.core.network.graphs import files, runtimes
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Prompt

pytestmark = pytest.mark.slow
BUCKET = 3  # one more than the objects, so that one row is padding


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    pytest.importorskip('onnxscript')
    folder = tmp_path_factory.mktemp('graphs')
    settings = ModelSettings(device='cpu', precision='fp32', adapter='none')
    model = checkpoints.load_model(settings, portable=True)
    files.export(model, folder, buckets=[BUCKET])
    return folder


def load(folder, runtime):
    pytest.importorskip(runtime)
    settings = ModelSettings(
        device='cpu', precision='fp32', adapter='none', runtime=runtime, graphs=str(folder)
    )
    return checkpoints.load_model(settings)


def recorded(model, monkeypatch):
    """Record the tensors that the steps of a model return."""
    results = []

    def record(name):
        method = getattr(model, name)

        def wrapper(*args, **kwargs):
            result = method(*args, **kwargs)
            results.append((name, result))
            return result

        monkeypatch.setattr(model, name, wrapper)

    for name in ('encode', 'attend', 'calibrate', 'decode', 'encode_memory'):
        record(name)
    return results


def track(model, scene, num_frames=4):
    tracker = VideoTracker(model, TrackerSettings(max_objects=4))
    tracker.step(scene.frame(0))
    tracker.add([Prompt(f'disc{i}', mask=mask) for i, mask in enumerate(scene.masks(0))])
    return [tracker.step(scene.frame(index)) for index in range(1, num_frames)]


def tensors(value):
    if torch.is_tensor(value):
        return [value]
    if isinstance(value, tuple):
        return list(value)
    names = set(type(value).__slots__) - {
        'stages'
    }  # only words need these, and only torch has them
    fields = (getattr(value, name) for name in sorted(names))
    return [tensor for field in fields for tensor in tensors(field)]


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_every_step_of_tracking_gives_the_results_of_torch(
    model, scene, folder, runtime, monkeypatch
):
    every = ('encode', 'calibrate', 'decode', 'remember')
    monkeypatch.setitem(runtimes.STEPS, runtime, every)  # also those that are slower there
    graphs = load(folder, runtime)
    runs = []
    compiled = graphs._graphs
    assert compiled, 'it runs graphs'
    for name, session in compiled.items():
        run = session.run
        monkeypatch.setattr(session, 'run', lambda x, run=run, n=name: (runs.append(n), run(x))[1])
    expected, got = recorded(model, monkeypatch), recorded(graphs, monkeypatch)
    plain, other = track(model, scene), track(graphs, scene)
    assert set(runs) == set(compiled), 'each graph was run'
    assert [name for name, _ in got] == [name for name, _ in expected]
    for (name, want), (_, have) in zip(expected, got, strict=True):
        for a, b in zip(tensors(want), tensors(have), strict=True):
            assert torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-3), name
    for a, b in zip(plain, other, strict=True):
        assert np.mean(a.label_mask != b.label_mask) < 1e-3


SIGNALLED = """
import faulthandler, gc, os, signal, sys
from pathlib import Path
from robust_vos_ros.core.network.graphs.runtimes import _OpenVino
faulthandler.enable()
sessions = [_OpenVino(path, 1, 'fp32') for path in sorted(Path(sys.argv[1]).glob('*.onnx'))[:2]]
while sessions:
    del sessions[0]
    gc.collect()
signal.signal(signal.SIGCHLD, lambda *_: print('handled', flush=True))
os.kill(os.getpid(), signal.SIGCHLD)
"""


def test_signals_are_handled_after_openvino(folder):
    """Several of its cores, when released, leave a stack for signals that is no longer there."""
    pytest.importorskip('openvino')
    program = [sys.executable, '-c', SIGNALLED, str(folder)]
    done = subprocess.run(program, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, 'handled\n'), done.stderr


def test_graphs_of_other_weights_are_refused(model, folder, tmp_path):
    manifest = files.read_manifest(folder, model)
    other = manifest.model_copy(update={'weights_sha256': 'f' * 64})
    (tmp_path / 'manifest.json').write_text(other.model_dump_json())
    with pytest.raises(WeightsError, match='ffffffffffff, expected nano'):
        load(tmp_path, 'onnxruntime')


def test_missing_and_damaged_graphs_are_named(folder, tmp_path):
    with pytest.raises(WeightsError, match='run `robust-vos export nano`'):
        load(tmp_path, 'onnxruntime')
    (tmp_path / 'manifest.json').write_bytes((folder / 'manifest.json').read_bytes())
    (tmp_path / 'encode.onnx').write_bytes((folder / 'encode.onnx').read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r'encode.onnx cannot be loaded by onnxruntime'):
        load(tmp_path, 'onnxruntime')


def test_a_runtime_says_what_it_lacks(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'openvino', None)
    with pytest.raises(ConfigError, match=r"pip install 'robust_vos_ros\[openvino\]'"):
        checkpoints.load_model(ModelSettings(device='cpu', runtime='openvino'))
    with pytest.raises(ConfigError, match='computes in fp32, got precision bf16'):
        checkpoints.load_model(
            ModelSettings(device='cpu', runtime='onnxruntime', precision='bf16')
        )
