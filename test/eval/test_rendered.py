"""Rendered clips with the real model, a second or two long."""

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
from robust_vos_ros.eval import benchmark, runners, tasks
from robust_vos_ros.eval.absences import score_absences
from robust_vos_ros.eval.conditions import segments
from robust_vos_ros.eval.intervals import resampled_sums
from robust_vos_ros.eval.rendered import RenderedSet
from robust_vos_ros.eval.summary import differences, summarize
from robust_vos_ros.eval.variants import make_variants

runner = CliRunner()
PLAIN = 'plain:tracking.memory.min_confidence=0'


ONE_OBJECT = LongSettings(
    min_objects=1, max_objects=1, min_absence_s=0.7, max_absence_s=0.75, min_visible_s=0.5,
    max_visible_s=0.5, distractor_near=0.0, distractor_in_absence=0.0,
)  # fmt: skip
BASE = tasks.Variant(name='base', model=ModelSettings(device='cpu', num_threads=1))


def make_tasks(num_clips, num_frames, variant=BASE, **options):
    sizes = {'num_clips': num_clips, 'num_frames': num_frames, 'size': 96, 'seed': 1}
    return tasks.make_tasks([variant], RenderedSet(**sizes, **options), segments(1), 'mask')


@pytest.fixture(scope='module')
def record():
    """One object that is absent for two thirds of a second, in a record of 48 frames."""
    return tasks.measure(make_tasks(1, 48, settings=ONE_OBJECT)[0])


def test_the_same_numbers_from_one_and_two_processes(tmp_path):
    todo = make_tasks(2, 8, settings=ONE_OBJECT)
    one, two = (
        benchmark.run_benchmark(todo, run, tmp_path / name)
        for name, run in (('one', runners.run_here), ('two', runners.run_in_processes(2)))
    )
    assert [record.sequence for record in one] == ['long-000', 'long-001']
    for left, right in zip(one, two, strict=True):
        assert right == left.model_copy(update={'seconds': right.seconds})


def evaluate(tmp_path, *arguments):
    options = ['--frames', 10, '--size', 96, '--processes', 1, '--cache', tmp_path / 'cache']
    return runner.invoke(app, list(map(str, ['evaluate', *arguments, *options])))


def test_shards_of_long_clips_merge_to_the_whole(tmp_path):
    whole, *parts, joined = (tmp_path / f'{name}.json' for name in ('whole', '1', '2', 'joined'))
    common = ['long', '--clips', 2, '--set', PLAIN]
    for number, path in enumerate(parts, 1):
        result = evaluate(tmp_path, *common, '--shard', f'{number}/2', '--json', path)
        assert result.exit_code == 0, result.output
    result = evaluate(tmp_path, *common, '--json', whole)
    assert result.exit_code == 0, result.output
    merge = ['evaluate', 'merge', *map(str, parts), '--json', str(joined)]
    assert runner.invoke(app, merge).exit_code == 0
    assert joined.read_text() == whole.read_text()  # all records come from the cache
    content = json.loads(whole.read_text())
    assert list(content['variants']) == ['base', 'plain']
    settings = content['about']['variants']['plain']['tracking']
    assert settings['memory']['min_confidence'] == 0.0
    assert content['variants']['base']['J&F']['value'] > 50
    assert list(content['differences']['plain']) == ['segments']


def test_a_record_holds_all_frames_of_all_objects(record):
    [rows], [item] = record.tables(), record.objects
    lists = [value for _, value in item if isinstance(value, list)]
    assert {len(values) for values in lists} == {48}
    assert rows.visible[0] > 0.7
    [verdict] = score_absences(rows, record.rate_hz)
    assert 0.5 <= (verdict.end - verdict.start) / record.rate_hz <= 1.5
    assert rows.absent[verdict.start : verdict.end].all()
    absent_and_no_mask = rows.absent & ~rows.masked
    assert np.array_equal(absent_and_no_mask, rows.absent & (rows.j == 1.0) & (rows.f == 1.0))
    assert not rows.j[rows.absent & rows.masked].any()


