"""Many bags: what is done is not done again, what failed is tried again."""

import json
import shutil
from pathlib import Path

import pytest

from robust_vos_ros.bags import batch
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
        batch.Manifest(tmp_path / 'out')


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
