"""The trainer on the real nano network and rendered clips."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robust_vos_ros.core.errors import ConfigError, WeightsError
from robust_vos_ros.core.network.checkpoints import hash_encoder, load_model
from robust_vos_ros.core.network.model_files import find_weights, load_spec
from robust_vos_ros.core.network.optimize import cpu_name, find_precision
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.train import trainer as training
from robust_vos_ros.train.config import OptimizerSettings, load_settings
from robust_vos_ros.train.export import WEIGHTS_FILE
from robust_vos_ros.train.trainer import Trainer, rate_factor
from robust_vos_ros.train.training_log import read_log


def losses_of(folder):
    lines = read_log(folder / training.LOG_FILE)
    return {line['step']: line['loss'] for line in lines if 'loss' in line}


@pytest.mark.slow
def test_resumed_training_is_the_same_as_an_uninterrupted_one(tiny_settings, tmp_path):
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    Trainer(tiny_settings(steps=3), whole, resume=False).run()

    first = Trainer(tiny_settings(steps=3, save_every_s=0.0), parts, resume=False)

    def pull_the_plug(step, line):
        if step == 3:  # after the checkpoint of step 2, before that of step 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        first.run(pull_the_plug)
    second = Trainer(tiny_settings(steps=3), parts, resume=True)
    assert second.step == 2
    second.run()
    assert losses_of(whole) == losses_of(parts)
    assert list(losses_of(parts)) == [1, 2, 3]
    one, two = (load_file(folder / WEIGHTS_FILE) for folder in (whole, parts))
    for name, tensor in one.items():
        assert torch.equal(tensor, two[name]), name


@pytest.mark.slow
def test_workers_do_not_change_what_is_learned(tiny_settings, tmp_path):
    for workers in (0, 2):
        settings = tiny_settings(steps=2, num_workers=workers)
        Trainer(settings, tmp_path / str(workers), resume=False).run()
    assert losses_of(tmp_path / '0') == losses_of(tmp_path / '2')


@pytest.mark.slow
def test_loss_falls_and_the_weights_load_into_the_engine(tiny_settings, tmp_path):
    settings = tiny_settings(steps=20, log_every=4)
    Trainer(settings, tmp_path, resume=False).run()
    curve = list(losses_of(tmp_path).values())
    assert np.mean(curve[-3:]) < 0.7 * curve[0], curve
    assert (tmp_path / training.PLOT_FILE).stat().st_size > 10_000
    model = load_model(ModelSettings(checkpoint=str(tmp_path / WEIGHTS_FILE), device='cpu'))
    model.warm_up()


@pytest.mark.slow
def test_a_frozen_encoder_keeps_its_bits(tiny_settings, tmp_path):
    """Words are trained for an encoder by the hash of its weights, in which -0.0 is not 0.0."""
    shipped = find_weights(load_spec('nano'))
    settings = tiny_settings(steps=12, weights=str(shipped), frozen=['image_encoder.'])
    Trainer(settings, tmp_path, resume=False).run()
    before, after = (load_file(path) for path in (shipped, tmp_path / WEIGHTS_FILE))
    assert hash_encoder(after) == hash_encoder(before)
    assert any(not torch.equal(after[name], before[name]) for name in before)


@pytest.mark.slow
def test_a_run_stops_where_a_line_of_the_log_is_complete(tiny_settings, tmp_path):
    trainer = Trainer(tiny_settings(max_seconds=0.001, log_every=2), tmp_path, resume=False)
    trainer.run()
    assert trainer.step == 2
    Trainer(tiny_settings(log_every=2), tmp_path, resume=True).run()
    assert list(losses_of(tmp_path)) == [2, 4]


@pytest.mark.parametrize('precision', ['auto', 'fp32', 'bf16'])
def test_the_log_says_what_a_run_computes_on(tiny_settings, tmp_path, precision):
    trainer = Trainer(tiny_settings(steps=1, precision=precision), tmp_path, resume=False)
    trainer.run()
    head, line = read_log(tmp_path / training.LOG_FILE)
    used = find_precision(precision, torch.device('cpu'))
    assert trainer.task.model.precision == used
    assert head['step'] == 0
    assert head['run'] == {
        'steps': 1,
        'precision': used,
        'machine': cpu_name(),
        'processes': 1,
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'start_state': '',
    }
    assert np.isfinite(line['loss'])


@pytest.mark.parametrize(('native', 'used'), [(True, 'bf16'), (False, 'fp32')])
def test_bf16_is_for_hardware_that_has_it(tiny_settings, tmp_path, monkeypatch, native, used):
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: native)
    trainer = Trainer(tiny_settings(), tmp_path, resume=False)
    assert trainer.task.model.precision == used


def test_a_folder_with_a_training_is_not_overwritten(tiny_settings, tmp_path):
    (tmp_path / training.STATE_FILE).touch()
    with pytest.raises(ConfigError, match='--resume'):
        Trainer(tiny_settings(), tmp_path, resume=False)


@pytest.mark.parametrize('content', [b'', b'not a checkpoint', None], ids=str)
def test_a_broken_checkpoint_is_one_sentence(tiny_settings, tmp_path, content):
    path = tmp_path / training.STATE_FILE
    if content is None:
        torch.save({'step': 3}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match='not a checkpoint'):
        Trainer(tiny_settings(), tmp_path, resume=True)


def test_resume_with_other_settings_is_refused(tiny_settings, tmp_path):
    trainer = Trainer(tiny_settings(max_seconds=0.001), tmp_path, resume=False)
    trainer.run()
    assert trainer.step == 1, 'a time limit ends a run with a checkpoint'
    with pytest.raises(ConfigError, match='seed 0 is now 1'):
        Trainer(tiny_settings(seed=1), tmp_path, resume=True)


def test_resume_without_a_checkpoint_begins(tiny_settings, tmp_path):
    assert Trainer(tiny_settings(), tmp_path, resume=True).step == 0


def test_a_step_that_is_not_finite_changes_nothing(tiny_settings, tmp_path, monkeypatch):
    trainer = Trainer(tiny_settings(), tmp_path, resume=False)
    before = {k: v.clone() for k, v in trainer.task.net.state_dict().items()}
    batches = trainer.batches()
    monkeypatch.setattr(
        training.nn.utils, 'clip_grad_norm_', lambda *args: torch.tensor(float('nan'))
    )
    trainer.train_step(batches.draw(0))
    for name, tensor in trainer.task.net.state_dict().items():
        if 'running' not in name and 'num_batches' not in name:
            assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize(
    ('step', 'factor', 'reason'),
    [
        (0, 0.1, 'warm-up begins above 0'),
        (9, 1.0, 'warm-up ends at the peak'),
        (10, 1.0, 'cosine begins at the peak'),
        (60, 0.55, 'half way down'),
        (110, 0.1, 'final factor'),
        (500, 0.1, 'stays there'),
    ],
)
def test_learning_rate(step, factor, reason):
    settings = OptimizerSettings(warmup_steps=10, final_factor=0.1)
    assert rate_factor(settings, step, 110) == pytest.approx(factor), reason


def test_the_trunk_learns_more_slowly_and_vectors_do_not_decay(tiny_settings, tmp_path):
    trainer = Trainer(tiny_settings(), tmp_path, resume=False)
    names = {id(p): n for n, p in trainer.task.named_parameters()}
    seen = 0
    for group in trainer.optimizer.param_groups:
        for parameter in group['params']:
            name = names[id(parameter)]
            seen += 1
            assert group['factor'] == (0.1 if 'trunk' in name else 1.0), name
            assert (group['weight_decay'] > 0) == (parameter.ndim > 1), name
    assert seen == len(names)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ('steps', 'expected key=value'),
        ('stepz=3', 'stepz'),
        ('steps=0', 'greater than or equal to 1'),
        ('data.nothing=1', 'data.nothing'),
        ('steps.deeper=1', 'not a section'),
        ('steps=[', 'not YAML'),
    ],
)
def test_changes_that_fit_no_setting_are_errors(tmp_path, change, message):
    path = tmp_path / 'train.yaml'
    path.write_text('steps: 5\n')
    with pytest.raises(ConfigError, match=message):
        load_settings(path, [change])


def test_changes_reach_into_sections(tmp_path):
    path = tmp_path / 'train.yaml'
    path.write_text('steps: 5\ndata: {batch_size: 4}\n')
    settings = load_settings(path, ['data.real=0.5', 'seed=7', 'frozen=[image_encoder]'])
    assert (settings.steps, settings.seed, settings.frozen) == (5, 7, ['image_encoder'])
    assert (settings.data.batch_size, settings.data.real) == (4, 0.5)


def test_settings_are_described():
    todo = [training.TrainSettings]
    while todo:
        for name, field in todo.pop().model_fields.items():
            if hasattr(field.annotation, 'model_fields'):
                todo.append(field.annotation)
            else:
                assert field.description, name


@pytest.mark.slow
def test_two_processes_train_together_and_resume(footage, tmp_path):
    path = tmp_path / 'train.yaml'
    path.write_text(
        'steps: 3\nnum_workers: 0\nnum_threads: 1\ndevice: cpu\nlog_every: 1\n'
        'data: {batch_size: 1, num_frames: 2, long_frames: 2, max_objects: 1}\n'
        f'validation: {{root: {footage}, every_steps: 2, max_frames: 4}}\n'
    )

    def launch(*options):
        program = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2']
        program += ['--standalone', '-m', 'robust_vos_ros.cli', 'train', str(path)]
        program += ['--out', str(tmp_path / 'out'), *options]
        subprocess.run(program, check=True, timeout=240, cwd=Path(__file__).parents[2])

    launch('--set', 'max_seconds=0.001')
    assert list(losses_of(tmp_path / 'out')) == [1], 'all processes stop at the same step'
    launch('--resume')
    assert list(losses_of(tmp_path / 'out')) == [1, 2, 3]
    lines = read_log(tmp_path / 'out' / training.LOG_FILE)
    assert [line['run']['processes'] for line in lines if 'run' in line] == [2, 2]
    assert [line['step'] for line in lines if 'validation' in line] == [2, 3], 'once for both'
