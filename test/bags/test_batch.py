"""Many bags: what is done is not done again, what failed is tried again."""

import json
import shutil
from pathlib import Path

import pytest

from robust_vos_ros.bags import batch
from robust_vos_ros.bags.manifest import Manifest, job_hash
from robust_vos_ros.bags.process import process_bag
from robust_vos_ros.core.errors import ConfigError, RobustVosError


@pytest.fixture
def sources(helpers, pictures, tmp_path):
    """Two good bags of 3 frames and one that is cut off."""
    bag = helpers.write_ros2(tmp_path / 'drive', pictures[:3])
    paths = [tmp_path / f'{name}.mcap' for name in ('a', 'b', 'broken')]
    for path in paths:
        shutil.copy(bag / 'drive.mcap', path)
    paths[2].write_bytes(paths[2].read_bytes()[:1000])
    return paths


def make_jobs(helpers, sources, prompt_file, tmp_path):
    return batch.make_jobs(sources, tmp_path / 'out', prompt_file, model=helpers.SETTINGS)


def test_only_what_is_missing_is_done(helpers, model, sources, prompt_file, tmp_path: Path):
    jobs = make_jobs(helpers, sources, prompt_file, tmp_path)
    ran = []

    def run(todo):
        for position, job in enumerate(todo):
            ran.append(job.source.name)
            if ran == ['a.mcap']:
                yield position, OSError('the disk went away')
                continue
            try:
                yield position, process_bag(job, model)
            except RobustVosError as error:
                yield position, error

    shown = []
    entries = batch.process_many(jobs, run, retries=1, on_entry=shown.append)
    assert ran == ['a.mcap', 'b.mcap', 'broken.mcap', 'a.mcap', 'broken.mcap']
    assert [(e.status, e.attempts, e.num_frames) for e in entries] == [
        ('done', 2, 3), ('done', 1, 3), ('failed', 2, 0),
    ]  # fmt: skip
    assert 'cut off' in entries[2].error
    assert [entry.target for entry in shown] == ['b.mcap', 'a.mcap', 'broken.mcap']
    manifest = json.loads((tmp_path / 'out' / 'manifest.json').read_text())
    assert manifest['bags'] == [entry.model_dump() for entry in entries]
    assert entries[0].sha256 == entries[1].sha256  # the same input

    ran.clear()
    shutil.copy(sources[0], sources[2])  # repaired
    (tmp_path / 'out' / 'b.mcap').unlink()
    entries = batch.process_many(jobs, run, retries=0)
    assert ran == ['b.mcap', 'broken.mcap']
    assert {entry.status for entry in entries} == {'done'}
    assert len({entry.sha256 for entry in entries}) == 1

    ran[:] = ['']
    prompt_file.write_text(prompt_file.read_text().replace('toy', 'box'))
    (tmp_path / 'out' / 'b.mcap').write_text('mine now')
    entries = batch.process_many(jobs, run, retries=0)
    assert [entry.status for entry in entries] == ['done', 'failed', 'done']
    assert 'exists already' in entries[1].error
    assert (tmp_path / 'out' / 'b.mcap').read_text() == 'mine now'


def run_with(model):
    def run(todo):
        for position, job in enumerate(todo):
            try:
                yield position, process_bag(job, model)
            except RobustVosError as error:
                yield position, error

    return run


def fail(todo):
    for position, _ in enumerate(todo):
        yield position, OSError('the disk went away')


def test_an_old_output_stays_until_there_is_a_new_one(
    helpers, model, sources, prompt_file, tmp_path: Path
):
    jobs = make_jobs(helpers, sources[:1], prompt_file, tmp_path)
    (first,) = batch.process_many(jobs, run_with(model), retries=0)
    before = jobs[0].target.read_bytes()
    prompt_file.write_text(prompt_file.read_text().replace('toy', 'box'))
    (entry,) = batch.process_many(jobs, fail, retries=0)
    assert entry.status == 'failed'
    assert jobs[0].target.read_bytes() == before
    (entry,) = batch.process_many(jobs, run_with(model), retries=0)
    assert entry.status == 'done'
    assert entry.sha256 != first.sha256


