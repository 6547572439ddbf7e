"""Write messages to an MCAP bag, with all message definitions inside."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import yaml
from mcap.records import Channel, Message, Schema
from rosbags.interfaces import Qos
from rosbags.rosbag2.metadata import dump_qos_v9
from rosbags.typesys.store import Typestore

from robust_vos_ros.bags.definitions import PACKAGE, add_installed_type, message_typestore
from robust_vos_ros.bags.mcap_file import McapFile
from robust_vos_ros.bags.metadata import (
    CUSTOM_DATA,
    HASH_KEY,
    QOS_KEY,
    FileSummary,
    write_metadata,
)
from robust_vos_ros.core.errors import ConfigError

LIBRARY = PACKAGE  # name of the writing program


@dataclasses.dataclass(frozen=True, slots=True)
class _Topic:
    channel_id: int
    msgtype: str


class BagWriter:
    """Write serialized messages to a rosbag2 folder with one MCAP file.

    Use it as a context manager: leaving it writes the index and `metadata.yaml`. The same messages
    in the same order give the same bytes.

    Args:
        path: Folder to create.
        compress: Whether chunks are compressed (zstd).
        custom_data: Key-value pairs about the bag.

    Raises:
        ConfigError: The folder exists, or cannot be created.
    """

    def __init__(
        self, path: Path, *, compress: bool = True, custom_data: Mapping[str, str] | None = None
    ) -> None:
        if path.exists():
            raise ConfigError(f'bag {path} exists already; remove it or choose another name')
        self._path = path
        self._typestore = message_typestore()
        self._schema_ids: dict[str, int] = {}
        self._topics: dict[str, _Topic] = {}
        self._hashes: dict[str, str] = {}
        self._compress = compress
        self._custom_data = dict(custom_data or {})

    @property
    def file(self) -> Path:
        """The file in the bag."""
        return self._path / f'{self._path.name}.mcap'

    @property
    def num_messages(self) -> int:
        """Number of messages written so far."""
        return self._file.num_messages

    @property
    def typestore(self) -> Typestore:
        """The message types of the bag."""
        return self._typestore

    def __enter__(self) -> BagWriter:
        """Create the folder."""
        try:
            self._path.mkdir(parents=True)
            self._stream = self.file.open('xb', buffering=0)
            self._file = McapFile(self._stream, library=LIBRARY, compress=self._compress)
            if self._custom_data:
                self._file.add_metadata(CUSTOM_DATA, self._custom_data)
        except OSError as error:
            raise ConfigError(
                f'cannot write bag {self._path}: {error.strerror}; choose another place'
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the bag, also after an error.

        If that fails too, the bag has no index; bags/repair.py can make one.
        """
        with self._stream:
            if kind is None:
                self._finish()
            elif issubclass(kind, Exception):
                with contextlib.suppress(OSError):
                    self._file.cut_back()
                    self._finish()

    def _finish(self) -> None:
        self._file.finish()
        summary = FileSummary.of(self.file, self._file)
        write_metadata(self._path, [summary], self._custom_data)

    def add_topic(
        self,
        topic: str,
        msgtype: str,
        *,
        typestore: Typestore | None = None,
        qos: Sequence[Qos] = (),
    ) -> None:
        """Add a topic; `write` adds topics with known types by itself.

        Args:
            topic: Full topic name.
            msgtype: Such as `robust_vos/msg/TrackEvent`.
            typestore: Has the definition of the type; default: ROS 2, robust_vos, and installed
                packages.
            qos: QoS that its publishers offer.

        Raises:
            ConfigError: The type is unknown, or another topic has another version of it.
        """
        store = typestore or self._typestore
        if not add_installed_type(store, msgtype):
            raise ConfigError(
                f'expected a message type of ROS 2, {PACKAGE} or a sourced workspace for topic '
                f'{topic}, got {msgtype!r}'
            )
        found = store.hash_rihs01(msgtype)
        if self._hashes.setdefault(msgtype, found) != found:
            raise ConfigError(
                f'topic {topic}: expected one version of {msgtype} per bag, got another one'
            )
        schema_id = self._schema_ids.setdefault(msgtype, len(self._schema_ids) + 1)
        text, _ = store.generate_msgdef(msgtype, ros_version=2)
        self._file.add_schema(
            Schema(id=schema_id, name=msgtype, encoding='ros2msg', data=text.encode())
        )
        profiles = yaml.safe_dump(dump_qos_v9(list(qos)), sort_keys=False)
        channel = Channel(
            id=len(self._topics) + 1, topic=topic, message_encoding='cdr', schema_id=schema_id,
            metadata={QOS_KEY: profiles, HASH_KEY: found},
        )  # fmt: skip
        self._file.add_channel(channel)
        self._topics[topic] = _Topic(channel.id, msgtype)

    def write(self, topic: str, msgtype: str, cdr: bytes, stamp_ns: int) -> None:
        """Append one message.

        Args:
            topic: Full topic name.
            msgtype: Such as `robust_vos/msg/TrackEvent`.
            cdr: The serialized message.
            stamp_ns: Time of the message in nanoseconds.

        Raises:
            ConfigError: The type is unknown, or the topic carries another type.
            OSError: The file cannot be written.
        """
        if topic not in self._topics:
            self.add_topic(topic, msgtype)
        known = self._topics[topic]
        if known.msgtype != msgtype:
            raise ConfigError(
                f'topic {topic} carries {known.msgtype}, got {msgtype}; use one topic per type'
            )
        self._file.add_message(
            Message(
                channel_id=known.channel_id, log_time=stamp_ns, publish_time=stamp_ns, data=cdr,
                sequence=0,
            )
        )  # fmt: skip

    def write_custom_data(self, values: dict[str, str]) -> None:
        """Add key-value pairs about the bag: to its file at once, to metadata.yaml at the end.

        Raises:
            OSError: The file cannot be written.
        """
        self._custom_data.update(values)
        self._file.add_metadata(CUSTOM_DATA, values)

    def flush(self) -> None:
        """Flush everything written so far to the disk, so that it survives a power failure.

        Raises:
            OSError: The file cannot be written.
        """
        self._file.end_chunk()
        os.fdatasync(self._stream.fileno())
