"""Distillation of adapters of the image encoder, and penalties of gates."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.adapters.gates import Gates
from robust_vos_ros.core.errors import ConfigError, DatasetError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.data.augmentation import AugmentationSettings
from robust_vos_ros.data.pictures import draw_pair
from robust_vos_ros.data.sources import Sources, SourceSettings
from robust_vos_ros.train.config import GateSettings
from robust_vos_ros.train.export import ADAPTER_FILE
from robust_vos_ros.train.gating import gate_penalty
from robust_vos_ros.train.trainer import Trainer

ADAPTER = {'places': ['neck', 'trunk'], 'layer_norms': 'none', 'encoder_rank': 2}
NOISE = {'share': 0.8, 'corruptions': 'gaussian_noise', 'constant': 1.0}


@pytest.fixture
def settings(tiny_settings, footage):
    def make(**changes):
        data = {'sources': [{'root': str(footage)}], 'batch_size': 2, 'augmentation': NOISE}
        values = {'stage': 'distill', 'adapter': ADAPTER, 'data': data, 'steps': 2}
        return tiny_settings(**values | changes)

    return make


def test_distilled_features_come_nearer_to_those_of_the_clean_picture(settings, tmp_path):
    trainer = Trainer(settings(steps=8), tmp_path, resume=False)
    net = {name: t.clone() for name, t in trainer.task.net.state_dict().items()}
    batch = next(iter(trainer.batches()))
    losses = [trainer.train_step(batch)['loss'] for _ in range(8)]
    assert losses[-1] < 0.9 * losses[0], losses
    for name, tensor in trainer.task.net.state_dict().items():
        assert torch.equal(tensor, net[name]), name


def test_a_switch_learns_to_tell_corrupted_pictures_alone(settings, tmp_path):
    nothing = {'coarse': 0.0, 'middle': 0.0, 'fine': 0.0}
    adapter = ADAPTER | {'encoder_switch': True}
    trainer = Trainer(settings(adapter=adapter, steps=40, distill=nothing), tmp_path, resume=False)
    batch = next(iter(trainer.batches()))
    first, *_, last = [trainer.train_step(batch)['loss'] for _ in range(40)]
    assert last < 0.8 * first
    assert all(p.grad is None for p in trainer.task.adapter.encoder.down.values())


def test_a_resumed_distillation_is_the_same_and_its_file_fits_the_engine(settings, tmp_path):
    adapter = ADAPTER | {'encoder_gates': True, 'condition': 'objects', 'standardize': True}
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    Trainer(settings(adapter=adapter), whole, resume=False).run()
    Trainer(settings(adapter=adapter, max_seconds=0.001), parts, resume=False).run()
    Trainer(settings(adapter=adapter), parts, resume=True).run()
    one, two = (load_file(folder / ADAPTER_FILE) for folder in (whole, parts))
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name
    assert one['encoder.gate.standard.running_mean'].any()
    engine = load_model(ModelSettings(device='cpu', num_threads=1))
    adapters.use(engine, whole / ADAPTER_FILE)
    assert engine.image_encoder.has_gates


@pytest.mark.parametrize(
    ('changes', 'error', 'text'),
    [
        ({'adapter': None}, ConfigError, 'expected an adapter with the places neck or trunk'),
        ({'data': {}}, DatasetError, 'expected data sets of pictures'),
        ({'adapter': {'places': ['neck']}, 'stage': 'rollout'}, None, ''),
        (
            {'adapter': ADAPTER | {'encoder_gates': True}, 'stage': 'rollout'},
            ConfigError,
            'the stage distill trains gates of the image encoder',
        ),
    ],
)
def test_settings_that_do_not_fit_a_stage_are_told(settings, tmp_path, changes, error, text):
    if error is None:
        Trainer(settings(**changes), tmp_path, resume=False)
        return
    with pytest.raises(error, match=text):
        Trainer(settings(**changes), tmp_path, resume=False).run()


def test_pairs_show_the_same_picture_and_depend_on_the_seed_alone(footage):
    sources = Sources.open([SourceSettings(root=str(footage))], held_out=0.0, cache_frames=10)
    drawn = AugmentationSettings(**NOISE)

    def draw(seed):
        return draw_pair(np.random.default_rng(seed), sources, drawn, 64)

    pairs = [draw(seed) for seed in range(30)]
    clean = [np.array_equal(pair.corrupted[1], pair.clean) for pair in pairs]
    assert 1 <= sum(clean) <= 12
    for pair, is_clean in zip(pairs, clean, strict=True):
        difference = pair.corrupted.astype(float) - pair.clean
        assert np.abs(difference.mean()) < 12.0  # noise, but the same picture
        assert is_clean or not np.array_equal(*pair.corrupted)
        assert set(np.unique(pair.mask)) <= {0, 1}
    assert np.array_equal(draw(3).corrupted, pairs[3].corrupted)


@pytest.mark.parametrize(
    ('soft', 'entropy', 'balance'),
    [
        ([[1.0, 0.0], [0.0, 1.0]], 0.0, 0.0),  # decided, and different between rows
        ([[1.0, 1.0], [1.0, 1.0]], 0.0, 1.0),  # always open
        ([[0.5, 0.5], [0.5, 0.5]], 1.0, 0.0),  # undecided
    ],
)
def test_penalties_are_low_for_gates_that_tell_rows_apart(soft, entropy, balance):
    gates = Gates(torch.ones(2, 2), torch.ones(2, 2), torch.tensor(soft))
    for name, expected in (('entropy', entropy), ('balance', balance)):
        penalty, stats = gate_penalty(gates, GateSettings(**{name: 2.0}))
        assert float(penalty) == pytest.approx(2.0 * expected, abs=1e-3)
        assert stats[f'gates_{name}'] == pytest.approx(expected, abs=1e-3)
