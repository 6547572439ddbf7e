"""Read bags of ROS 1 and ROS 2 without ROS: files or folders, also split ones."""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection, ConnectionExtRosbag1, Qos
from rosbags.typesys.store import Typestore

from robust_vos_ros.bags.definitions import message_typestore
from robust_vos_ros.bags.metadata import METADATA
from robust_vos_ros.bags.ros1 import LATCHED, Ros1Converter
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.core.settings import Scale16Settings
from robust_vos_ros.core.types import Frame
from robust_vos_ros.files import natural_key
from robust_vos_ros.ros_types.images import FULL_RANGE, NS_PER_S, to_frame

IMAGE, COMPRESSED_IMAGE = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'
IMAGE_TYPES = (IMAGE, COMPRESSED_IMAGE)
_ENDINGS = ('.mcap', '.db3', '.bag')


@dataclasses.dataclass(frozen=True, slots=True)
class RawMessage:
    """A serialized message.

    Attributes:
        topic: Full name.
        msgtype: Such as `robust_vos/msg/TrackEvent`.
        cdr: The message, serialized as in ROS 2.
        stamp_ns: Time of receipt or recording in nanoseconds.
    """

    topic: str
    msgtype: str
    cdr: bytes
    stamp_ns: int


@dataclasses.dataclass(frozen=True, slots=True)
class Topic:
    """One topic of a bag; `qos` is the QoS that its publishers offered, empty if not recorded."""

    name: str
    msgtype: str
    num_messages: int
    qos: tuple[Qos, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether its messages are images, raw or compressed."""
        return self.msgtype in IMAGE_TYPES


class BagReader:
    """Messages of a bag in the order of their times; use it as a context manager.

    ROS 1 messages are converted to ROS 2. The bag is opened for reading only.

    Args:
        path: A file (.mcap, .db3, .bag), a folder of rosbag2, or a folder with the split files of
            one recording.

    Attributes:
        topics: By name, sorted.
        typestore: Types of the messages, from the bag if it has definitions.
        start_ns: Time of the first message in nanoseconds; `end_ns` of the last one.
        num_messages: Number of messages on all topics.

    Raises:
        BagError: On entry: the bag is missing, damaged, truncated or empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[str, Topic] = {}
        self.start_ns = self.end_ns = self.num_messages = 0
        self.typestore: Typestore
        self._converter: Ros1Converter | None = None
        self._reader: AnyReader

    def __enter__(self) -> BagReader:
        """Open the bag and list its topics."""
        try:
            files = _bag_files(self.path)
        except OSError as error:
            raise BagError(f'{self.path}: cannot be read: {error.strerror}') from error
        try:
            self._reader = AnyReader(files, default_typestore=message_typestore())
            self._reader.open()
        except Exception as error:
            raise self._damaged(error) from error
        try:
            self._list_contents()
        except BaseException:
            self._reader.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close the bag."""
        self._reader.close()

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message."""
        return (self.end_ns - self.start_ns) / NS_PER_S

    def messages(
        self,
        topics: Collection[str] = (),
        *,
        start_ns: int | None = None,
        stop_ns: int | None = None,
    ) -> Iterator[RawMessage]:
        """Yield messages in the order of their times.

        Args:
            topics: Of these topics; empty = of all.
            start_ns: From this time of recording on, in nanoseconds; None = from the first one.
            stop_ns: Before this time; None = up to the last one.

        Raises:
            BagError: The next message is damaged.
        """
        wanted = [c for c in self._reader.connections if not topics or c.topic in topics]
        if not wanted:  # for rosbags an empty list means all
            return
        messages = iter(self._reader.messages(wanted, start_ns, stop_ns))
        while True:
            try:
                connection, stamp_ns, data = next(messages)
                message = self._to_message(connection, stamp_ns, data)
            except StopIteration:
                return
            except Exception as error:  # rosbags raises anything on damaged bytes
                raise self._damaged(error) from error
            yield message

    def decode(self, message: RawMessage) -> Any:
        """Return a message as an object with the fields of its type.

        Raises:
            BagError: The type is unknown, or the bytes are not of this type.
        """
        if message.msgtype not in self.typestore.fielddefs:
            raise BagError(
                f'{self.path}: no definition of {message.msgtype} on {message.topic}; record the '
                'bag as MCAP, which holds all definitions'
            )
        try:
            return self.typestore.deserialize_cdr(message.cdr, message.msgtype)
        except Exception as error:
            raise BagError(
                f'{self.path}: a message on {message.topic} at {message.stamp_ns} ns is not a '
                f'{message.msgtype}: {_reason(error)}'
            ) from error

    def frame(self, message: RawMessage, scale_16bit: Scale16Settings = FULL_RANGE) -> Frame:
        """Return the image of a message of an image topic.

        Args:
            message: From this bag.
            scale_16bit: How 16-bit values become 8-bit ones.

        Raises:
            ImageError: The image cannot be used.
            BagError: As `decode`.
        """
        return to_frame(self.decode(message), scale_16bit)

    def _list_contents(self) -> None:
        reader, connections = self._reader, self._reader.connections
        self.num_messages = reader.message_count
        if not self.num_messages:
            raise BagError(f'{self.path}: expected a bag with messages, got an empty one')
        self.start_ns, self.end_ns = reader.start_time, reader.end_time - 1
        if reader.is2:
            self.typestore = reader.typestore
            if any(c.msgtype not in self.typestore.fielddefs for c in connections):
                known, ours = self.typestore.fielddefs.keys(), message_typestore().fielddefs
                self.typestore.register({n: ours[n] for n in ours.keys() - known})
        else:
            self._converter = Ros1Converter(reader.typestore, connections)
            self.typestore = self._converter.typestore
        for connection in sorted(connections, key=lambda c: c.topic):
            self._add_connection(connection)

    def _add_connection(self, connection: Connection) -> None:
        """Add a connection to its topic; there may be one per split file or publisher."""
        name, msgtype = connection.topic, self._type_of(connection)
        known = self.topics.get(name)
        if known is not None and known.msgtype != msgtype:
            raise BagError(
                f'{self.path}: expected one type per topic, got {known.msgtype} and {msgtype} on '
                f'{name}'
            )
        qos = known.qos if known else _qos_of(connection)
        count = connection.msgcount + (known.num_messages if known else 0)
        self.topics[name] = Topic(name, msgtype, count, qos)

    def _type_of(self, connection: Connection) -> str:
        if self._converter is None:
            return connection.msgtype
        return self._converter.rename(connection.msgtype)

    def _to_message(self, connection: Connection, stamp_ns: int, data: bytes) -> RawMessage:
        cdr = bytes(data)
        if self._converter is not None:
            cdr = self._converter.to_cdr(connection.msgtype, data)
        return RawMessage(connection.topic, self._type_of(connection), cdr, stamp_ns)

    def _damaged(self, error: Exception) -> BagError:
        return BagError(
            f'{self.path}: the bag is damaged or cut off ({_reason(error)}); it was left as it '
            'is, and `robust-vos bag repair` makes a copy of what can be read'
        )


def _qos_of(connection: Connection) -> tuple[Qos, ...]:
    if isinstance(connection.ext, ConnectionExtRosbag1):
        return LATCHED if connection.ext.latching else ()
    return tuple(connection.ext.offered_qos_profiles)


def header_stamp_ns(cdr: bytes) -> int:
    """Return the stamp of a serialized message that begins with a std_msgs/Header.

    Raises:
        BagError: There are too few bytes.
    """
    if len(cdr) < 12:
        raise BagError(f'expected a message with a header, got {len(cdr)} bytes')
    sec, nanosec = struct.unpack_from('<iI' if cdr[1] else '>iI', cdr, 4)
    return int(sec) * NS_PER_S + int(nanosec)


def bag_name(path: Path) -> str:
    """Return the name of a bag: of its folder, or of its file without the ending."""
    full = path.resolve() if path.name in {'', '..'} else path
    return full.name if os.path.isdir(full) else full.stem  # noqa: PTH112  False where is_dir raises


def _bag_files(path: Path) -> list[Path]:
    """Return the paths to open: a folder of rosbag2, or the files of one recording."""
    if not path.exists():
        raise BagError(f'{path}: expected a bag, but there is no such file or folder')
    if path.is_dir():
        if (path / METADATA).is_file():
            return [path]
        files = [file for file in path.iterdir() if file.suffix in _ENDINGS]
        kinds = {file.suffix for file in files}
        if len(kinds) != 1:
            found = f'files of {" and ".join(sorted(kinds))}' if kinds else 'none'
            raise BagError(
                f'{path}: expected {METADATA} or split files of one kind '
                f'({", ".join(_ENDINGS)}), got {found}'
            )
        files.sort(key=lambda file: natural_key(file.name))
    elif path.suffix in _ENDINGS:
        files = [path]
    else:
        raise BagError(
            f'{path}: expected a bag ({", ".join(_ENDINGS)} or a folder), got a file ending in '
            f'{path.suffix!r}'
        )
    for file in files:
        if not file.stat().st_size:
            raise BagError(f'{file}: expected a bag, got an empty file of 0 bytes')
    return files


def _reason(error: Exception) -> str:
    text = ' '.join(str(error).split()).rstrip('.')
    return text if text and not isinstance(error, KeyError) else type(error).__name__
