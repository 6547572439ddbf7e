"""Write messages to an MCAP bag that opens anywhere: it carries all message definitions."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from types import TracebackType

from mcap.records import Channel, Message, Schema
from rosbags.typesys.store import Typestore

from robust_vos_ros.bags.definitions import add_installed_type, message_typestore
from robust_vos_ros.bags.mcap_file import McapFile
from robust_vos_ros.bags.metadata import FileSummary, write_metadata
from robust_vos_ros.core.errors import ConfigError

LIBRARY = 'robust_vos'
CUSTOM_DATA = 'robust_vos'  # name of the metadata record
_QOS_KEY, _HASH_KEY = 'offered_qos_profiles', 'topic_type_hash'  # as ros2 bag writes them


@dataclasses.dataclass(frozen=True, slots=True)
class _Topic:
    channel_id: int
    msgtype: str


class BagWriter:
    """Write serialized messages to a rosbag2 folder with one MCAP file, compressed in chunks.

    Use it as a context manager: leaving it writes the index and `metadata.yaml`.

    Args:
        path: Folder to create.

    Raises:
        ConfigError: The folder exists, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise ConfigError(f'bag {path} exists already; remove it or choose another name')
        self._path = path
        self._typestore = message_typestore()
        self._schema_ids: dict[str, int] = {}
        self._topics: dict[str, _Topic] = {}
        self._custom_data: dict[str, str] = {}

    @property
    def file(self) -> Path:
        """The file in the bag."""
        return self._path / f'{self._path.name}.mcap'

    @property
    def num_messages(self) -> int:
        """Messages written so far."""
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
            self._file = McapFile(self._stream, library=LIBRARY)
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
        """Finish the bag, after an error of the disk as far as it got.

        Where even that fails, and after other errors, it is left without an index; bags/repair.py
        makes one.
        """
        with self._stream:
            if kind is None:
                self._finish()
            elif issubclass(kind, OSError):
                with contextlib.suppress(OSError):
                    self._file.cut_back()
                    self._finish()

    def _finish(self) -> None:
        self._file.finish()
        summary = FileSummary.of(self.file, self._file)
        write_metadata(self._path, [summary], self._custom_data)

    def write(
        self,
        topic: str,
        msgtype: str,
        cdr: bytes,
        stamp_ns: int,
        *,
        publish_ns: int | None = None,
        qos: str = '',
    ) -> None:
        """Append one message.

        Args:
            topic: Full topic name.
            msgtype: As in `robust_vos/msg/TrackEvent`.
            cdr: The serialized message.
            stamp_ns: Time of the message in nanoseconds.
            publish_ns: When it was published; None = stamp_ns.
            qos: Offered QoS profiles of the topic as the YAML of ros2 bag; the first ones count.

        Raises:
            ConfigError: The type is unknown, or the topic carries another type.
            OSError: The file cannot be written.
        """
        known = self._topics.get(topic)
        if known is None:
            known = self._topics[topic] = self._connect(topic, msgtype, qos)
        if known.msgtype != msgtype:
            raise ConfigError(
                f'topic {topic} carries {known.msgtype}, got {msgtype}; use one topic per type'
            )
        self._file.add_message(
            Message(
                channel_id=known.channel_id,
                log_time=stamp_ns,
                publish_time=stamp_ns if publish_ns is None else publish_ns,
                data=cdr,
                sequence=0,
            )
        )

    def write_custom_data(self, values: dict[str, str]) -> None:
        """Write key-value pairs about the whole bag: to its file at once, to its metadata later.

        Raises:
            OSError: The file cannot be written.
        """
        self._custom_data.update(values)
        self._file.add_metadata(CUSTOM_DATA, values)

    def flush(self) -> None:
        """Put everything written so far on the disk, where it survives the end of the power.

        Raises:
            OSError: The file cannot be written.
        """
        self._file.end_chunk()
        os.fdatasync(self._stream.fileno())

    def _connect(self, topic: str, msgtype: str, qos: str) -> _Topic:
        if not add_installed_type(self._typestore, msgtype):
            raise ConfigError(
                f'expected a message type of ROS 2, {LIBRARY} or a sourced workspace for topic '
                f'{topic}, got {msgtype!r}'
            )
        if msgtype not in self._schema_ids:
            self._schema_ids[msgtype] = len(self._schema_ids) + 1
            text, _ = self._typestore.generate_msgdef(msgtype, ros_version=2)
            self._file.add_schema(
                Schema(
                    id=self._schema_ids[msgtype], name=msgtype, encoding='ros2msg',
                    data=text.encode(),
                )
            )  # fmt: skip
        channel = Channel(
            id=len(self._topics) + 1, topic=topic, message_encoding='cdr',
            schema_id=self._schema_ids[msgtype],
            metadata={_QOS_KEY: qos, _HASH_KEY: self._typestore.hash_rihs01(msgtype)},
        )  # fmt: skip
        self._file.add_channel(channel)
        return _Topic(channel.id, msgtype)
