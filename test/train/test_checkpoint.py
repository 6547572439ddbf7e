"""Starting from an earlier training."""

import pytest
import torch

from robust_vos_ros.core.errors import WeightsError
from robust_vos_ros.train.checkpoint import STATE_FILE, read_state
from robust_vos_ros.train.export import WEIGHTS_FILE
from robust_vos_ros.train.trainer import Trainer
from robust_vos_ros.train.training_log import LOG_FILE, read_log
from robust_vos_ros.train.validation import Score


@pytest.fixture(scope='module')
def earlier(tmp_path_factory):
    return tmp_path_factory.mktemp('earlier')


@pytest.fixture
def state(earlier, footage, tiny_settings):
    """The checkpoint of a training of one step with a score."""
    path = earlier / STATE_FILE
    if not path.exists():
        settings = tiny_settings(steps=1, seed=9, validation={'root': str(footage)})

        def make_scorer(settings):
            return lambda path: Score(12.5, {'mask': {'jf': 12.5}})

        Trainer(settings, earlier, resume=False, make_scorer=make_scorer).run()
    return path


def start(settings, folder, state):
    """Return a trainer and the tensors of the earlier training."""
    return Trainer(settings, folder, resume=False), torch.load(state, weights_only=True)['rollout']


def test_a_checkpoint_runs_no_code_and_holds_the_best_score(state):
    content, settings = read_state(state, torch.device('cpu'))
    assert (content['step'], settings.seed) == (1, 9)
    assert content['best'] == {'step': 1, 'jf': 12.5}


def test_weights_come_from_their_file_and_the_head_from_the_state(
    state, earlier, tiny_settings, tmp_path
):
    weights = str(earlier / WEIGHTS_FILE)
    settings = tiny_settings(steps=1, weights=weights, start_state=str(state))
    trainer, before = start(settings, tmp_path / 'both', state)
    plain = Trainer(tiny_settings(weights=weights), tmp_path / 'weights', resume=False)
    for name, tensor in trainer.task.state_dict().items():
        if name.startswith('net.'):
            assert torch.equal(tensor, plain.task.state_dict()[name]), name
        else:
            assert torch.equal(tensor, before[name]), name
            assert not torch.equal(tensor, plain.task.state_dict()[name]), name
    assert trainer.step == 0
    assert not trainer.optimizer.state
    trainer.run()
    assert read_log(tmp_path / 'both' / LOG_FILE)[0]['run']['start_state'] == '4 of 4 tensors'


def test_without_weights_the_network_is_taken_as_well(state, tiny_settings, tmp_path):
    trainer, before = start(tiny_settings(start_state=str(state)), tmp_path, state)
    for name, tensor in trainer.task.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    for name, tensor in trainer.average.items():
        assert torch.equal(tensor, before[f'net.{name}']), 'the average begins there, too'


def test_tensors_of_another_shape_are_left_as_they_are(state, tiny_settings, tmp_path):
    content = torch.load(state, weights_only=True)
    content['rollout']['head.weight'] = torch.zeros(1, 7, 1, 1)
    torch.save(content, tmp_path / 'other.pt')
    settings = tiny_settings(start_state=str(tmp_path / 'other.pt'))
    trainer, before = start(settings, tmp_path / 'out', state)
    assert trainer.task.head.weight.abs().sum() > 0
    assert torch.equal(trainer.task.head.bias, before['head.bias'])


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (None, 'not a checkpoint'),
        ({'step': 3}, "not a checkpoint.*'rollout'"),
        ({'rollout': {'other': torch.zeros(2, 3)}}, r'head.weight \(1, .*got other \(2, 3\)'),
        (
            {'rollout': {'head.weight': torch.zeros(1, 7, 1, 1)}},
            r'head.weight \(1, .*got head.weight \(1, 7, 1, 1\)',
        ),
    ],
    ids=['no file', 'another file', 'another model', 'another width'],
)
def test_a_state_that_does_not_fit_is_one_sentence(
    earlier, state, tiny_settings, tmp_path, content, message
):
    path = tmp_path / 'given.pt'
    if content is not None:
        torch.save(content, path)
    settings = tiny_settings(weights=str(earlier / WEIGHTS_FILE), start_state=str(path))
    with pytest.raises(WeightsError, match=message):
        Trainer(settings, tmp_path / 'out', resume=False)
