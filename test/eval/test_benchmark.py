"""The benchmark with the real model, on a clip of ten frames."""

import importlib.util
import json
import re
import shutil

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from robust_vos_ros.cli import app
from robust_vos_ros.core.errors import ConfigError, RobustVosError
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.eval import benchmark, datasets, results, runners, tasks
from robust_vos_ros.eval.conditions import make_conditions
from robust_vos_ros.eval.report import make_report

runner = CliRunner()
RUN = ['--corruption', 'fog,noise_30', '--severity', '3', '--profile', 'fourier']


def evaluate(root, out, *arguments, processes=1):
    options = ['--json', out, '--cache', root / 'cache', '--processes', processes]
    command = ['evaluate', 'dataset', root, *RUN, '--device', 'cpu', *options, *arguments]
    return runner.invoke(app, list(map(str, command)))


def without_times(path):
    """The content of a results file but for what depends on the machine."""
    times = r'"(seconds)": [0-9.e-]+|("ms per frame": {\s*"value"): [0-9.e-]+'
    text = re.sub(times, r'\1\2: 0', path.read_text())
    return re.sub(r'"machine": "[^"]*"', '', text)


@pytest.fixture
def two_sequences(dataset_root):
    """The square, and the same clip backwards, with a second object from frame 4 on."""
    for folder, ending in (('JPEGImages', 'jpg'), ('Annotations', 'png')):
        (dataset_root / folder / 'back').mkdir()
        files = sorted((dataset_root / folder / 'square').iterdir())
        for index, path in enumerate(reversed(files)):
            shutil.copy(path, dataset_root / folder / 'back' / f'{index:05d}.{ending}')
    for index, path in enumerate(sorted((dataset_root / 'Annotations/back').iterdir())):
        mask = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0).astype(np.uint8)
        if index >= 4:
            mask[4:30, 200:240] = 2
        cv2.imwrite(str(path), mask)
    return dataset_root


def test_the_same_numbers_from_one_and_two_processes_and_from_the_cache(two_sequences):
    root = two_sequences
    one, two, again = (root / f'{name}.json' for name in ('one', 'two', 'again'))
    result = evaluate(root, one)
    assert result.exit_code == 0, result.output
    assert 'noise_30' in result.stdout
    cached = sorted((root / 'cache').iterdir())
    assert len(cached) == 2 * 3  # clean and two corruptions
    content = json.loads(one.read_text())
    summary = content['variants']['base']
    assert summary['J&F']['value'] > 80
    assert summary['per_sequence']['square']['J'] > 80
    assert set(summary['per_corruption']) == {'fog', 'noise_30'}
    objects = {o['object_id']: o for o in content['records'][0]['objects']}
    assert content['records'][0]['sequence'] == 'back'
    assert objects[2]['frames'] == list(range(4, 10))

    shutil.rmtree(root / 'cache')
    assert evaluate(root, two, processes=2).exit_code == 0
    assert without_times(two) == without_times(one)

    # A finished run costs no tracking: a record that cannot be read is all that is measured.
    cached = sorted((root / 'cache').iterdir())
    times = {path: path.stat().st_mtime_ns for path in cached}
    cached[0].write_text('{"half": ')
    assert evaluate(root, again).exit_code == 0
    assert without_times(again) == without_times(one)
    changed = [p for p in cached if p.stat().st_mtime_ns != times[p]]
    assert changed == cached[:1]


