"""One bag to process: input, output, and everything that the result depends on."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path

import torch

from robust_vos_ros.bags.prompts import Plan, PromptFile, load_prompt_file, make_plan
from robust_vos_ros.bags.reader import BagReader, header_stamp_ns
from robust_vos_ros.bags.results import DEFAULT_NAMESPACE
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.network.model_files import find_adapter
from robust_vos_ros.core.saving.format import FORMAT
from robust_vos_ros.core.settings import ModelSettings, Settings
from robust_vos_ros.ros_types.identity import describe

JOB_KEY = 'robust_vos.job'  # of the tag in the metadata of an output


class Job(Settings):
    """One bag to process.

    Attributes:
        source: The bag to read.
        target: The bag to write: a file ending in .mcap, else a folder.
        prompts: The prompt file.
        topic: Image topic; empty = the only one.
        namespace: Namespace of the results; topics of the input below it are replaced.
        model: Settings of the network.
        compress: Whether the output is compressed.
        replace: Whether an existing output file is replaced when the new one is finished.
        tag: Written into the metadata of the output as `robust_vos.job`; empty = none.
    """

    source: Path
    target: Path
    prompts: Path
    topic: str = ''
    namespace: str = DEFAULT_NAMESPACE
    model: ModelSettings = ModelSettings()
    compress: bool = False
    replace: bool = False
    tag: str = ''

    @property
    def partial_folder(self) -> Path:
        """Folder for the unfinished output and the journal."""
        return self.target.with_name(self.target.name + '.partial')


def check_job(job: Job) -> None:
    """Check a job without opening the bag.

    Raises:
        ConfigError: The namespace is malformed, or the output is the input or exists already.
    """
    if not job.namespace.startswith('/') or job.namespace.endswith('/'):
        raise ConfigError(f'namespace: expected a name such as /robust_vos, got {job.namespace!r}')
    try:
        there = job.target.exists()
        same = there and job.source.exists() and job.target.samefile(job.source)
    except OSError as error:
        raise ConfigError(f'{error.filename}: cannot be read: {error.strerror}') from error
    if same:
        raise ConfigError(f'{job.target}: expected another name for the output, got the input')
    if there and not (job.replace and job.target.is_file()):
        raise ConfigError(f'{job.target} exists already; remove it or choose another name')


def read_plan(bag: BagReader, topic: str, path: Path) -> tuple[PromptFile, Plan]:
    """Read the prompt file, and make a plan of it for the images of a topic.

    Raises:
        ConfigError, PromptError: The prompts cannot be used.
        BagError: The bag is damaged.
    """
    prompts = load_prompt_file(path)
    frame_of: dict[int, int] = {}
    if any(entry.stamp_ns is not None for entry in prompts.prompts):
        for index, message in enumerate(bag.messages([topic])):
            frame_of.setdefault(header_stamp_ns(message.cdr), index)
    plan = make_plan(
        prompts, path.parent, num_frames=bag.topics[topic].num_messages, frame_of=frame_of
    )
    return prompts, plan


class Identity:
    """Everything that a result depends on.

    Args:
        job: The job.
        bag: Its open input.
        topic: Its image topic.
        prompts: Its prompt file.
        plan: The prompts by frame.
        model: The loaded network.

    Attributes:
        session: Namespace of the objects' uuids, from the bag and the prompts.
        key: Text of everything that changes a result.
        custom_data: Model, weights, adapter and version, for the metadata of the output.
    """

    def __init__(
        self,
        job: Job,
        bag: BagReader,
        topic: str,
        *,
        prompts: PromptFile,
        plan: Plan,
        model: Model,
    ) -> None:
        adapter = find_adapter(job.model)
        self.custom_data = describe(model.name, model.weights_hash, adapter)
        about = {
            **self.custom_data,
            'topic': topic,
            'namespace': job.namespace,
            'times': [bag.start_ns, bag.end_ns, bag.num_messages],
            'plan': _hash_plan(plan),
            'tracking': prompts.tracking.model_dump(),
            'stream': prompts.stream.model_dump(),
            'scale_16bit': prompts.scale_16bit.model_dump(),
        }
        text = json.dumps(about, sort_keys=True)
        self.session = uuid.uuid5(uuid.NAMESPACE_OID, text)
        files = sorted(bag.path.rglob('*')) if bag.path.is_dir() else [bag.path]
        sizes = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
        machine = [str(model.device), model.precision, torch.get_num_threads(), torch.__version__]
        self.key = json.dumps([about, sizes, machine, job.compress, FORMAT], sort_keys=True)


def _hash_plan(plan: Plan) -> str:
    digest = hashlib.sha256()
    for index in sorted(plan):
        prompts = plan[index]
        digest.update(repr((index, prompts.remove)).encode())
        for action, group in (('add', prompts.add), ('refine', prompts.refine)):
            for prompt in group:
                digest.update(repr((action, prompt.object_id, prompt.class_id)).encode())
                for array in (prompt.points, prompt.point_labels, prompt.box, prompt.mask):
                    shape = None if array is None else array.shape
                    digest.update(repr(shape).encode())
                    digest.update(b'' if array is None else array.tobytes())
    return digest.hexdigest()
