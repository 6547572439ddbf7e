"""Track through a recorded bag: every image in order, none dropped; same input, same bytes.

Three threads work at the same time: one reads and decodes, the calling one tracks, one writes. The
output is always written from its beginning. Results are also kept in a journal: after an
interruption they are read from there, and tracking is resumed from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator

from robust_vos_ros.bags.job import JOB_KEY, Identity, Job, check_job, read_plan
from robust_vos_ros.bags.journal import Journal
from robust_vos_ros.bags.overlap import Background, prefetch
from robust_vos_ros.bags.reader import BagReader, RawMessage
from robust_vos_ros.bags.results import ResultSerializer, ResultTopics
from robust_vos_ros.bags.tracking import PlannedTracker
from robust_vos_ros.bags.writer import BagWriter
from robust_vos_ros.core.errors import BagError, ConfigError, ImageError
from robust_vos_ros.core.network.model import Model
from robust_vos_ros.core.settings import Scale16Settings
from robust_vos_ros.core.types import Frame, TrackResult

CHECKPOINT_FRAMES = 100
_DEPTH = 4  # decoded images that wait
_MAX_MESSAGES = 256  # of other topics in one step


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """Messages of the input up to and including the next image.

    Attributes:
        index: Of the image, which is the last message; None if there is none.
        frame: The decoded image; None if it was tracked in an earlier run or cannot be used.
        problem: Reason why it cannot be used.
    """

    messages: list[RawMessage]
    index: int | None = None
    frame: Frame | None = None
    problem: str = ''


@dataclasses.dataclass(frozen=True, slots=True)
class Tracked:
    """A step with its result, and after every so many frames the saved tracker."""

    step: Step
    result: TrackResult | None
    saved: bytes | None


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """Result of processing one bag.

    Attributes:
        topic: Image topic.
        num_frames: Number of images.
        num_resumed: Number of frames with results of an interrupted run.
        problems: (index, reason) of images that could not be used.
        left_out: Topics of the input that are not in the output, with the reason.
        seconds: Time of this run.
        engine_s: Time in the tracker.
    """

    topic: str
    num_frames: int
    num_resumed: int
    problems: list[tuple[int, str]]
    left_out: dict[str, str]
    seconds: float
    engine_s: float


def process_bag(
    job: Job,
    model: Model,
    *,
    on_start: Callable[[int, int], None] = lambda _total, _done: None,
    on_frame: Callable[[], None] = lambda: None,
    checkpoint_frames: int = CHECKPOINT_FRAMES,
) -> Summary:
    """Track through one bag and write it with the results.

    Args:
        job: The bag, its prompts and the output.
        model: The network of `job.model`.
        on_start: Called with the number of images, and the number of those that an interrupted run
            has processed.
        on_frame: Called after each further image.
        checkpoint_frames: Number of images between two checkpoints.

    Raises:
        BagError: The input cannot be read, or the output cannot be written.
        ConfigError, PromptError: The job or its prompts cannot be used.
    """
    check_job(job)
    with BagReader(job.source) as bag:
        topic = ResultTopics(job.namespace).find_images(bag, job.topic, required=True)
        assert topic is not None
        prompts, plan = read_plan(bag, topic, job.prompts)
        identity = Identity(job, bag, topic, prompts=prompts, plan=plan, model=model)
        try:
            job.partial_folder.mkdir(parents=True, exist_ok=True)
            with Journal(job.partial_folder / 'journal.sqlite', identity.key) as journal:
                runner = _Runner(
                    job, bag, topic, journal, identity, scale_16bit=prompts.scale_16bit
                )
                tracking = PlannedTracker(model, identity, prompts, plan, saved=journal.saved)
                on_start(bag.topics[topic].num_messages, journal.num_frames)
                summary = runner.run(tracking, on_frame, checkpoint_frames)
            runner.finish()
        except (OSError, sqlite3.Error) as error:
            raise BagError(
                f'{job.target}: cannot be written ({error}); the same command resumes from '
                f'{job.partial_folder}'
            ) from error
    return summary


class _Runner:
    """Read, track and write one bag."""

    def __init__(
        self,
        job: Job,
        bag: BagReader,
        topic: str,
        journal: Journal,
        identity: Identity,
        *,
        scale_16bit: Scale16Settings,
    ) -> None:
        self._scale_16bit = scale_16bit
        self._job, self._bag, self._topic, self._journal = job, bag, topic, journal
        self._results = ResultTopics(job.namespace)
        self._serializer = ResultSerializer(self._results)
        self._first = journal.num_frames
        self._folder = job.partial_folder / 'bag'
        shutil.rmtree(self._folder, ignore_errors=True)
        custom_data = {**identity.custom_data, **({JOB_KEY: job.tag} if job.tag else {})}
        self._writer = BagWriter(self._folder, compress=job.compress, custom_data=custom_data)

    def run(
        self, tracking: PlannedTracker, on_frame: Callable[[], None], checkpoint_frames: int
    ) -> Summary:
        start_s = time.perf_counter()
        num_frames = 0
        with self._writer:
            left_out = self._add_topics()
            wanted = [name for name in self._bag.topics if name not in left_out]
            with (
                contextlib.closing(prefetch(self._steps(wanted), _DEPTH)) as steps,
                Background(self._write, _DEPTH) as writing,
            ):
                for step in steps:
                    result = saved = None
                    if step.frame is not None:
                        assert step.index is not None
                        result = tracking.track(step.index, step.frame)
                    if step.problem and step.index is not None:
                        tracking.check_unused(step.index, step.problem)
                    if step.index is not None and step.index >= self._first:
                        if (step.index + 1) % checkpoint_frames == 0:
                            saved = tracking.save()
                        on_frame()
                    num_frames += step.index is not None
                    writing.put(Tracked(step, result, saved))
        seconds = time.perf_counter() - start_s
        return Summary(
            topic=self._topic,
            num_frames=num_frames,
            num_resumed=self._first,
            problems=self._journal.problems(),
            left_out=left_out,
            seconds=seconds,
            engine_s=tracking.seconds,
        )

    def _add_topics(self) -> dict[str, str]:
        """Add all topics; return those of the input that are left out, with the reason."""
        left_out = {}
        for name, msgtype in self._results.types.items():
            self._writer.add_topic(name, msgtype)
        for topic in self._bag.topics.values():
            if topic.name.startswith(self._results.prefix):
                left_out[topic.name] = 'replaced by the new results'
                continue
            try:
                self._writer.add_topic(
                    topic.name, topic.msgtype, typestore=self._bag.typestore, qos=topic.qos
                )
            except ConfigError as error:
                left_out[topic.name] = str(error)
        return left_out

    def _steps(self, topics: list[str]) -> Iterator[Step]:
        """Read and decode; this runs in its own thread."""
        messages: list[RawMessage] = []
        index = 0
        for message in self._bag.messages(topics):
            messages.append(message)
            if message.topic == self._topic:
                yield self._decode(messages, index)
                index += 1
                messages = []
            elif len(messages) == _MAX_MESSAGES:
                yield Step(messages)
                messages = []
        yield Step(messages)

    def _decode(self, messages: list[RawMessage], index: int) -> Step:
        if index < self._first:
            return Step(messages, index)
        try:
            return Step(messages, index, self._bag.frame(messages[-1], self._scale_16bit))
        except (ImageError, BagError) as error:  # as in the node, the next image is used
            return Step(messages, index, problem=str(error))

    def _write(self, tracked: Tracked) -> None:
        """Write a step and its results; this runs in its own thread."""
        step, index = tracked.step, tracked.step.index
        for message in step.messages:
            self._writer.write(message.topic, message.msgtype, message.cdr, message.stamp_ns)
        if index is None:
            return
        if index < self._first:
            results = self._journal.results(index)
        else:
            results = self._serialize(tracked, index)
        for message in results:
            self._writer.write(message.topic, message.msgtype, message.cdr, message.stamp_ns)
        if tracked.saved is not None:
            self._journal.checkpoint(index + 1, tracked.saved)

    def _serialize(self, tracked: Tracked, index: int) -> list[RawMessage]:
        """Serialize the results of a frame, and add them to the journal."""
        if tracked.result is None:
            self._journal.add_problem(index, tracked.step.problem)
            return []
        stamp_ns = tracked.step.messages[-1].stamp_ns
        results = self._serializer.serialize(tracked.result, stamp_ns)
        self._journal.add(index, results)
        return results

    def finish(self) -> None:
        """Move the finished bag to its place; the journal must be closed."""
        check_job(self._job)  # the output may exist by now
        single = self._job.target.suffix == '.mcap'
        done = self._folder / f'{self._folder.name}.mcap' if single else self._folder
        done.replace(self._job.target)
        shutil.rmtree(self._job.partial_folder, ignore_errors=True)
