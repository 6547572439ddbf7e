"""Gates over time, rendered data sets and restored images, through the command line."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from robust_vos_ros.cli import app
from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.adapters.settings import AdapterSettings
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.data.severity import Profile
from robust_vos_ros.data.video_folder import open_dataset
from robust_vos_ros.eval.gates import GateRecord, gate_statistics, record_gates
from robust_vos_ros.eval.metrics import region_similarity
from robust_vos_ros.eval.restoration import restore

runner = CliRunner()


@pytest.fixture
def adapter_file(tmp_path):
    model = load_model(ModelSettings(device='cpu', num_threads=1, adapter='none'))
    adapter = adapters.make_adapter(
        model, AdapterSettings(rank=4, layer_norms='none', gate_bias=0.0)
    )
    path = tmp_path / 'own.safetensors'
    header = {'model': model.name, 'weights_sha256': model.weights_hash}
    adapters.save_adapter(path, adapter.state_dict(), {}, adapter.settings, **header)
    return path


def test_gates_are_recorded_for_each_object_and_drawn(dataset_root, adapter_file):
    settings = ModelSettings(device='cpu', num_threads=1, adapter=str(adapter_file))
    sequence = open_dataset(dataset_root, layout='folders')['square']
    course = Profile('ramp', 4.0, sequence.num_frames)
    record = record_gates(load_model(settings), sequence, 'fog', course)
    assert list(record.objects) == ['1']
    gates = record.objects['1']
    assert gates.shape == (9, 2 * 4 * 4)  # frames after the prompt; layers, places, rank
    assert ((gates >= 0) & (gates <= 1)).all()
    assert 0.05 < gates.mean() < 0.95
    assert record.severity[-1] == pytest.approx(4.0)

    picture = dataset_root / 'gates.png'
    options = [str(adapter_file), '--corruption', 'rain,fog', '--out', str(picture)]
    result = runner.invoke(app, ['gates', str(dataset_root), 'square', *options])
    assert result.exit_code == 0, result.output
    assert 'object_difference: nan' in result.output  # there is one object
    assert cv2.imread(str(picture)).shape[0] > 200


def test_statistics_tell_what_changes_a_gate():
    """Gates that follow the type, the severity within a type, the object, or nothing."""
    severity = np.array([0.0, 0.0, 5.0, 5.0])
    ones, zeros, high = np.ones(4), np.zeros(4), severity / 5.0

    def record(name, of_type):
        one, two = ([of_type, high, of_object, ones] for of_object in (ones, zeros))
        objects = {'1': np.stack(one, axis=1), '2': np.stack(two, axis=1)}
        return GateRecord(name, objects, severity)

    found = gate_statistics([record('fog', ones), record('rain', zeros)])
    assert found.open_share == pytest.approx((0.5 + 0.5 + 0.5 + 1.0) / 4)
    assert found.moving_share == 0.75
    assert found.change == pytest.approx(1 / 3 / 4)
    assert found.object_difference == 0.25
    assert found.type_bits_max == pytest.approx(1.0)
    assert found.type_bits == pytest.approx(0.25)
    assert found.severity_bits_max == pytest.approx(1.0)
    assert found.severity_bits == pytest.approx(0.25)


def test_a_model_without_gates_is_told(dataset_root):
    model = load_model(ModelSettings(device='cpu', num_threads=1, adapter='none'))
    sequence = open_dataset(dataset_root, layout='folders')['square']
    with pytest.raises(ConfigError, match='expected an adapter with gates, got none'):
        record_gates(model, sequence, 'fog', Profile('constant', 3.0, 9))


def test_an_adapter_is_a_variant(dataset_root, adapter_file):
    out = dataset_root / 'out.json'
    command = [
        'evaluate',
        'dataset',
        str(dataset_root),
        '--variants',
        f'base,own={adapter_file}',
        '--device',
        'cpu',
    ]
    options = ['--json', str(out), '--cache', str(dataset_root / 'cache'), '--processes', '1']
    result = runner.invoke(app, [*command, *options])
    assert result.exit_code == 0, result.output
    report = runner.invoke(app, ['evaluate', 'report', str(out)])
    assert report.exit_code == 0, report.output
    records = json.loads(out.read_text())['records']
    own, base = ([r for r in records if r['variant'] == name] for name in ('own', 'base'))
    assert len(own) == len(base) > 0
    for mine, other in zip(own, base, strict=True):  # untrained: not a bit of difference
        assert mine['objects'] == other['objects']


def test_rendered_clips_are_a_data_set(tmp_path):
    options = ['--clips', '2', '--frames', '3', '--size', '64', '--seed', '5']
    for name in ('one', 'two'):
        result = runner.invoke(app, ['render', str(tmp_path / name), *options])
        assert result.exit_code == 0, result.output
    dataset = open_dataset(tmp_path / 'one', layout='folders')
    assert [sequence.name for sequence in dataset] == ['00000', '00001']
    for sequence in dataset:
        assert sequence.num_frames == 3
        assert sequence.object_ids
    first, again = (tmp_path / n / 'JPEGImages/00001/00002.jpg' for n in ('one', 'two'))
    assert first.read_bytes() == again.read_bytes()


def test_restoring_removes_noise_and_keeps_edges(clip):
    image = clip.images[0]
    noisy = np.clip(image + np.random.default_rng(0).normal(0, 12, image.shape), 0, 255)
    restored = restore(noisy.astype(np.uint8))

    def roughness(picture):
        return np.abs(np.diff(picture[:30, :200].astype(float), axis=1)).mean()

    assert roughness(restored) < 0.7 * roughness(noisy)
    redder = restored[..., 0].astype(int) - restored[..., 1] > 40
    assert region_similarity(redder, clip.masks[0]) > 0.8
