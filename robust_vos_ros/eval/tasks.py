"""The unit of a benchmark: one variant on one sequence under one condition."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import pooch
import torch

from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.network.checkpoints import (
    find_adapter,
    find_calibration,
    find_weights,
    load_model,
    load_spec,
)
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.data.video_folder import VideoFolder, open_dataset
from robust_vos_ros.eval.records import Condition, Record, SequenceRecord
from robust_vos_ros.eval.restoration import restore
from robust_vos_ros.eval.stream import run_sequence

_PACKAGE = Path(__file__).resolve().parents[1]
# Fields of a task that change no number: where files are, and what else is measured.
_NO_MATTER: Any = {'dataset': {'root'}, 'suite': {'num_clips': True, 'footage': {'root'}}}
_CODE_OF_RESULTS = ('core', 'data', 'eval')


class Variant(Record):
    """What tracks.

    Attributes:
        model: Its weights and adapter.
        restored: Whether images are restored before they are tracked.
    """

    name: str
    model: ModelSettings
    tracking: TrackerSettings = TrackerSettings()
    restored: bool = False


class Dataset(Record):
    """Where sequences are; arguments of `data.video_folder.open_dataset`.

    Attributes:
        exclude: Split file of sequences that are left out, empty = none.
    """

    root: Path
    layout: str
    split: str = ''
    exclude: str = ''
    void_value: int | None = None


class Job(Record):
    """A record before it is measured.

    Attributes:
        record_type: Of what `run` returns.
        sequence: Name of what is tracked through.
    """

    record_type: ClassVar[type[Record]]
    variant: Variant
    sequence: str

    def data_key(self) -> str:
        """Return a hash of the files that are tracked through."""
        raise NotImplementedError

    def run(self) -> Any:
        """Return the record."""
        raise NotImplementedError

    def key(self) -> str:
        """Return a hash of all that the record depends on.

        That is this task, the weights, the data, our code and the version of torch; not the place
        of the data set.

        Raises:
            WeightsError, DatasetError: A file is missing.
        """
        about = (
            self.model_dump_json(exclude=_NO_MATTER),
            weights_hash(self.variant.model),
            adapter_hash(self.variant.model),
            calibration_hash(self.variant.model),
            self.data_key(),
            code_hash(),
            torch.__version__,
        )
        return hashlib.sha256(repr(about).encode()).hexdigest()


class Task(Job):
    """One sequence of a data set before it is measured."""

    record_type: ClassVar = SequenceRecord
    dataset: Dataset
    condition: Condition
    prompt: str

    def data_key(self) -> str:
        """Return a hash of the sizes of the images and of the content of the masks."""
        return files_hash(self.dataset.model_dump_json(), self.sequence)

    def run(self) -> SequenceRecord:
        """Run the sequence.

        Raises:
            RobustVosError: As `stream.run_sequence`, and if the model cannot be loaded.
        """
        return run_sequence(
            load_cached(self.variant.model),
            self.variant.tracking,
            open_cached(self.dataset)[self.sequence],
            self.condition,
            variant=self.variant.name,
            prompt=self.prompt,
            prepare=restore if self.variant.restored else None,
        )


def make_tasks(
    variants: Sequence[Variant],
    dataset: Dataset,
    conditions: Sequence[Condition],
    prompt: str,
) -> list[Task]:
    """Return all combinations, those of one sequence side by side.

    Raises:
        DatasetError: The data set cannot be opened.
    """
    return [
        Task(
            variant=variant,
            dataset=dataset,
            sequence=sequence.name,
            condition=condition,
            prompt=prompt,
        )
        for sequence in open_cached(dataset)
        for variant in variants
        for condition in conditions
    ]


def measure(task: Job) -> Any:
    """Run a task with one thread, so that its numbers do not depend on what runs beside it.

    Raises:
        RobustVosError: As `run` of the task; names the sequence.
    """
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        return task.run()
    except RobustVosError as error:
        raise RobustVosError(f'sequence {task.sequence}: {error}') from error


def weights_hash(settings: ModelSettings) -> str:
    """Return the sha256 of a model's weights file.

    Raises:
        ConfigError, WeightsError: The model or the file does not exist.
    """
    return _file_hash(find_weights(load_spec(settings.name), settings.checkpoint))


def adapter_hash(settings: ModelSettings) -> str:
    """Return the sha256 of a model's adapter file, empty without an adapter.

    Raises:
        ConfigError, WeightsError: The model or the file does not exist.
    """
    path = find_adapter(settings)
    return '' if path is None else _file_hash(path)


def calibration_hash(settings: ModelSettings) -> str:
    """Return the sha256 of a model's calibration file, empty without one.

    Raises:
        ConfigError, WeightsError: The model or the file does not exist.
    """
    path = find_calibration(settings, find_weights(load_spec(settings.name), settings.checkpoint))
    return '' if path is None else _file_hash(path)


def open_cached(dataset: Dataset) -> VideoFolder:
    """Open a data set, once per process.

    Raises:
        DatasetError: As `open_dataset`.
    """
    return _open(dataset.model_dump_json())


@functools.lru_cache(4)
def _open(dataset_json: str) -> VideoFolder:
    dataset = Dataset.model_validate_json(dataset_json)
    return open_dataset(
        dataset.root,
        layout=dataset.layout,
        split=dataset.split,
        exclude=Path(dataset.exclude) if dataset.exclude else (),
        void_value=dataset.void_value,
    )


def load_cached(settings: ModelSettings) -> Model:
    """Load a model, once per process.

    Raises:
        RobustVosError: As `network.load_model`.
    """
    return _load(settings.model_dump_json())


@functools.lru_cache(8)
def _load(settings_json: str) -> Model:
    return load_model(ModelSettings.model_validate_json(settings_json))


@functools.cache
def _file_hash(path: Path) -> str:
    return pooch.file_hash(path)


@functools.lru_cache(4096)
def files_hash(dataset_json: str, name: str) -> str:
    """Return a hash of the sizes of a sequence's images and of the content of its masks.

    Raises:
        DatasetError: As `open_cached`.
    """
    sequence = _open(dataset_json)[name]
    digest = hashlib.sha256()
    for path in sequence.frames:
        digest.update(f'{path.name} {path.stat().st_size}\n'.encode())
    for path in sequence.mask_files:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def code_hash() -> str:
    """Return a hash of our code that results depend on."""
    files = sorted(p for part in _CODE_OF_RESULTS for p in (_PACKAGE / part).rglob('*.py'))
    return hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()
