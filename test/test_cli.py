import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from robust_vos_ros.cli import app

runner = CliRunner()


@pytest.mark.parametrize(
    'arguments',
    [[], ['--help'], ['demo', '--help'], ['bench', '--help'], ['weights', '--help']],
)
def test_help_is_there(arguments):
    result = runner.invoke(app, arguments)
    assert 'Usage' in result.output


def test_help_loads_nothing_heavy():
    program = 'import sys, robust_vos_ros.cli; print(*sys.modules)'
    loaded = subprocess.run(
        [sys.executable, '-c', program], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {'torch', 'sam2', 'cv2', 'rclpy'} & set(loaded)


def test_bench_prints_json():
    result = runner.invoke(
        app, ['bench', '--size', '160x120', '--objects', '1,2', '--frames', '2', '--json']
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [run['objects'] for run in report['runs']] == [1, 2]
    assert all(run['median_ms'] > 0 for run in report['runs'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['bench', '--size', '640'], 'WIDTHxHEIGHT'),
        (['bench', '--objects', '1,none'], 'numbers such as'),
        (['bench', '--model', 'sam9'], 'unknown model'),
        (['weights', 'fetch', 'sam9'], 'unknown model'),
    ],
)
def test_wrong_arguments_give_one_sentence(arguments, message):
    result = runner.invoke(app, arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert 'Traceback' not in result.output


def test_weights_list_names_every_model(monkeypatch, tmp_path):
    monkeypatch.setenv('ROBUST_VOS_CACHE', str(tmp_path))
    result = runner.invoke(app, ['weights', 'list'])
    assert result.exit_code == 0
    assert 'nano.safetensors' in result.output
    assert 'robust-vos weights fetch sam2.1_hiera_large (898 MB)' in result.output