def test_the_film_strip_shows_the_absence(record):
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(record.strip), np.uint8), 1)
    assert picture.shape[0] == 240
    assert picture.shape[1] in {6 * 240, 7 * 240, 8 * 240}  # at most 8, each frame once


def test_shares_of_two_clips_are_those_of_all_their_cases(record):
    # The second clip is the first with the mask gone throughout.
    [item] = record.objects
    count = len(item.j)
    blank = item.model_copy(
        update={
            'j': [float(share == 0) for share in item.visible],
            'f': [float(share == 0) for share in item.visible],
            'masked': [False] * count,
            'precision': [0.0] * count,
            'confidence': [0.0] * count,
            'state': [3] * count,
        }
    )
    other = record.model_copy(update={'objects': [blank]})
    both = [record, other.model_copy(update={'sequence': 'other'})]
    summary = summarize(both, 'clips')
    assert summary['in time']['cases'] == summary['false']['cases'] == 2
    low, high = summary['in time']['interval']
    assert low <= summary['in time']['value'] <= high
    alone = summarize([other], 'clips')
    assert alone['kept'] == {'value': None, 'interval': None, 'cases': 0}  # the clip ends
    assert alone['false']['value'] == 0.0
    assert alone['in time']['value'] == 1.0
    assert alone['absent masked']['value'] == 0.0
    assert alone['J&F in view']['value'] == 0.0
    assert alone['ECE clean']['value'] == 0.0
    assert alone['ECE masked']['value'] is None
    loss = differences([record], [other], 'clips')['segments']
    assert loss['value'] == pytest.approx(
        alone['J&F']['value'] - summarize([record], 'clips')['J&F']['value']
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
        make_tasks(clips, frames, variant)[0].key() for clips, frames in ((1, 9), (5, 9), (1, 10))
    )
    assert few == more != other


def test_settings_of_variants():
    def make(text, *changes):
        return make_variants(text, model='nano', checkpoint='', device='cpu', changes=changes)

    base, plain = make(
        'base', PLAIN, 'plain:tracking.visible_on=0.7', 'base:tracking.max_objects=3'
    )
    assert (base.name, base.tracking.max_objects) == ('base', 3)
    assert (plain.name, plain.tracking.visible_on) == ('plain', 0.7)
    assert plain.tracking.memory.min_confidence == 0.0
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
    ('arguments', 'text', 'why'),
    [
        (['short'], "No such command 'short'", 'neither a kind of clips nor a data set'),
        (['long', '--corruption', 'fog'], 'No such option', 'clips have weather of their own'),
        (['dataset', 'folder', '--clips', '3'], 'No such option', 'a data set has its sequences'),
        (['dataset'], 'Missing argument', 'which one'),
        (['contact'], 'Missing argument', 'its objects are real ones'),
        (['long', '--footage', 'nowhere', '--layout', 'no'], "got 'no'", 'not a layout'),
    ],
)
def test_options_that_do_not_go_together_are_errors(arguments, text, why):
    result = runner.invoke(app, ['evaluate', *arguments], env={'COLUMNS': '200'})
    assert result.exit_code != 0, why
    assert text in ' '.join(result.output.split()), why


def test_small_objects_on_a_large_one(dataset_root, tmp_path):
    out = ['--clips', 1, '--prompt', 'box', '--json', tmp_path / 'contact.json']
    result = evaluate(tmp_path, 'contact', dataset_root, *out)
    assert result.exit_code == 0, result.output
    assert 'confidently wrong %' in result.stdout
    [record] = json.loads((tmp_path / 'contact.json').read_text())['records']
    assert record['sequence'] == 'contact-000'
    assert len(record['objects']) == 3  # two small ones, and the large one


def test_clips_of_contact_need_footage():
    clips = RenderedSet(kind='contact', num_clips=1, num_frames=4, size=96, seed=0)
    with pytest.raises(DatasetError, match='footage'):
        clips.render(0)
