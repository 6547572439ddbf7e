"""The unit of a benchmark: one variant on one sequence under one condition."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import pooch
import pydantic
import torch

from robust_vos_ros.core.errors import RobustVosError
from robust_vos_ros.core.network.checkpoints import load_model
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import (
    find_adapter,
    find_calibration,
    find_weights,
    load_spec,
)
from robust_vos_ros.core.settings import ModelSettings
from robust_vos_ros.core.tracking_settings import TrackerSettings
from robust_vos_ros.eval.datasets import FolderSet
from robust_vos_ros.eval.records import Condition, Record, SequenceRecord
from robust_vos_ros.eval.rendered import RenderedSet
from robust_vos_ros.eval.restoration import restore
from robust_vos_ros.eval.stream import run_sequence

_PACKAGE = Path(__file__).resolve().parents[1]
# Fields of a task on which the record does not depend: paths, and the number of clips.
_IRRELEVANT: Any = {'dataset': {'root': True, 'num_clips': True, 'footage': {'root'}}}
# Code on which records depend.
_CODE = ('files.py', 'core/**/*.py', 'data/**/*.py', 'eval/**/*.py')

Dataset = FolderSet | RenderedSet


class Variant(Record):
    """A model and its settings, as one variant of a comparison.

    Attributes:
        name: Of the variant.
        model: Settings of the network: weights, adapter and calibration.
        tracking: Settings of the tracker.
        restored: Whether images are restored before they are tracked.
    """

    name: str
    model: ModelSettings
    tracking: TrackerSettings = TrackerSettings()
    restored: bool = False


class Task(Record):
    """The input of one record.

    Attributes:
        sequence: Name of the sequence.
        prompt: Form of the prompts, one of `prompting.PROMPT_FORMS`.
    """

    variant: Variant
    dataset: Dataset = pydantic.Field(discriminator='kind')
    sequence: str
    condition: Condition
    prompt: str

    def key(self) -> str:
        """Return a hash of everything on which the record depends.

        That is this task, the weights, the data, the code of this package and the version of
        torch; not the path of the data set.

        Raises:
            WeightsError, DatasetError: A file is missing.
        """
        about = (
            self.model_dump_json(exclude=_IRRELEVANT),
            weights_hash(self.variant.model),
            adapter_hash(self.variant.model),
            calibration_hash(self.variant.model),
            self.dataset.files_key(self.sequence),
            code_hash(),
            torch.__version__,
        )
        return hashlib.sha256(repr(about).encode()).hexdigest()

    def run(self) -> SequenceRecord:
        """Compute the record.

        Raises:
            RobustVosError: As `stream.run_sequence`, and if the model cannot be loaded.
        """
        return run_sequence(
            load_cached(self.variant.model),
            self.variant.tracking,
            self.dataset.open(self.sequence),
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
    """Return all combinations; those of one sequence are adjacent.

    Raises:
        DatasetError: The data set cannot be opened.
    """
    return [
        Task(
            variant=variant,
            dataset=dataset,
            sequence=name,
            condition=condition,
            prompt=prompt,
        )
        for name in dataset.names()
        for variant in variants
        for condition in conditions
    ]


def measure(task: Task) -> SequenceRecord:
    """Run a task with one thread, so that its numbers do not depend on other processes.

    Raises:
        RobustVosError: As `Task.run`, with the name of the sequence.
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


@functools.cache
def code_hash() -> str:
    """Return a hash of the code on which records depend."""
    files = sorted(p for part in _CODE for p in _PACKAGE.glob(part))
    return hashlib.sha256(b''.join(path.read_bytes() for path in files)).hexdigest()
