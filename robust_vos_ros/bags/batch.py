"""Many bags: here or on a Ray cluster, with retries; what is done is not done again."""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pooch

from robust_vos_ros.bags.job import Job
from robust_vos_ros.bags.manifest import Entry, Manifest, job_hash, job_tag
from robust_vos_ros.bags.process import Summary, process_bag
from robust_vos_ros.bags.reader import bag_name
from robust_vos_ros.cluster import connected, import_ray
from robust_vos_ros.core.errors import ConfigError, RobustVosError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.settings import ModelSettings

# Yields (position of the job, what came of it), in any order; runs no job twice.
Outcome = Summary | Exception
Runner = Callable[[Sequence[Job]], Iterator[tuple[int, Outcome]]]


def make_jobs(sources: Sequence[Path], out: Path, prompts: Path, **fields: object) -> list[Job]:
    """Return a job per bag.

    Args:
        sources: The bags.
        out: Folder for the outputs, each named after its bag.
        prompts: A prompt file for all, or a folder with one NAME.yaml per bag.
        fields: Further fields of `Job`.

    Raises:
        ConfigError: Two bags would get one output.
    """
    jobs = []
    for source in sources:
        name = bag_name(source)
        file = prompts / f'{name}.yaml' if prompts.is_dir() else prompts
        paths = {'source': source, 'target': out / f'{name}.mcap', 'prompts': file}
        # Absolute: a worker of a cluster has another working directory.
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
    on_entry: Callable[[Entry], None] = lambda _entry: None,
) -> list[Entry]:
    """Process what is not done yet.

    Args:
        jobs: With outputs in one folder.
        runner: Where they run.
        retries: How often a bag that failed is tried again.
        on_entry: Called when a bag is done, or was before, or is given up.

    Returns:
        The entries of all jobs, in their order.

    Raises:
        ConfigError: The manifest is damaged, or the folder cannot be made.
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
        try:
            key = job_hash(job)
        except ConfigError as error:
            manifest.put(_to_entry(job, '', error, 0, manifest))
            on_entry(manifest.entries[job.target.name])
            continue
        if manifest.is_done(job, key):
            on_entry(manifest.entries[job.target.name])
            continue
        tagged = job.model_copy(update={'tag': job_tag(job)})
        replace = manifest.may_replace(tagged)
        todo.append((key, tagged.model_copy(update={'replace': replace})))
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


def run_here(jobs: Sequence[Job]) -> Iterator[tuple[int, Outcome]]:
    """Run one job after the other in this process."""
    for position, job in enumerate(jobs):
        try:
            yield position, run_job(job)
        except Exception as error:
            yield position, error


def run_on_ray(address: str) -> Runner:
    """Return a runner that makes each bag a Ray task.

    Args:
        address: As in `cluster.connected`. Workers need this package, and bags and outputs
            at the same paths. A task takes as many CPUs as the model has threads (1 if it does
            not say), and a GPU where the cluster has some and the model may use one.

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
    """Process one bag with a model that is loaded once per process."""
    return process_bag(job, _load(job.model.model_dump_json()))


@functools.lru_cache(maxsize=1)
def _load(settings: str) -> Model:
    model = load_model(ModelSettings.model_validate_json(settings))
    model.warm_up()
    return model


def _to_entry(job: Job, key: str, outcome: Outcome, attempts: int, manifest: Manifest) -> Entry:
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
        return Entry(status='failed', error=' '.join(text.split()), **about)
    return Entry(
        status='done',
        sha256=pooch.file_hash(job.target),
        num_frames=outcome.num_frames,
        num_unusable=len(outcome.problems),
        **about,
    )
