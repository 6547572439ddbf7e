"""State of many bags: a file beside the outputs, and hashes that tell whether it is valid."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import pooch
import pydantic

from robust_vos_ros.bags.job import JOB_KEY, Job
from robust_vos_ros.bags.metadata import read_custom_data
from robust_vos_ros.bags.prompts import load_prompt_file
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.settings import Settings
from robust_vos_ros.files import replace_file, write_json


class ManifestEntry(Settings):
    """One bag of a manifest.

    Attributes:
        source: The input.
        target: Name of the output, beside the manifest.
        status: Whether the last attempt succeeded.
        attempts: Number of attempts.
        job: Hash of the job, its prompts and masks, and the size and time of its input; empty if
            one of them is missing.
        sha256: Of the output; after a failure, of the output of an earlier job.
        num_frames: Number of images; `num_unusable` of them have no result.
        error: Reason of a failure.
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
    """The file manifest.json of a folder of outputs; it is written after every bag."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / 'manifest.json'
        self.entries: dict[str, ManifestEntry] = {}
        if self.path.exists():
            try:
                rows = json.loads(self.path.read_text('utf-8'))['bags']
                self.entries = {row['target']: ManifestEntry(**row) for row in rows}
            except (OSError, ValueError, KeyError, TypeError, pydantic.ValidationError) as error:
                raise ConfigError(
                    f'{self.path}: expected a manifest of earlier runs, got {error}; move it away'
                ) from error

    def is_done(self, job: Job, key: str) -> bool:
        """Tell whether the output of this job exists and is unchanged.

        Args:
            job: The job.
            key: Its `job_hash`.
        """
        entry = self.entries.get(job.target.name)
        return (
            entry is not None and entry.status == 'done' and entry.job == key and self._owns(job)
        )

    def may_replace(self, job: Job) -> bool:
        """Tell whether an existing output comes from an earlier run and may be replaced.

        The output of a run that was killed before it wrote the manifest is recognized by its tag.
        """
        return job.target.is_file() and (
            self._owns(job) or read_custom_data(job.target).get(JOB_KEY) == job.tag
        )

    def put(self, entry: ManifestEntry) -> None:
        """Add or replace an entry, and write the file."""
        self.entries[entry.target] = entry
        rows = [self.entries[name].model_dump() for name in sorted(self.entries)]
        replace_file(self.path, lambda new: write_json(new, {'bags': rows}))

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
    """Return a hash of a job that does not depend on the paths of its files.

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
