"""A bag that a thread writes while messages arrive."""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from rosbags.interfaces import Qos

from robust_vos_ros.bags.reader import RawMessage
from robust_vos_ros.bags.writer import BagWriter
from robust_vos_ros.core.errors import ConfigError

_FLUSH_S = 0.5  # a killed recorder loses the messages since the last flush
MIN_FREE_BYTES = 64 << 20  # the recording stops while there is room for the index
# Most bytes that wait for a slow disk: ten seconds of raw VGA images at 30 Hz.
_MAX_WAITING_BYTES = 256 << 20

_CustomData = dict[str, str]


class Recording:
    """Records messages from any thread; `put` never waits for the disk.

    Args:
        path: Folder to create.
        max_waiting_bytes: While more bytes wait, messages are dropped and counted.

    Attributes:
        num_dropped: Number of messages dropped because the disk was too slow.
        left_out: Topics that cannot be recorded, with the reason.
        problem: Reason why the recording has ended by itself, else empty.

    Raises:
        ConfigError: The folder exists, or cannot be created.
    """

    def __init__(self, path: Path, *, max_waiting_bytes: int = _MAX_WAITING_BYTES) -> None:
        self.path = path
        self.num_dropped = 0
        self.left_out: dict[str, str] = {}
        self.problem = ''
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting_bytes = 0
        self._topics: set[str] = set()
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[RawMessage, Sequence[Qos]] | _CustomData | None] = (
            queue.SimpleQueue()
        )
        self._bag = BagWriter(path)
        self._bag.__enter__()
        self._thread = threading.Thread(target=self._run, name='recording', daemon=True)
        self._thread.start()

    @property
    def num_messages(self) -> int:
        """Number of messages in the file."""
        return self._bag.num_messages

    @property
    def num_topics(self) -> int:
        """Number of topics in the file."""
        return len(self._topics)

    def put(self, message: RawMessage, qos: Sequence[Qos] = ()) -> None:
        """Record a message.

        Args:
            message: As received.
            qos: QoS that the publishers of its topic offer; that of the first message counts.
        """
        with self._lock:
            if self._waiting_bytes > self._max_waiting_bytes or self.problem:
                self.num_dropped += 1
                return
            self._waiting_bytes += len(message.cdr)
        self._queue.put((message, qos))

    def put_custom_data(self, values: dict[str, str]) -> None:
        """Record key-value pairs about the whole bag."""
        self._queue.put(dict(values))

    def stop(self) -> None:
        """Write the waiting messages, and finish the bag."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        error: Exception | None = None
        try:
            self._write_all()
        except Exception as failure:  # reported as `problem`; the messages so far are kept
            error = failure
        try:
            self._bag.__exit__(type(error) if error else None, error, None)
        except Exception as failure:
            error = failure
        if error is not None:
            text = error.strerror if isinstance(error, OSError) else None
            reason = text or f'{type(error).__name__}: {error}'
            self.problem = (
                f'the recording {self.path} ended after {self.num_messages} messages: {reason}; '
                'where it has no metadata.yaml, `robust-vos bag repair` makes one'
            )

    def _write_all(self) -> None:
        next_flush_s = time.monotonic() + _FLUSH_S
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, next_flush_s - time.monotonic()))
            except queue.Empty:
                pass
            else:
                if item is None:
                    return
                self._write(item)
            if time.monotonic() >= next_flush_s:
                self._bag.flush()
                self._check_disk()
                next_flush_s = time.monotonic() + _FLUSH_S

    def _write(self, item: tuple[RawMessage, Sequence[Qos]] | _CustomData) -> None:
        if isinstance(item, dict):
            self._bag.write_custom_data(item)
            return
        message, qos = item
        with self._lock:
            self._waiting_bytes -= len(message.cdr)
        if message.topic in self.left_out:
            return
        try:
            if message.topic not in self._topics:
                self._bag.add_topic(message.topic, message.msgtype, qos=qos)
                self._topics.add(message.topic)
            self._bag.write(message.topic, message.msgtype, message.cdr, message.stamp_ns)
        except ConfigError as error:  # the type is unknown, or another than before
            self.left_out[message.topic] = str(error)

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self.path).free
        if free < MIN_FREE_BYTES:
            raise OSError(
                0,
                f'only {free >> 20} MiB of the disk are free, {MIN_FREE_BYTES >> 20} MiB are kept',
            )
