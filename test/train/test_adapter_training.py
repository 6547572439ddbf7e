"""Training of adapters on the frozen nano model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robust_vos_ros.core.adapters import files as adapters
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.model_files import model_names
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.data.augmentation import AugmentationSettings, corrupt_clip
from robust_vos_ros.data.clip import Clip
from robust_vos_ros.train.config import load_settings
from robust_vos_ros.train.export import ADAPTER_FILE
from robust_vos_ros.train.trainer import Trainer

CONFIGS = Path(__file__).parents[2] / 'config' / 'train'
ADAPTER = {'rank': 8, 'mode': 'paper'}


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['paper', 'per_object', 'released'])
def test_only_the_adapter_and_its_norms_learn(tiny_settings, tmp_path, mode):
    settings = tiny_settings(steps=2, adapter={**ADAPTER, 'mode': mode})
    trainer = Trainer(settings, tmp_path, resume=False)
    before = {name: t.clone() for name, t in trainer.task.net.state_dict().items()}
    trainer.run()
    model = trainer.task.model
    norms = set(adapters.norm_names(model, settings.adapter))
    for name, tensor in trainer.task.net.state_dict().items():
        assert torch.equal(tensor, before[name]) != (name in norms), name
    assert model.adapter.up.abs().sum() > 0
    assert all(p.grad is not None for p in model.adapter.gate.parameters())

    # The file fits the engine, and only the model it was trained for.
    engine = load_model(ModelSettings(device='cpu', num_threads=1))
    adapter, changes = adapters.load_adapter(tmp_path / ADAPTER_FILE, engine)
    assert set(changes) == norms
    adapters.attach(engine, adapter, changes)
    engine.warm_up()


@pytest.mark.slow
def test_a_resumed_adapter_is_the_same(tiny_settings, tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    data = {'num_frames': 3, 'long_frames': 3, 'augmentation': {'share': 0.7}}
    options = {'steps': 2, 'adapter': ADAPTER, 'data': data}
    Trainer(tiny_settings(**options), whole, resume=False).run()
    first = Trainer(tiny_settings(max_seconds=0.001, **options), parts, resume=False)
    first.run()
    assert first.step == 1
    Trainer(tiny_settings(**options), parts, resume=True).run()
    one, two = (load_file(folder / ADAPTER_FILE) for folder in (whole, parts))
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name


def test_clips_are_spoilt_as_often_as_asked_and_alike_for_a_seed():
    images = np.full((4, 64, 64, 3), 120, np.uint8)
    clip = Clip('grey', images, np.ones((1, 4, 64, 64), np.uint8))
    settings = AugmentationSettings(share=0.6, corruptions='gaussian_noise,fog')

    def draw(seed):
        return corrupt_clip(clip, np.random.default_rng(seed), settings)

    spoilt = [draw(seed) for seed in range(60)]
    changed = [c for c in spoilt if not np.array_equal(c.images, images)]
    assert 24 <= len(changed) <= 48
    assert {c.name for c in spoilt} == {'grey', 'grey/gaussian_noise', 'grey/fog'}
    assert np.array_equal(draw(3).images, draw(3).images)
    assert corrupt_clip(clip, np.random.default_rng(0), AugmentationSettings()) is clip


# Configurations for words have settings of their own (test_words_training.py).
@pytest.mark.parametrize(
    'path',
    sorted(set(CONFIGS.glob('*.yaml')) - set(CONFIGS.glob('words_*'))),
    ids=lambda p: p.stem,
)
def test_shipped_configurations_fit_their_model(path):
    settings = load_settings(path, [])
    assert settings.model in model_names()
    assert settings.steps > 100
    if path.stem.startswith('moga'):
        assert settings.adapter is not None
        assert settings.data.augmentation.share < 1.0  # clean clips as well
