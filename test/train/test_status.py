"""`robust-vos train --status`, on logs of real trainings and on logs with known times."""

import json

import pytest
from typer.testing import CliRunner

from robust_vos_ros.cli import app
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.train.status import describe, read_status
from robust_vos_ros.train.trainer import Trainer
from robust_vos_ros.train.training_log import LOG_FILE

RUN = {'steps': 1000, 'precision': 'fp32', 'machine': 'A CPU', 'processes': 2, 'threads': 1}


def write_log(folder, *lines, end=''):
    folder.mkdir(exist_ok=True)
    text = ''.join(json.dumps(line) + '\n' for line in lines)
    (folder / LOG_FILE).write_text(text + end)


def line(step, seconds):
    return {'step': step, 'seconds': seconds, 'J': 0.5, 'loss': 3.0}


def run_status(*arguments):
    return CliRunner().invoke(app, ['train', '--status', *map(str, arguments)])


def test_a_training_tells_its_status_while_it_runs_and_afterwards(tiny_settings, tmp_path):
    seen = []
    trainer = Trainer(tiny_settings(steps=2), tmp_path, resume=False)
    trainer.run(lambda step, _: seen.append(read_status(tmp_path)))
    assert [status.step for status in seen] == [1, 2]
    assert seen[0].steps_per_min > 0
    assert seen[0].eta_s > 0
    assert {'loss', 'J'} <= seen[0].means.keys()
    result = run_status('--out', tmp_path)
    assert result.exit_code == 0, result.output
    for part in ['step 2 of 2', 'finished', ' threads', trainer.task.model.precision]:
        assert part in result.stdout


def test_speed_is_that_of_the_newest_lines_of_the_last_run(tmp_path):
    slow = [line(step, 10.0 * step) for step in range(10, 110, 10)]
    again = {'step': 100, 'run': RUN}
    fast = [line(100 + step, float(step)) for step in range(10, 310, 10)]
    faster = [line(400 + step, 300.0 + step / 2) for step in range(10, 210, 10)]
    write_log(tmp_path, {'step': 0, 'run': RUN}, *slow)
    assert read_status(tmp_path).steps_per_min == pytest.approx(6.0)
    write_log(tmp_path, {'step': 0, 'run': RUN}, *slow, again)
    assert read_status(tmp_path).steps_per_min is None, 'resumed, and no line yet'
    write_log(tmp_path, {'step': 0, 'run': RUN}, *slow, again, *fast)
    assert read_status(tmp_path).steps_per_min == pytest.approx(60.0)
    write_log(tmp_path, {'step': 0, 'run': RUN}, *slow, again, *fast, *faster)
    status = read_status(tmp_path)
    assert (status.step, status.steps_per_min) == (600, pytest.approx(120.0))
    assert status.eta_s == pytest.approx(200.0)
    assert 'ETA 3 min' in describe(status)


def test_a_line_that_a_killed_training_began_does_not_count(tmp_path):
    write_log(tmp_path, {'step': 0, 'run': RUN}, line(20, 10.0), end='{"step": 40, "lo')
    assert read_status(tmp_path).step == 20


def test_scores_and_the_best_one_are_shown(tmp_path):
    scores = {
        'jf': 61.5,
        'prompts': {'mask': {'jf': 63.0}, 'box': {'jf': 60.0}},
        'best': {'step': 10, 'jf': 65.25},
    }
    lines = [line(10, 5.0), {'step': 20, 'validation': scores}, line(30, 10.0)]
    write_log(tmp_path, {'step': 0, 'run': RUN}, *lines)
    text = describe(read_status(tmp_path))
    assert 'at step 20: J&F 61.5 (mask 63.0, box 60.0); best 65.2 at step 10' in text
    report = json.loads(run_status('--out', tmp_path, '--json').stdout)
    assert report['validation'] == scores | {'step': 20}
    assert report['run'] == RUN
    assert report['silent_s'] < 60


@pytest.mark.parametrize(
    ('folder', 'message'),
    [('nothing', 'no such folder'), ('empty', 'no log.jsonl'), ('old', 'older version')],
)
def test_a_folder_without_a_training_gives_one_sentence(tmp_path, folder, message):
    (tmp_path / 'empty').mkdir()
    write_log(tmp_path / 'old', line(20, 10.0))
    with pytest.raises(ConfigError, match=message):
        read_status(tmp_path / folder)
    result = run_status('--out', tmp_path / folder)
    assert result.exit_code == 1
    assert 'Traceback' not in result.output


def test_train_needs_a_file_to_train():
    result = CliRunner().invoke(app, ['train'])
    assert result.exit_code == 1
    assert 'training file' in result.output
