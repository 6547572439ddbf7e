"""Scores on a development split while a training runs, by the code of `robust-vos compare`."""

import json

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from robust_vos_ros.cli import app
from robust_vos_ros.cli.scoring import make_scorer
from robust_vos_ros.core.errors import ConfigError, DatasetError, ImageError
from robust_vos_ros.eval.prompting import PROMPT_FORMS
from robust_vos_ros.train.config import ValidationSettings
from robust_vos_ros.train.export import ADAPTER_FILE, WEIGHTS_FILE
from robust_vos_ros.train.trainer import Trainer
from robust_vos_ros.train.training_log import LOG_FILE, PLOT_FILE, read_log
from robust_vos_ros.train.validation import BEST_FILE, Score


def validation(footage, **changes):
    values = {'root': str(footage), 'split': 'val.txt', 'frame_stride': 2, 'every_steps': 2}
    return values | changes


def validations(folder):
    lines = read_log(folder / LOG_FILE)
    return {line['step']: line['validation'] for line in lines if 'validation' in line}


def losses(folder):
    return [line['loss'] for line in read_log(folder / LOG_FILE) if 'loss' in line]


def scores(*values):
    """Return a maker of scorers that give these values in turn."""
    left = iter(values)

    def make(settings):
        return lambda path: Score(jf := next(left), {'mask': {'jf': jf}})

    return make


@pytest.mark.slow
def test_scores_equal_those_of_compare_and_change_nothing(footage, tiny_settings, tmp_path):
    plain, scored = tmp_path / 'plain', tmp_path / 'scored'
    Trainer(tiny_settings(steps=2), plain, resume=False).run()
    settings = tiny_settings(
        steps=2,
        validation=validation(footage, frame_stride=1, prompts=['mask', 'box'], every_steps=1),
    )
    trainer = Trainer(settings, scored, resume=False, make_scorer=make_scorer)
    trainer.run()
    assert losses(scored) == losses(plain)
    assert (scored / WEIGHTS_FILE).read_bytes() == (plain / WEIGHTS_FILE).read_bytes()
    assert list(validations(scored)) == [1, 2]

    arguments = ['compare', footage, '--split', 'val.txt', '--device', 'cpu']
    arguments += ['--threads', torch.get_num_threads(), '--json', tmp_path / 'numbers.json']
    arguments += ['--weights', f'last={scored / WEIGHTS_FILE}']
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    rows = {
        row['name']: row for row in json.loads((tmp_path / 'numbers.json').read_text())['rows']
    }
    last = validations(scored)[2]
    for form in ('mask', 'box'):
        for key, value in last['prompts'][form].items():
            assert rows[f'last {form}'][key] == value, (form, key)
    mean = (rows['last mask']['jf'] + rows['last box']['jf']) / 2
    assert last['jf'] == pytest.approx(mean, abs=0.011)  # both are rounded to two digits
    assert trainer.validation.best.jf == max(v['jf'] for v in validations(scored).values())


def test_the_best_average_is_kept_and_a_resumed_training_knows_its_score(
    footage, tiny_settings, tmp_path
):
    settings = tiny_settings(steps=3, validation=validation(footage, every_steps=1))
    trainer = Trainer(
        settings.model_copy(update={'max_seconds': 0.001}),
        tmp_path, resume=False, make_scorer=scores(50.0),
    )  # fmt: skip
    trainer.run()
    assert (trainer.step, trainer.validation.best.jf) == (1, 50.0)
    best = (tmp_path / BEST_FILE).read_bytes()
    assert best == (tmp_path / WEIGHTS_FILE).read_bytes()

    trainer = Trainer(settings, tmp_path, resume=True, make_scorer=scores(40.0, 60.0))
    assert trainer.validation.best.jf == 50.0
    seen = []
    trainer.run(lambda step, line: seen.append((tmp_path / BEST_FILE).read_bytes()))
    assert seen == [best, best], 'called before the scores of steps 2 and 3'
    assert [v['best'] for v in validations(tmp_path).values()] == [
        {'step': 1, 'jf': 50.0}, {'step': 1, 'jf': 50.0}, {'step': 3, 'jf': 60.0},
    ]  # fmt: skip
    assert (tmp_path / BEST_FILE).read_bytes() == (tmp_path / WEIGHTS_FILE).read_bytes() != best
    assert load_file(tmp_path / BEST_FILE).keys() == trainer.average.keys()
    assert not list(tmp_path.glob('candidate*'))
    assert (tmp_path / PLOT_FILE).stat().st_size > 10_000