def test_an_output_without_an_entry_is_known_by_its_tag(
    helpers, model, sources, prompt_file, tmp_path: Path
):
    """As after a kill between the move of an output and the manifest."""
    jobs = make_jobs(helpers, sources[:1], prompt_file, tmp_path)
    (first,) = batch.process_many(jobs, run_with(model), retries=0)
    (tmp_path / 'out' / 'manifest.json').unlink()
    assert batch.process_many(jobs, run_with(model), retries=0) == [first]


def test_outputs_are_never_inputs(helpers, sources, prompt_file, tmp_path: Path):
    before = sources[0].read_bytes()
    jobs = batch.make_jobs(sources[:1], tmp_path, prompt_file, model=helpers.SETTINGS)
    (entry,) = batch.process_many(jobs, run_with(None), retries=0)
    assert 'expected another name for the output, got the input' in entry.error
    assert sources[0].read_bytes() == before


def test_a_missing_file_fails_its_own_bag_alone(
    helpers, model, sources, prompt_file, tmp_path: Path
):
    sources[1].unlink()
    jobs = make_jobs(helpers, sources[:2], prompt_file, tmp_path)
    done, missing = batch.process_many(jobs, run_with(model), retries=1)
    assert (done.status, missing.status, missing.attempts) == ('done', 'failed', 0)
    assert 'b.mcap: cannot be read: No such file' in missing.error


def test_a_job_depends_on_the_masks_its_prompts_name(helpers, sources, tmp_path: Path):
    prompts, names = tmp_path / 'prompts.yaml', ('one.png', 'all/00000.png', 'names.json')
    prompts.write_text(
        'prompts:\n- {frame: 0, object_id: a, mask: one.png}\n'
        '- {masks: all, objects: names.json}\n'
    )
    (tmp_path / 'all').mkdir()
    for name in names:
        (tmp_path / name).write_text('old')
    (job,) = make_jobs(helpers, sources[:1], prompts, tmp_path)
    keys = {job_hash(job)}
    for name in names:
        (tmp_path / name).write_text('new')
        keys.add(job_hash(job))
    assert len(keys) == 4
    (tmp_path / 'one.png').unlink()
    with pytest.raises(ConfigError, match=r'one\.png: cannot be read'):
        job_hash(job)


def test_jobs_of_many_bags(helpers, sources, tmp_path: Path):
    (tmp_path / 'prompts').mkdir()
    jobs = make_jobs(helpers, sources[:2], tmp_path / 'prompts', tmp_path)
    assert [job.prompts.name for job in jobs] == ['a.yaml', 'b.yaml']
    (tmp_path / 'more').mkdir()
    with pytest.raises(ConfigError, match='expected one bag of that name, got 2'):
        make_jobs(helpers, [*sources, tmp_path / 'more' / 'a.mcap'], tmp_path, tmp_path)
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'manifest.json').write_text('{}')
    with pytest.raises(ConfigError, match='expected a manifest'):
        Manifest(tmp_path / 'out')
    (tmp_path / 'file').touch()
    (job,) = batch.make_jobs(sources[:1], tmp_path / 'file', tmp_path, model=helpers.SETTINGS)
    with pytest.raises(ConfigError, match='expected a folder for the outputs'):
        batch.process_many([job], fail, retries=0)


@pytest.mark.slow
def test_on_ray(helpers, sources, prompt_file, tmp_path: Path):
    pytest.importorskip('ray')
    jobs = make_jobs(helpers, sources, prompt_file, tmp_path)
    runner = batch.run_on_ray('local')
    entries = batch.process_many(jobs, runner, retries=0)
    assert [entry.status for entry in entries] == ['done', 'done', 'failed']
    assert entries[0].sha256 == entries[1].sha256
    assert 'cut off' in entries[2].error


def test_without_ray():
    try:
        import ray  # noqa: F401
    except ImportError:
        with pytest.raises(ConfigError, match='expected Ray to be installed'):
            batch.run_on_ray('local')
