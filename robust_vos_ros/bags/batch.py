"""Many bags: here or on a Ray cluster, with retries and a manifest of what is done."""

from __future__ import annotations

import collections
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import pooch
import pydantic

from robust_vos_ros.bags.job import JOB_KEY, Job
from robust_vos_ros.bags.metadata import read_custom_data
from robust_vos_ros.bags.process import Summary, process_bag
from robust_vos_ros.bags.prompts import load_prompt_file
from robust_vos_ros.bags.reader import bag_name
from robust_vos_ros.core.cluster import connected, import_ray
from robust_vos_ros.core.config import ModelSettings, Settings
from robust_vos_ros.core.errors import ConfigError, RobustVosError
from robust_vos_ros.core.model import Model
from robust_vos_ros.core.network import load_model

# Yields (position of the job, what came of it), in any order; runs no job twice.
Outcome = Summary | Exception
Runner = Callable[[Sequence[Job]], Iterator[tuple[int, Outcome]]]


class Entry(Settings):
    """One bag of a manifest.

    Attributes:
        source: The bag that was read.
        target: Name of the output, beside the manifest.
        status: What came of it.
        attempts: How often it was tried.
        job: Hash of the job, its prompts and masks and the size and time of its input; empty
            when one of them is missing.
        sha256: Of the output; after a failure of the one that an earlier job left there.
        num_frames: Images in it; `num_unusable` of them gave no result.
        error: Why it failed.
    """

    source: str
    target: str
    status: Literal['done', 'failed']
    attempts: int
    job: str
    sha256: str = ''
    num_frames: int = 0
    num_unusable: int = 0
    error: str = ''


class Manifest:
    """The file manifest.json of a folder of outputs, written anew after every bag."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / 'manifest.json'
        self.entries: dict[str, Entry] = {}
        if self.path.exists():
            try:
                rows = json.loads(self.path.read_text('utf-8'))['bags']
                self.entries = {row['target']: Entry(**row) for row in rows}
            except (OSError, ValueError, KeyError, TypeError, pydantic.ValidationError) as error:
                raise ConfigError(
                    f'{self.path}: expected a manifest of earlier runs, got {error}; move it away'
                ) from error

    def is_done(self, job: Job, key: str) -> bool:
        """Whether the output of this job is there and unchanged.

        Args:
            job: The job.
            key: Its `job_hash`.
        """
        entry = self.entries.get(job.target.name)
        return (
            entry is not None and entry.status == 'done' and entry.job == key and self._owns(job)
        )

    def may_replace(self, job: Job) -> bool:
        """Whether an earlier run made what is there; what somebody else put there stays.

        A run that was killed before it could note its output is known by the tag in there.
        """
        return job.target.is_file() and (
            self._owns(job) or read_custom_data(job.target).get(JOB_KEY) == job.tag
        )

    def put(self, entry: Entry) -> None:
        """Add or replace an entry, and write the file."""
        self.entries[entry.target] = entry
        rows = [self.entries[name].model_dump() for name in sorted(self.entries)]
        new = self.path.with_suffix('.new')
        new.write_text(json.dumps({'bags': rows}, indent=2) + '\n', encoding='utf-8')
        new.replace(self.path)

    def _owns(self, job: Job) -> bool:
        entry = self.entries.get(job.target.name)
        return (
            entry is not None
            and job.target.is_file()
            and pooch.file_hash(job.target) == entry.sha256
        )


def job_hash(job: Job) -> str:
    """Return a hash of a job and of the files it names.

    Raises:
        ConfigError: A file is missing.
    """
    try:
        times = [(path.name, path.stat().st_mtime_ns) for path in _input_files(job)]
    except OSError as error:
        raise ConfigError(f'{error.filename}: cannot be read: {error.strerror}') from error
    about = repr((str(job.source), str(job.prompts), times, job_tag(job)))
    return hashlib.sha256(about.encode()).hexdigest()


def job_tag(job: Job) -> str:
    """Return a hash of what a job asks for, equal for copies of its files elsewhere.

    Raises:
        ConfigError: A file is missing, or the prompts cannot be used.
    """
    prompts = load_prompt_file(job.prompts)
    named = [
        path for entry in prompts.prompts for path in (entry.mask, entry.masks, entry.objects)
    ]
    digest = hashlib.sha256(
        job.model_dump_json(exclude={'source', 'target', 'prompts', 'replace', 'tag'}).encode()
    )
    try:
        digest.update(repr([path.stat().st_size for path in _input_files(job)]).encode())
        digest.update(job.prompts.read_bytes())
        for path in (job.prompts.parent / name for name in named if name is not None):
            for file in sorted(path.glob('*.png')) if path.is_dir() else [path]:
                digest.update(f'{file.name} {pooch.file_hash(file)}'.encode())
    except OSError as error:
        raise ConfigError(f'{error.filename}: cannot be read: {error.strerror}') from error
    return digest.hexdigest()


def _input_files(job: Job) -> list[Path]:
    return sorted(job.source.rglob('*')) if job.source.is_dir() else [job.source]


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
        address: As in `core.cluster.connected`. Workers need this package, and bags and outputs
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
