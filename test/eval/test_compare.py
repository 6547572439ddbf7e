import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from robust_vos_ros.cli import app
from robust_vos_ros.core.errors import ConfigError, DatasetError
from robust_vos_ros.data.video_folder import open_dataset
from robust_vos_ros.eval import compare as comparison

runner = CliRunner()


def run(root, *arguments):
    return runner.invoke(
        app, ['compare', str(root), '--device', 'cpu', '--threads', '1', *map(str, arguments)]
    )


def test_one_run_compares_all(dataset_root, clip):
    path = dataset_root / 'out' / 'numbers.json'
    result = run(dataset_root, '--split', 'val.txt', '--weights', 'shipped=', '--json', path)
    assert result.exit_code == 0, result.output
    names = ['copy', 'flow', 'matcher', 'shipped mask', 'shipped box', 'shipped clicks']
    names.append('shipped click')
    for name in ['J&F', 'fps', 'square', *names]:
        assert name in result.stdout

    report = json.loads(path.read_text())
    rows = {row['name']: row for row in report['rows']}
    assert list(rows) == names
    assert rows['copy']['jf'] < 50
    assert rows['flow']['jf'] > 60
    assert rows['matcher']['jf'] > 60
    assert rows['shipped mask']['jf'] > rows['copy']['jf']
    for row in rows.values():
        assert row['fps'] > 0
        assert row['jf'] == pytest.approx((row['j'] + row['f']) / 2, abs=0.011)
        assert row['sequences'] == {'square': {key: row[key] for key in ('jf', 'j', 'f')}}
    assert report['models']['shipped']['model'] == 'nano'
    assert len(report['models']['shipped']['weights_sha256']) == 64


def test_scores_are_the_mean_over_sequences(dataset_root, clip):
    for folder in ('JPEGImages', 'Annotations'):
        (dataset_root / folder / 'still').mkdir()
        files = sorted((dataset_root / folder / 'square').iterdir())
        for file in files[:4]:
            (dataset_root / folder / 'still' / file.name).write_bytes(files[0].read_bytes())
    done = []
    rows = comparison.compare(
        comparison.baseline_methods()[:1],
        open_dataset(dataset_root, layout='folders'),
        on_track=lambda: done.append(1),
    )
    (row,) = rows
    assert len(done) == 2
    assert row.sequences['still'].jf == 1.0
    assert row.total.j == pytest.approx((1.0 + row.sequences['square'].j) / 2)
    assert row.total.f == pytest.approx((1.0 + row.sequences['square'].f) / 2)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('new=/tmp/a.safetensors', ('new', 'nano', '/tmp/a.safetensors')),
        ('new=', ('new', 'nano', '')),
        ('tiny=sam2.1_hiera_tiny:', ('tiny', 'sam2.1_hiera_tiny', '')),
        ('a=nano:b=c.pt', ('a', 'nano', 'b=c.pt')),
        ('a=odd:name.pt', ('a', 'nano', 'odd:name.pt')),
    ],
)
def test_weights_are_named(text, expected):
    assert comparison.parse_weights(text) == expected


@pytest.mark.parametrize('text', ['', 'nano.safetensors', '=nano.safetensors'])
def test_weights_without_a_name_are_refused(text):
    with pytest.raises(ConfigError, match='NAME=FILE'):
        comparison.parse_weights(text)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--weights', 'a=missing.safetensors'], 'missing.safetensors does not exist'),
        (['--weights', 'missing.safetensors'], 'NAME=FILE'),
        (['--weights', 'a=', '--weights', 'a='], 'twice'),
        (['--split', 'test'], 'test.txt'),
        (['--layout', 'folder'], 'layout'),
    ],
)
def test_wrong_arguments_give_one_sentence(dataset_root, arguments, message):
    result = run(dataset_root, *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert 'Traceback' not in result.output


def test_a_missing_data_set_gives_one_sentence(tmp_path):
    result = run(tmp_path / 'nothing')
    assert result.exit_code == 1
    assert 'nothing' in result.output


def test_a_missing_mask_is_told(dataset_root):
    (dataset_root / 'Annotations' / 'square' / '00004.png').unlink()
    with pytest.raises(DatasetError, match='frame 4'):
        comparison.compare(
            comparison.baseline_methods(), open_dataset(dataset_root, layout='folders')
        )


def test_a_sequence_must_begin_with_an_object(dataset_root):
    files = sorted((dataset_root / 'Annotations' / 'square').iterdir())
    cv2.imwrite(str(files[0]), np.zeros((160, 244), np.uint8))
    with pytest.raises(DatasetError, match='first frame'):
        comparison.compare(
            comparison.baseline_methods(), open_dataset(dataset_root, layout='folders')
        )


def test_clips_of_held_out_stills_are_scored_beside_the_data_set(
    dataset_root, clip, tmp_path, monkeypatch
):
    from robust_vos_ros.cli import compare as command
    from robust_vos_ros.data import sources

    monkeypatch.setattr(command, '_STILL_FRAMES', 4)
    monkeypatch.setattr(command, '_STILL_SIZE', 96)
    monkeypatch.setattr(sources, 'is_held_out', lambda name, share: True)
    for folder, value in (('images', 200), ('masks', 1)):
        (tmp_path / folder).mkdir()
        shown = np.zeros((96, 96), np.uint8)
        shown[30:60, 30:60] = value
        cv2.imwrite(str(tmp_path / folder / 'one.png'), shown)
    report = tmp_path / 'report.json'
    options = ['--weights', 'nano=', '--stills', tmp_path, '--clips', 2, '--json', report]
    result = run(dataset_root, '--split', 'val.txt', *options)
    assert result.exit_code == 0, result.output
    assert 'Clips of still images, several objects' in result.output
    scores = json.loads(report.read_text())
    assert scores['stills, one object'][0]['objects'] == 2
    assert 0.0 <= scores['stills, several objects'][0]['together']['jf'] <= 100.0
