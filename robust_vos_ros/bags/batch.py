"""Process many bags, in this process or on a Ray cluster; finished bags are skipped."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pooch

from robust_vos_ros.bags.job import Job
from robust_vos_ros.bags.manifest import Manifest, ManifestEntry, job_hash, job_tag
from robust_vos_ros.bags.process import Summary, process_bag
from robust_vos_ros.bags.reader import bag_name
from robust_vos_ros.cluster import connected, import_ray
from robust_vos_ros.core.errors import ConfigError, RobustVosError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.settings import ModelSettings

# A runner yields (position of the job, outcome), in any order; it runs each job once.
Outcome = Summary | Exception
Runner = Callable[[Sequence[Job]], Iterator[tuple[int, Outcome]]]


def make_jobs(sources: Sequence[Path], out: Path, prompts: Path, **fields: object) -> list[Job]:
    """Return a job per bag.

    Args:
        sources: The bags.
        out: Folder for the outputs, named after the bags.
        prompts: One prompt file for all bags, or a folder with one NAME.yaml per bag.
        fields: Further fields of `Job`.

    Raises:
        ConfigError: Two bags have the same name.
    """
    jobs = []
    for source in sources:
        name = bag_name(source)
        file = prompts / f'{name}.yaml' if prompts.is_dir() else prompts
        paths = {'source': source, 'target': out / f'{name}.mcap', 'prompts': file}
        # Absolute, because a worker of a cluster has another working directory.
        paths = {key: path.absolute() for key, path in paths.items()}
        jobs.append(Job(**paths, **fields))
    names = collections.Counter(job.target for job in jobs)
    for target, count in names.items():
        if count > 1:
            raise ConfigError(f'{target}: expected one bag of that name, got {count}; rename one')
    return jobs


def process_many(
    jobs: Sequence[Job],
    runner: Runner,
    *,
    retries: int,
    on_entry: Callable[[ManifestEntry], None] = lambda _entry: None,
) -> list[ManifestEntry]:
    """Process all bags that are not finished yet.

    Args:
        jobs: Their outputs are in one folder.
        runner: Runs the jobs.
        retries: Number of times a failed bag is tried again.
        on_entry: Called when a bag is finished, was finished before, or has failed for good.

    Returns:
        The entries of all jobs, in their order.

    Raises:
        ConfigError: The manifest is damaged, or the folder cannot be created.
    """
    folder = jobs[0].target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f'{folder}: expected a folder for the outputs, which cannot be made: {error.strerror}'
        ) from error
    manifest = Manifest(folder)
    todo = []
    for job in jobs:
        unfinished = _prepare(job, manifest)
        if unfinished is None:
            on_entry(manifest.entries[job.target.name])
        else:
            todo.append(unfinished)
    for attempt in range(1, retries + 2):
        failed = []
        for position, outcome in runner([job for _, job in todo]):
            key, job = todo[position]
            entry = _to_entry(job, key, outcome, attempt, manifest)
            manifest.put(entry)
            if entry.status == 'failed':
                failed.append(todo[position])
            if entry.status == 'done' or attempt > retries:
                on_entry(entry)
        todo = failed
        if not todo:
            break
    return [manifest.entries[job.target.name] for job in jobs]


def _prepare(job: Job, manifest: Manifest) -> tuple[str, Job] | None:
    """Return a job to run with its hash; None if it is finished, or has failed already."""
    try:
        key = job_hash(job)
    except ConfigError as error:
        manifest.put(_to_entry(job, '', error, 0, manifest))
        return None
    if manifest.is_done(job, key):
        return None
    tagged = job.model_copy(update={'tag': job_tag(job)})
    return key, tagged.model_copy(update={'replace': manifest.may_replace(tagged)})


def run_here(jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome]]:
    """Run the jobs one after another in this process."""
    for position, job in enumerate(jobs):
        try:
            yield position, run_job(job)
        except Exception as error:
            yield position, error


def run_on_ray(address: str) -> Runner:
    """Return a runner that makes each bag a Ray task.

    Args:
        address: As in `cluster.connected`. Workers need this package, and bags and outputs at the
            same paths. A task takes `model.num_threads` CPUs (1 if that is 0), and a GPU if the
            cluster has one and `model.device` is not cpu.

    Raises:
        ConfigError: Ray is not installed or does not answer.
    """
    ray = import_ray()

    def run(jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome]]:
        if not jobs:
            return
        with connected(ray, address):
            has_gpus = ray.cluster_resources().get('GPU', 0) > 0
            waiting = {}
            for position, job in enumerate(jobs):
                options = {
                    'num_cpus': job.model.num_threads or 1,
                    'num_gpus': 1 if has_gpus and job.model.device != 'cpu' else 0,
                    'max_retries': 0,
                }
                waiting[ray.remote(**options)(run_job).remote(job)] = position
            while waiting:
                (reference,), _ = ray.wait(list(waiting), num_returns=1)
                try:
                    outcome = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    outcome = error.cause
                except ray.exceptions.RayError as error:
                    outcome = error
                yield waiting.pop(reference), outcome

    return run


def run_job(job: Job) -> Summary:
    """Process one bag; the model is loaded once per process."""
    return process_bag(job, _load(job.model.model_dump_json()))


@functools.lru_cache(maxsize=1)
def _load(settings: str) -> Model:
    model = load_model(ModelSettings.model_validate_json(settings))
    model.warm_up()
    return model


def _to_entry(
    job: Job, key: str, outcome: Outcome, attempts: int, manifest: Manifest
) -> ManifestEntry:
    about = {
        'source': str(job.source),
        'target': job.target.name,
        'attempts': attempts,
        'job': key,
    }
    if isinstance(outcome, Exception):
        text = str(outcome)
        if not isinstance(outcome, RobustVosError):
            text = f'{type(outcome).__name__}: {text}'
        before = manifest.entries.get(job.target.name)
        about['sha256'] = before.sha256 if before else ''
        return ManifestEntry(status='failed', error=' '.join(text.split()), **about)
    return ManifestEntry(
        status='done',
        sha256=pooch.file_hash(job.target),
        num_frames=outcome.num_frames,
        num_unusable=len(outcome.problems),
        **about,
    )
