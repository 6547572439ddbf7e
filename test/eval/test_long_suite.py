"""The suite of long clips with the real model, on clips of a second or two."""

import base64
import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from robust_vos_ros.cli import app
from robust_vos_ros.core.errors import ConfigError, DatasetError
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.data.long_plan import LongSettings
from robust_vos_ros.eval import benchmark, long_report, long_tasks, runners, tasks
from robust_vos_ros.eval.intervals import resampled_sums
from robust_vos_ros.eval.long import judge
from robust_vos_ros.eval.long_summary import compare_long, summarize_long

runner = CliRunner()
PLAIN = 'plain:tracking.gate.min_confidence=0'


ONE_OBJECT = LongSettings(
    min_objects=1, max_objects=1, min_absence_s=0.7, max_absence_s=0.75, min_visible_s=0.5,
    max_visible_s=0.5, passing=0.0, bait=0.0,
)  # fmt: skip
BASE = tasks.Variant(name='base', model=ModelSettings(device='cpu', num_threads=1))


def make_tasks(num_clips, num_frames):
    suite = long_tasks.LongSuite(
        num_clips=num_clips, num_frames=num_frames, size=96, seed=1, settings=ONE_OBJECT
    )
    return long_tasks.make_long_tasks([BASE], suite)


@pytest.fixture(scope='module')
def record():
    """One object that is absent for two thirds of a second, in a record of 48 frames."""
    return tasks.measure(make_tasks(1, 48)[0])


def test_the_same_numbers_from_one_and_two_processes(tmp_path):
    todo = make_tasks(2, 8)
    one, two = (
        benchmark.run_benchmark(todo, run, tmp_path / name)
        for name, run in (('one', runners.run_here), ('two', runners.run_in_processes(2)))
    )
    assert [record.sequence for record in one] == ['long-000', 'long-001']
    for left, right in zip(one, two, strict=True):
        assert right == left.model_copy(update={'seconds': right.seconds})


def test_the_command_writes_tables_of_its_variants(tmp_path):
    files = {name: tmp_path / name for name in ('json', 'markdown', 'diagram', 'strips')}
    options = ['--clips', 1, '--frames', 10, '--size', 96, '--processes', 1, '--set', PLAIN]
    options += [part for name, path in files.items() for part in (f'--{name}', path)]
    command = ['eval', '--suite', 'long', *options, '--cache', tmp_path / 'cache']
    result = runner.invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    assert 'plain' in result.stdout
    content = json.loads(files['json'].read_text())
    assert list(content['variants']) == ['base', 'plain']
    settings = content['about']['variants']['plain']['tracking']
    assert settings['gate']['min_confidence'] == 0.0
    assert content['variants']['base']['J&F']['value'] > 50
    lines = files['markdown'].read_text().splitlines()
    assert [line.split('|')[1].strip() for line in lines] == ['', '---', 'base', 'plain']
    assert len({line.count('|') for line in lines}) == 1
    assert files['diagram'].read_text().startswith('<svg')
    assert not list(files['strips'].iterdir())  # nothing is absent in a third of a second


def test_a_record_holds_all_frames_of_all_objects(record):
    [rows], [item] = record.tables(), record.objects
    assert {len(values) for _, values in item} == {48}
    assert rows.visible[0] > 0.7
    [verdict] = judge(rows, record.rate_hz)
    assert 0.5 <= (verdict.end - verdict.start) / record.rate_hz <= 1.5
    assert rows.absent[verdict.start : verdict.end].all()
    absent_and_no_mask = rows.absent & ~rows.masked
    assert np.array_equal(absent_and_no_mask, rows.absent & (rows.j == 1.0) & (rows.f == 1.0))
    assert not rows.j[rows.absent & rows.masked].any()


def test_the_film_strip_shows_the_absence(record, tmp_path):
    assert long_report.write_strips(tmp_path / 'strips', [record]) == 1
    picture = cv2.imread(str(tmp_path / 'strips/base_long-000.png'))
    assert picture.shape[0] == 240
    assert picture.shape[1] in {6 * 240, 7 * 240, 8 * 240}  # at most 8, each frame once
    sent = cv2.imdecode(np.frombuffer(base64.b64decode(record.film), np.uint8), 1)
    assert np.array_equal(picture, sent)


