"""Write messages to an MCAP bag that opens anywhere: it carries all message definitions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys.store import Typestore

from robust_vos_ros.bags.definitions import PACKAGE, message_typestore
from robust_vos_ros.core.errors import ConfigError


class BagWriter:
    """Write serialized messages to a rosbag2 folder with one MCAP file.

    Use it as a context manager: leaving it writes the index and `metadata.yaml`. The same messages
    in the same order give the same bytes.

    Args:
        path: Folder to create.
        compress: Whether chunks are compressed (zstd).
        custom_data: Noted in the metadata of the bag.

    Raises:
        ConfigError: The folder exists.
    """

    def __init__(
        self, path: Path, *, compress: bool = True, custom_data: Mapping[str, str] | None = None
    ) -> None:
        if path.exists():
            raise ConfigError(f'bag {path} exists already; remove it or choose another name')
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        if compress:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        for key, value in (custom_data or {}).items():
            self._writer.set_custom_data(key, value)
        self._typestore = message_typestore()
        self._connections: dict[str, Connection] = {}
        self._hashes: dict[str, str] = {}

    def __enter__(self) -> BagWriter:
        """Create the folder."""
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the bag; after an error it is left without an index."""
        self._writer.__exit__(kind, error, trace)

    def add_topic(
        self,
        topic: str,
        msgtype: str,
        *,
        typestore: Typestore | None = None,
        qos: Sequence[Qos] = (),
    ) -> None:
        """Announce a topic; `write` does so by itself for types of ROS 2 and robust_vos.

        Args:
            topic: Full topic name.
            msgtype: As in `robust_vos/msg/TrackEvent`.
            typestore: Where the type is defined; default: ROS 2 and robust_vos.
            qos: What its publisher offers.

        Raises:
            ConfigError: The type is unknown, or another topic has another version of it.
        """
        store = typestore or self._typestore
        if msgtype not in store.fielddefs:
            raise ConfigError(
                f'expected a message type of ROS 2 or {PACKAGE} for topic {topic}, got {msgtype!r}'
            )
        found = store.hash_rihs01(msgtype)
        if self._hashes.setdefault(msgtype, found) != found:
            raise ConfigError(
                f'topic {topic}: expected one version of {msgtype} per bag, got another one'
            )
        self._connections[topic] = self._writer.add_connection(
            topic, msgtype, typestore=store, offered_qos_profiles=qos
        )

    def write(self, topic: str, msgtype: str, cdr: bytes, stamp_ns: int) -> None:
        """Append one message.

        Args:
            topic: Full topic name.
            msgtype: As in `robust_vos/msg/TrackEvent`.
            cdr: The serialized message.
            stamp_ns: Time of the message in nanoseconds.

        Raises:
            ConfigError: The type is unknown, or the topic carries another type.
        """
        if topic not in self._connections:
            self.add_topic(topic, msgtype)
        connection = self._connections[topic]
        if connection.msgtype != msgtype:
            raise ConfigError(
                f'topic {topic} carries {connection.msgtype}, got {msgtype}; '
                'use one topic per type'
            )
        self._writer.write(connection, stamp_ns, cdr)
