"""Training of the refiner of prompted masks."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robust_vos_ros.core.errors import ConfigError, DatasetError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.data.prompted_pictures import draw_picture
from robust_vos_ros.data.sources import Sources, SourceSettings
from robust_vos_ros.train.export import WEIGHTS_FILE
from robust_vos_ros.train.refine import Refinement
from robust_vos_ros.train.trainer import Trainer


@pytest.fixture
def settings(tiny_settings, footage):
    def make(**changes):
        data = {'sources': [{'root': str(footage)}], 'batch_size': 2, 'max_objects': 2}
        values = {
            'stage': 'refine', 'data': data, 'steps': 2, 'rollout': {'correction_share': 1.0},
        }  # fmt: skip
        return tiny_settings(**values | changes)

    return make


def test_the_refiner_alone_learns(settings, tmp_path):
    trainer = Trainer(settings(steps=12), tmp_path, resume=False)
    before = {name: t.clone() for name, t in trainer.task.net.state_dict().items()}
    batch = next(iter(trainer.batches()))
    losses = [trainer.train_step(batch)['loss'] for _ in range(12)]
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3]), losses
    after = trainer.task.net.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed
    assert {name.split('.')[0] for name in changed} == {'prompt_refiner'}


def test_a_resumed_training_is_the_same_and_its_weights_fit_the_engine(settings, tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    Trainer(settings(), whole, resume=False).run()
    Trainer(settings(max_seconds=0.001), parts, resume=False).run()
    Trainer(settings(), parts, resume=True).run()
    one, two = (load_file(folder / WEIGHTS_FILE) for folder in (whole, parts))
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name
    model = load_model(
        ModelSettings(
            device='cpu', checkpoint=str(whole / WEIGHTS_FILE), adapter='none', calibration='none'
        )
    )
    assert model.prompt_refiner is not None


def test_a_stage_without_pictures_is_told(settings, tmp_path):
    with pytest.raises(DatasetError, match='expected data sets of pictures'):
        Trainer(settings(data={}), tmp_path, resume=False).run()


def test_a_model_without_a_refiner_is_told(settings, tmp_path):
    model = Trainer(settings(), tmp_path, resume=False).task.model
    model.prompt_refiner = None
    with pytest.raises(ConfigError, match='expected a model with prompt_refiner, got nano'):
        Refinement(model, 0.0)


def test_a_data_set_without_objects_ends_with_an_error(footage):
    sources = Sources.open([SourceSettings(root=str(footage))], held_out=0.0, cache_frames=10)
    with pytest.raises(DatasetError, match='expected an object of at least'):
        draw_picture(np.random.default_rng(0), sources, 64, max_objects=1, min_area=1.1)


def test_pictures_show_their_objects_and_depend_on_the_seed_alone(footage):
    sources = Sources.open([SourceSettings(root=str(footage))], held_out=0.0, cache_frames=10)

    def draw(seed):
        rng = np.random.default_rng(seed)
        return draw_picture(rng, sources, 64, max_objects=2, min_area=0.002)

    drawn = [draw(seed) for seed in range(30)]
    assert all(picture.image.shape == (64, 64, 3) for picture in drawn)
    for picture in drawn:
        assert picture.masks.shape[1:] == (64, 64)
        assert set(np.unique(picture.masks)) == {0, 1}
    places = {tuple(np.argwhere(picture.masks[0]).mean(axis=0).round()) for picture in drawn}
    assert len(places) > 10  # crops differ
    assert np.array_equal(draw(3).image, drawn[3].image)
