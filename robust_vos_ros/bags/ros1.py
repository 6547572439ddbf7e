"""ROS 1 messages as ROS 2 would have recorded them."""

from __future__ import annotations

import functools
from collections.abc import Callable

from rosbags.convert.converter import (
    LATCH,
    STATIC_MSGTYPE_RENAMES,
    is_same_wireformat,
    migrate_bytes,
)
from rosbags.interfaces import Connection
from rosbags.typesys.store import Typestore

from robust_vos_ros.bags.definitions import message_typestore

LATCHED = tuple(LATCH)  # a latched topic, in the words of ROS 2


class Ros1Converter:
    """Turn messages of a ROS 1 bag into CDR.

    A type that ROS 2 knows by the same name becomes that type; fields it has no place for are
    dropped (`Header.seq`). Others keep their own definition.

    Attributes:
        typestore: The types of the converted messages.
    """

    def __init__(self, source: Typestore, connections: list[Connection]) -> None:
        self._source = source
        self._cache: dict[str, object] = {}
        self._converters: dict[str, Callable[[bytes], memoryview]] = {}
        self.typestore = message_typestore()
        unknown = source.fielddefs.keys() - self.typestore.fielddefs.keys()
        self.typestore.register({name: source.fielddefs[name] for name in unknown})
        for connection in connections:
            self._converters[connection.msgtype] = self._make_converter(connection.msgtype)

    @staticmethod
    def rename(msgtype: str) -> str:
        """Return the name of a type in ROS 2."""
        return STATIC_MSGTYPE_RENAMES.get(msgtype, msgtype)

    def to_cdr(self, msgtype: str, data: bytes) -> bytes:
        """Convert one serialized message of a ROS 1 type."""
        return bytes(self._converters[msgtype](data))

    def _make_converter(self, msgtype: str) -> Callable[[bytes], memoryview]:
        source, target, name = self._source, self.typestore, self.rename(msgtype)
        if is_same_wireformat(source, target, msgtype, name):
            return functools.partial(target.ros1_to_cdr, typename=name)
        return functools.partial(
            migrate_bytes, source, target, msgtype, name, self._cache, src_is2=False, dst_is2=True
        )