def test_shares_of_two_clips_are_those_of_all_their_cases(record):
    # The second clip is the first with the mask gone throughout.
    [item] = record.objects
    count = len(item.j)
    blank = item.model_copy(
        update={
            'j': [float(px == 0) for px in item.visible_px],
            'f': [float(px == 0) for px in item.visible_px],
            'masked': [False] * count,
            'precision': [0.0] * count,
            'confidence': [0.0] * count,
            'state': [3] * count,
        }
    )
    other = record.model_copy(update={'objects': [blank]})
    summary = summarize_long([record, other])
    assert summary['in time']['cases'] == summary['false']['cases'] == 2
    low, high = summary['in time']['interval']
    assert low <= summary['in time']['value'] <= high
    alone = summarize_long([other])
    assert alone['kept'] == {'value': None, 'interval': None, 'cases': 0}  # the clip ends
    assert alone['false']['value'] == 0.0
    assert alone['in time']['value'] == 1.0
    assert alone['absent masked']['value'] == 0.0
    assert alone['J&F in view']['value'] == 0.0
    assert alone['ECE clean']['value'] == 0.0
    assert alone['ECE masked']['value'] is None
    loss = compare_long([record], [other])['J&F']
    assert loss['value'] == pytest.approx(
        alone['J&F']['value'] - summarize_long([record])['J&F']['value']
    )


def test_resampled_sums_are_around_the_sum():
    values = np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 10.0]])
    sums = resampled_sums(values)
    assert sums.shape[1:] == (2,)
    assert sums[:, 0].mean() == pytest.approx(9.0, abs=0.3)
    assert (sums[:, 1] == 30.0).all()
    assert sums[:, 0].min() == 3.0


def test_a_record_is_kept_however_many_clips_there_are():
    variant = tasks.Variant(name='base', model=ModelSettings())
    few, more, other = (
        long_tasks.LongSuite(num_clips=clips, num_frames=frames, size=96, seed=0)
        for clips, frames in ((1, 9), (5, 9), (1, 10))
    )
    keys = [long_tasks.make_long_tasks([variant], suite)[0].key() for suite in (few, more, other)]
    assert keys[0] == keys[1] != keys[2]


def test_settings_of_variants():
    def make(text, *changes):
        return benchmark.make_variants(
            text, model='nano', checkpoint='', device='cpu', changes=changes
        )

    base, plain = make(
        'base', PLAIN, 'plain:tracking.visible_on=0.7', 'base:tracking.max_objects=3'
    )
    assert (base.name, base.tracking.max_objects) == ('base', 3)
    assert (plain.name, plain.tracking.visible_on) == ('plain', 0.7)
    assert plain.tracking.gate.min_confidence == 0.0
    assert plain.tracking.max_objects == 16
    for change, text in (
        ('plain:tracking.speed=1', 'speed: Extra inputs are not permitted'),
        ('plain:tracking.visible_on=9', 'visible_on: Input should be less than or equal to 1'),
        ('plain:model.name=nano', 'expected NAME:tracking.KEY=VALUE'),
        ('tracking.visible_on=0.5', 'expected NAME:tracking.KEY=VALUE'),
    ):
        with pytest.raises(ConfigError, match=text):
            make('base', change)


@pytest.mark.parametrize(
    ('arguments', 'text'),
    [
        (['--suite', 'short'], '--suite: expected one of long'),
        (['--suite', 'long', '--corruption', 'fog'], 'expected no --corruption with --suite'),
        (['--suite', 'long', 'folder', '--shard', '1/2'], 'expected no DATASET, --shard with'),
        (['folder', '--clips', '3'], 'expected no --clips without --suite'),
        ([], 'expected the folder of a data set or --suite'),
        (['--suite', 'long', '--footage', 'nowhere', '--layout', 'no'], "got 'no'"),
    ],
)
def test_options_that_do_not_go_together_are_errors(arguments, text):
    result = runner.invoke(app, ['eval', *arguments])
    assert result.exit_code == 1
    assert text in ' '.join(result.output.split())


def test_small_objects_on_a_large_one_are_a_suite_as_well(dataset_root, tmp_path):
    options = ['--footage', dataset_root, '--clips', 1, '--frames', 10, '--size', 96]
    options += ['--prompt', 'box', '--processes', 1, '--cache', tmp_path / 'cache']
    files = ['--json', tmp_path / 'json', '--markdown', tmp_path / 'table']
    result = runner.invoke(app, list(map(str, ['eval', '--suite', 'contact', *options, *files])))
    assert result.exit_code == 0, result.output
    assert 'confidently wrong %' in (tmp_path / 'table').read_text()
    [record] = json.loads((tmp_path / 'json').read_text())['records']
    assert record['sequence'] == 'contact-000'
    assert len(record['objects']) == 3  # two small ones, and the large one


def test_clips_of_contact_need_footage():
    suite = long_tasks.LongSuite(kind='contact', num_clips=1, num_frames=4, size=96, seed=0)
    with pytest.raises(DatasetError, match='footage'):
        suite.clip(0)
