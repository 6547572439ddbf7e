"""Write messages to an MCAP bag that opens anywhere: it carries all message definitions."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from robust_vos_ros.bags.definitions import PACKAGE, message_typestore
from robust_vos_ros.core.errors import ConfigError


class BagWriter:
    """Write serialized messages to a rosbag2 folder with one MCAP file, compressed in chunks.

    Use it as a context manager: leaving it writes the index and `metadata.yaml`.

    Args:
        path: Folder to create.

    Raises:
        ConfigError: The folder exists.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise ConfigError(f'bag {path} exists already; remove it or choose another name')
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._typestore = message_typestore()
        self._connections: dict[str, Connection] = {}

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
        connection = self._connections.get(topic)
        if connection is None:
            connection = self._connections[topic] = self._connect(topic, msgtype)
        if connection.msgtype != msgtype:
            raise ConfigError(
                f'topic {topic} carries {connection.msgtype}, got {msgtype}; '
                'use one topic per type'
            )
        self._writer.write(connection, stamp_ns, cdr)

    def _connect(self, topic: str, msgtype: str) -> Connection:
        if msgtype not in self._typestore.fielddefs:
            raise ConfigError(
                f'expected a message type of ROS 2 or {PACKAGE} for topic {topic}, got {msgtype!r}'
            )
        return self._writer.add_connection(topic, msgtype, typestore=self._typestore)
