"""Convert messages of ROS 1 bags to ROS 2."""

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

LATCHED = tuple(LATCH)  # QoS of a latched topic


class Ros1Converter:
    """Convert messages of a ROS 1 bag to CDR.

    A type that exists in ROS 2 becomes that type, without fields that it lacks (`Header.seq`).
    Other types keep their own definition.

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
