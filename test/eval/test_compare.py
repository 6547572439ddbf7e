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
        comparison.baselines()[:1],
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
        comparison.compare(comparison.baselines(), open_dataset(dataset_root, layout='folders'))


def test_a_sequence_must_begin_with_an_object(dataset_root):
    files = sorted((dataset_root / 'Annotations' / 'square').iterdir())
    cv2.imwrite(str(files[0]), np.zeros((160, 244), np.uint8))
    with pytest.raises(DatasetError, match='first frame'):
        comparison.compare(comparison.baselines(), open_dataset(dataset_root, layout='folders'))


def test_a_box_is_tight():
    mask = np.zeros((10, 20), bool)
    mask[3:5, 7:20] = True
    assert comparison.tight_box(mask).tolist() == [7, 3, 20, 5]


def test_clicks_are_deep_and_apart():
    mask = np.zeros((60, 80), bool)
    mask[10:50, 5:45] = True
    mask[28:33, 45:75] = True  # an arm
    points = comparison.three_points(mask)
    assert points.shape == (3, 2)
    assert points.dtype == np.float32
    assert np.abs(points[0] - (24.5, 29.5)).max() <= 1
    assert points[1][0] == 73  # near the end of the arm, 2 px inside
    for x, y in points.astype(int):
        assert mask[y - 1 : y + 2, x - 1 : x + 2].all()
    assert np.linalg.norm(points[2] - points[1]) > 30 < np.linalg.norm(points[1] - points[0])
    assert np.array_equal(points, comparison.three_points(mask))


def test_clicks_on_a_tiny_object_repeat():
    mask = np.zeros((9, 9), bool)
    mask[4, 6] = True
    assert comparison.three_points(mask).tolist() == [[6, 4]] * 3


def test_clicks_keep_away_from_the_edge_of_the_image():
    points = comparison.three_points(np.ones((30, 40), bool))
    assert points.min() >= 1
    assert (points <= (38, 28)).all()