def test_shards_merge_to_the_whole(two_sequences):
    root = two_sequences
    whole = root / 'whole.json'
    parts = [root / 'part1.json', root / 'part2.json']
    for number, part in enumerate(parts, 1):
        assert evaluate(root, part, '--shard', f'{number}/2').exit_code == 0
        assert len({r['sequence'] for r in json.loads(part.read_text())['records']}) == 1
    assert evaluate(root, whole).exit_code == 0
    joined = root / 'joined.json'
    result = runner.invoke(app, ['evaluate', 'merge', *map(str, parts), '--json', str(joined)])
    assert result.exit_code == 0, result.output
    assert without_times(joined) == without_times(whole)
    same = runner.invoke(app, ['evaluate', 'merge', *map(str, parts), '--json', str(parts[0])])
    assert 'expected another file than those to join' in ' '.join(same.output.split())
    twice = runner.invoke(app, ['evaluate', 'merge', str(parts[0]), str(parts[0])])
    assert twice.exit_code == 1
    assert 'expected new records' in twice.output
    other = root / 'other.json'
    assert evaluate(root, other, '--seed', '9', '--shard', '2/2').exit_code == 0
    mixed = runner.invoke(app, ['evaluate', 'merge', str(parts[0]), str(other)])
    assert 'expected conditions as in' in mixed.output


def test_variants_are_compared_and_reported(two_sequences):
    root = two_sequences
    out = root / 'pair.json'
    result = evaluate(root, out, '--variants', 'base,same=nano', '--prompt', 'box')
    assert result.exit_code == 1  # nano is a model, not a file
    result = evaluate(root, out, '--variants', 'base,same=nano:', '--prompt', 'box')
    assert result.exit_code == 0, result.output
    content = json.loads(out.read_text())
    assert list(content['variants']) == ['base', 'same']
    assert content['differences']['same']['corrupted']['value'] == 0.0
    assert content['differences']['same']['clean']['interval'] == [0.0, 0.0]

    page = runner.invoke(app, ['evaluate', 'report', str(out), '--parts', str(root / 'parts')])
    assert page.exit_code == 0, page.output
    html = out.with_suffix('.html').read_text()
    assert html == make_report(results.read(out))
    assert html.count('<svg') == 3
    assert 'data:image/jpeg;base64,' in html
    for text in ('noise_30', 'square', 'ECE', 'same', 'box'):
        assert text in html
    links = re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"', html)
    assert links == []  # self-contained
    files = {path.name for path in (root / 'parts').iterdir()}
    assert {'table.md', 'corruptions.svg', 'curves.svg', 'reliability.svg'} < files
    assert any(name.startswith('base_square_') for name in files)
    lines = (root / 'parts/table.md').read_text().splitlines()
    assert [line.split('|')[1].strip() for line in lines] == ['', '---', 'base', 'same']
    assert len({line.count('|') for line in lines}) == 1


def test_masks_of_absent_objects_are_counted(dataset_root):
    """The square disappears from the truth: what is still published there is false."""
    for index in (6, 7):
        path = dataset_root / f'Annotations/square/{index:05d}.png'
        cv2.imwrite(str(path), np.zeros((160, 244), np.uint8))
    out = dataset_root / 'out.json'
    assert evaluate(dataset_root, out, '--protocol', 'davis').exit_code == 0
    davis = json.loads(out.read_text())
    assert davis['variants']['base']['absent masked']['value'] == 1.0
    assert (
        evaluate(dataset_root, out, '--protocol', 'robustpvos', '--prompt', 'mask').exit_code == 0
    )
    lenient = json.loads(out.read_text())
    assert lenient['variants']['base']['J']['value'] > davis['variants']['base']['J']['value'] + 15
    assert 'not comparable' in lenient['about']['protocol_note']


def test_a_record_depends_on_all_that_matters(dataset_root):
    dataset = datasets.FolderSet(root=dataset_root)
    clean, fog = make_conditions('fog', [3.0], profile='constant', seed=0)
    variant = tasks.Variant(name='base', model=ModelSettings())
    task = tasks.Task(
        variant=variant, dataset=dataset, sequence='square', condition=clean, prompt='mask'
    )
    other_tracking = variant.tracking.model_copy(update={'visible_on': 0.4})
    changes = [
        {'condition': fog},
        {'prompt': 'box'},
        {'variant': variant.model_copy(update={'tracking': other_tracking})},
    ]
    keys = {task.key(), *(task.model_copy(update=change).key() for change in changes)}
    assert len(keys) == 4
    path = dataset_root / 'Annotations/square/00003.png'
    mask = path.read_bytes()
    path.write_bytes((dataset_root / 'Annotations/square/00004.png').read_bytes())
    datasets.files_hash.cache_clear()
    keys.add(task.key())
    assert len(keys) == 5
    path.write_bytes(mask)
    datasets.files_hash.cache_clear()
    # But not on where the data set is.
    moved = dataset_root.parent / f'{dataset_root.name}_moved'
    shutil.copytree(dataset_root, moved)
    elsewhere = task.model_copy(update={'dataset': datasets.FolderSet(root=moved)})
    assert elsewhere.key() == task.key()