def test_other_validation_begins_with_no_best_score(footage, tiny_settings, tmp_path):
    def train(**changes):
        settings = tiny_settings(max_seconds=0.001, validation=validation(footage, **changes))
        return Trainer(settings, tmp_path, resume=True, make_scorer=scores(50.0))

    train(every_steps=1).run()
    assert train(every_steps=3).validation.best.jf == 50.0
    assert train(frame_stride=1).validation.best is None


@pytest.mark.parametrize(
    ('every_steps', 'log_every', 'expected', 'reason'),
    [
        (3, 1, [3, 6, 7], 'every third step, and the last one'),
        (4, 2, [4, 7], 'a multiple of the lines of the log'),
        (3, 2, [4, 6, 7], 'at the line of the log that follows'),
        (1, 3, [3, 6, 7], 'at most as often as there are lines'),
    ],
)
def test_steps_to_score(
    footage, tiny_settings, tmp_path, monkeypatch, every_steps, log_every, expected, reason
):
    settings = tiny_settings(
        steps=7, log_every=log_every, validation=validation(footage, every_steps=every_steps)
    )
    trainer = Trainer(settings, tmp_path, resume=False, make_scorer=scores(*range(7)))

    def step(batch):
        trainer.step += 1
        return {'loss': 1.0, 'J': 0.5}

    monkeypatch.setattr(trainer, 'train_step', step)
    monkeypatch.setattr(trainer, '_save', lambda: None)
    trainer.run()
    assert list(validations(tmp_path)) == expected, reason


@pytest.mark.slow
def test_an_adapter_is_scored_on_its_model(footage, tiny_settings, tmp_path):
    settings = tiny_settings(
        steps=1, adapter={'rank': 8, 'mode': 'paper'}, validation=validation(footage)
    )
    Trainer(settings, tmp_path, resume=False, make_scorer=make_scorer).run()
    assert validations(tmp_path)[1]['jf'] > 0
    assert (tmp_path / BEST_FILE).read_bytes() == (tmp_path / ADAPTER_FILE).read_bytes()


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        ({'split': 'test.txt'}, DatasetError, 'test.txt'),
        ({'max_frames': 2}, ImageError, 'expected more than 2 frames'),
        ({'frame_stride': 4}, ImageError, 'expected more than 2 frames'),
    ],
)
def test_what_cannot_be_scored_is_told_before_the_training(
    footage, tiny_settings, tmp_path, changes, error, message
):
    settings = tiny_settings(validation=validation(footage, **changes))
    with pytest.raises(error, match=message):
        Trainer(settings, tmp_path, resume=False, make_scorer=make_scorer)


@pytest.mark.parametrize(
    ('section', 'message'),
    [
        ({}, 'validation.root'),
        ({'root': 'x', 'prompts': ['scribble']}, 'scribble'),
        ({'root': 'x', 'prompts': []}, 'validation.prompts'),
    ],
)
def test_wrong_sections_are_refused(tiny_settings, section, message):
    with pytest.raises(ConfigError, match=message):
        tiny_settings(validation=section)


def test_every_form_of_prompts_may_be_scored():
    kept = ValidationSettings(root='x', prompts=list(PROMPT_FORMS))
    assert tuple(kept.prompts) == PROMPT_FORMS


def test_scores_need_somebody_who_scores(footage, tiny_settings, tmp_path):
    settings = tiny_settings(validation=validation(footage))
    with pytest.raises(ConfigError, match='make_scorer'):
        Trainer(settings, tmp_path, resume=False)
