"""Write messages to an MCAP bag that opens anywhere: it carries all message definitions."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from robust_vos_ros.core.errors import ConfigError

_PACKAGE = 'robust_vos'


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
                f'expected a message type of ROS 2 or {_PACKAGE} for topic {topic}, '
                f'got {msgtype!r}'
            )
        return self._writer.add_connection(topic, msgtype, typestore=self._typestore)


def message_typestore() -> Typestore:
    """Return the message types of ROS 2 and of robust_vos, for bags written or read without ROS.

    Raises:
        ConfigError: The installation lacks the definitions.
    """
    typestore = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for path in sorted(_message_dir().glob('*.msg')):
        types.update(get_types_from_msg(path.read_text('utf-8'), f'{_PACKAGE}/msg/{path.stem}'))
    typestore.register(types)
    return typestore


def _message_dir() -> Path:
    """Return the folder `msg/` of the source tree, or of the installation around this file."""
    here = Path(__file__).resolve()
    candidates = [here.parents[2] / 'msg']
    candidates += [parent / 'share' / _PACKAGE / 'msg' for parent in here.parents]
    for candidate in candidates:
        if (candidate / 'TrackedObject.msg').is_file():
            return candidate
    raise ConfigError(f'no message definitions next to or above {here}; install the package again')