def test_conditions_are_clean_and_all_severities():
    found = make_conditions('fog,blur_7', [1.0, 3.0, 3.0], profile='ramp', seed=4)
    assert [(c.corruption, c.severity) for c in found] == [
        ('clean', 0.0), ('fog', 1.0), ('fog', 3.0), ('blur_7', 1.0),
    ]  # fmt: skip
    assert [c.profile for c in found] == ['constant', 'ramp', 'ramp', 'constant']
    assert {c.seed for c in found} == {4}


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['--severity', '0'], 'severity: expected numbers above 0'),
        (['--severity', 'x'], 'severity: expected numbers such as 1,3,5'),
        (['--corruption', 'hail'], "got 'hail'"),
        (['--profile', 'sudden'], "got 'sudden'"),
        (['--protocol', 'other'], 'protocol: expected one of davis'),
        (['--prompt', 'words'], 'prompt: expected one of mask, box, clicks3, click1'),
        (['--variants', 'base,base'], 'expected different names'),
        (
            ['--variants', 'other'],
            "got 'nano_other'",
        ),
        (['--shard', '2'], 'shard: expected i/n'),
        (['--shard', '1/9'], 'n at most 1'),
        (['--checkpoint', 'nowhere.safetensors'], 'does not exist'),
        (['--split', 'nothing'], 'expected a split file'),
    ],
)
def test_errors_say_what_was_expected(dataset_root, arguments, text):
    result = evaluate(dataset_root, dataset_root / 'out.json', *arguments)
    assert result.exit_code == 1
    assert text in ' '.join(result.output.split())


def test_a_sequence_without_objects_is_named(dataset_root):
    for path in (dataset_root / 'Annotations/square').iterdir():
        cv2.imwrite(str(path), np.zeros((160, 244), np.uint8))
    dataset = datasets.FolderSet(root=dataset_root)
    conditions = make_conditions('', [3.0], profile='constant', seed=0)
    variant = tasks.Variant(name='base', model=ModelSettings(num_threads=1))
    todo = tasks.make_tasks([variant], dataset, conditions, 'mask')
    with pytest.raises(RobustVosError, match='square: expected a mask with an object'):
        benchmark.run_benchmark(todo, runners.run_here, dataset_root / 'cache')


@pytest.mark.parametrize('text', ['', '[]', '{"about": {}}', '{"about": {}, "records": [1]}'])
def test_what_is_no_results_file_is_refused(tmp_path, text):
    path = tmp_path / 'x.json'
    path.write_text(text)
    with pytest.raises(ConfigError, match='expected'):
        results.read(path)


@pytest.mark.skipif(not importlib.util.find_spec('ray'), reason='Ray is an optional extra')
def test_the_same_numbers_from_ray(dataset_root):
    here, there = dataset_root / 'here.json', dataset_root / 'there.json'
    assert evaluate(dataset_root, here).exit_code == 0
    shutil.rmtree(dataset_root / 'cache')
    result = evaluate(dataset_root, there, '--ray', 'local')
    assert result.exit_code == 0, result.output
    assert without_times(there) == without_times(here)


@pytest.mark.skipif(bool(importlib.util.find_spec('ray')), reason='only where Ray is missing')
def test_a_missing_ray_is_told(dataset_root):
    result = evaluate(dataset_root, dataset_root / 'x.json', '--ray', 'auto')
    assert result.exit_code == 1
    assert "pip install 'ray" in result.output
