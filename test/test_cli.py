import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import robust_vos_ros
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
    assert report['cpu']
    assert report['precision_reason'].startswith('auto: ')
    stages = report['runs'][1]['stages_ms']
    assert {'encode', 'attend', 'decode', 'remember', 'compose'} <= set(stages)
    assert sum(stages.values()) < 2 * report['runs'][1]['p95_ms'], 'a stage counts once'


def test_bench_compares_with_the_predictor_of_sam2():
    arguments = ['--size', '160x120', '--objects', '2', '--frames', '2', '--warm-up', '2']
    result = runner.invoke(app, ['bench', '--against', 'sam2', '--json', *arguments])
    assert result.exit_code == 0, result.output
    runs = {run['runner']: run for run in json.loads(result.stdout)['runs']}
    assert set(runs) == {'SAM2VideoPredictor', 'plain', 'default', 'shipped'}
    assert all(run['median_ms'] > 0 and run['ratio'] > 0 for run in runs.values())
    assert runs['SAM2VideoPredictor']['ratio'] == 1.0


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['bench', '--size', '640'], 'WIDTHxHEIGHT'),
        (['bench', '--objects', '1,none'], 'numbers such as'),
        (['bench', '--model', 'sam9'], 'unknown model'),
        (['bench', '--against', 'sam9'], 'expected sam2'),
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


def test_bag_commands(tmp_path):
    """From a bag to masks and a data set; a broken one gives one sentence."""
    from rosbags.rosbag2 import Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    kind = 'sensor_msgs/msg/Image'
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    with Writer(tmp_path / 'drive', version=9) as bag:
        topic = bag.add_connection('/image', kind, typestore=store)
        for index in range(2):
            header = store.types['std_msgs/msg/Header'](
                store.types['builtin_interfaces/msg/Time'](index, 0), 'camera'
            )
            message = store.types[kind](header, 48, 64, 'rgb8', 0, 192, rgb.reshape(-1))
            bag.write(topic, index * 10**9, store.serialize_cdr(message, kind))
    prompts = tmp_path / 'prompts.yaml'
    prompts.write_text('prompts: [{frame: 0, object_id: it, box: [8, 8, 40, 40]}]')
    source, target = str(tmp_path / 'drive'), str(tmp_path / 'masks.mcap')
    arguments = ['bag', 'process', source, target, '--prompts', str(prompts), '--threads', '1']
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert 'masks.mcap: 2 frames of /image' in result.output
    out = ['--prompts', str(prompts), '--out', str(tmp_path / 'many')]
    (tmp_path / 'cut.mcap').write_bytes(b'\x89MCAP')
    result = runner.invoke(app, ['bag', 'process', source, str(tmp_path / 'cut.mcap'), *out])
    assert result.exit_code == 1
    assert 'drive.mcap: done, 2 frames' in result.output
    assert 'the bag is damaged or cut off' in result.output
    assert '1 of 2 bags done' in result.output
    result = runner.invoke(app, ['bag', 'export', target, str(tmp_path / 'c'), '--format', 'coco'])
    assert result.exit_code == 0
    assert f'{tmp_path / "c"}: 2 frames' in result.output
    for command in (
        ['bag', 'process', source, target, '--prompts', str(prompts)],  # the output exists
        ['bag', 'process', source, '--prompts', str(prompts)],  # no output
        ['bag', 'export', source, str(tmp_path / 'd'), '--format', 'coco'],  # no masks
    ):
        result = runner.invoke(app, command)
        assert result.exit_code != 0
        assert 'Traceback' not in result.output


def test_the_prompt_file_of_the_documentation():
    from robust_vos_ros.bags.prompts import load_prompt_file, make_plan

    docs = Path(__file__).parents[1] / 'docs'
    plan = make_plan(load_prompt_file(docs / 'prompts.yaml'), docs, num_frames=150, frame_of={})
    assert sorted(plan) == [0, 40, 80]


def test_calibrate_starts_only_from_a_calibration_of_the_model(tmp_path):
    shipped = Path(robust_vos_ros.__file__).parent / 'weights/nano.calibration.json'
    other = tmp_path / 'other.json'
    other.write_text(shipped.read_text().replace('"model": "nano"', '"model": "tiny"'))
    few = ['--clips', '1', '--frames', '5', '--out', str(tmp_path / 'c.json')]
    result = runner.invoke(app, ['calibrate', *few, '--start', str(other)])
    assert result.exit_code == 1
    assert 'got one of tiny' in ' '.join(result.output.split())
    assert not (tmp_path / 'c.json').exists()


def test_calibrate_says_what_it_needs(tmp_path):
    target = tmp_path / 'c.json'
    few = ['--clips', '1', '--embedding-clips', '0', '--frames', '40']
    result = runner.invoke(app, ['calibrate', *few, '--out', str(target)])
    assert result.exit_code == 1
    assert 'expected 8 objects or more' in result.output
    assert not target.exists()
