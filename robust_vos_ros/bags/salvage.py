"""Read the intact records of a damaged or truncated MCAP file."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import lz4.frame
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, McapRecord, Message, Metadata, Schema

from robust_vos_ros.bags.mcap_file import MAGIC
from robust_vos_ros.core.errors import BagError

_HEAD = struct.Struct('<BQ')  # opcode, length
_CHUNK_HEAD = struct.Struct('<QQQI')  # first and last time, size and checksum of the content
_LENGTH = struct.Struct('<I')
_MAX_OPCODE = max(Opcode)
# Of the content of a chunk: a few megabytes of a file can decompress to as many gigabytes. A
# larger one is skipped. Recorders write chunks of about one megabyte, or of one message.
MAX_CHUNK_BYTES = 1 << 30
_READERS: dict[int, Callable[[ReadDataStream, int], McapRecord]] = {
    Opcode.SCHEMA: lambda stream, _: Schema.read(stream),
    Opcode.CHANNEL: lambda stream, _: Channel.read(stream),
    Opcode.MESSAGE: Message.read,
    Opcode.ATTACHMENT: lambda stream, _: Attachment.read(stream),
    Opcode.METADATA: lambda stream, _: Metadata.read(stream),
}
# Errors of parsers and decompressors on damaged bytes; OverflowError is of a length above 2**63.
_DAMAGE = (
    struct.error, UnicodeDecodeError, OverflowError, McapError, zstandard.ZstdError, RuntimeError
)  # fmt: skip


def salvage(path: Path) -> Iterator[McapRecord]:
    """Yield all intact schema, channel, message, metadata and attachment records of a file.

    A truncated chunk is decompressed as far as possible. A chunk with a wrong checksum or an
    unknown compression is skipped. Reading stops where no valid record begins, or where a record
    would reach beyond the end of the file.

    Args:
        path: An MCAP file.

    Raises:
        BagError: It is not an MCAP file.
        OSError: It cannot be read.
    """
    with path.open('rb') as stream:
        magic = stream.read(len(MAGIC))
        if magic != MAGIC:
            raise BagError(
                f'expected an MCAP file, got one that begins with {magic!r}: {path}; '
                'nothing of it can be repaired'
            )
        for opcode, data, whole in _records(stream):
            if opcode == Opcode.CHUNK:
                yield from _chunk_records(data, whole=whole)
            elif whole:
                yield from _parse(opcode, data)


def _records(stream: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """Yield opcode and content of each record, and whether the content is complete."""
    position = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(position)
    while len(head := stream.read(_HEAD.size)) == _HEAD.size:
        opcode, length = _HEAD.unpack(head)
        if not 0 < opcode <= _MAX_OPCODE or opcode == Opcode.DATA_END:
            return
        available = size - stream.tell()
        if opcode in _READERS or opcode == Opcode.CHUNK:
            yield opcode, stream.read(min(length, available)), length <= available
        elif length <= available:  # an index, which is not needed
            stream.seek(length, io.SEEK_CUR)
        else:
            return


def _chunk_records(data: bytes, *, whole: bool) -> Iterator[McapRecord]:
    """Yield the records in a chunk, given the content of its record."""
    try:
        _, _, size, checksum = _CHUNK_HEAD.unpack_from(data)
        name_start = _CHUNK_HEAD.size + _LENGTH.size
        name_end = name_start + _LENGTH.unpack_from(data, _CHUNK_HEAD.size)[0]
        if len(data) < name_end + 8:  # the length of the content follows, then the content
            return
        compression = data[name_start:name_end].decode()
        content = _decompress(data[name_end + 8 :], compression, min(size, MAX_CHUNK_BYTES))
    except _DAMAGE:
        return
    if whole and (len(content) != size or (checksum and zlib.crc32(content) != checksum)):
        return
    for opcode, record, complete in _records(io.BytesIO(content)):
        if complete:
            yield from _parse(opcode, record)


def _decompress(data: bytes, compression: str, limit: int) -> bytes:
    """Decompress as far as possible, and no more than `limit` bytes.

    Raises:
        RuntimeError: The compression is unknown.
    """
    if not compression:
        return data
    if compression == 'zstd':
        return zstandard.ZstdDecompressor().stream_reader(data).read(limit)
    if compression == 'lz4':
        result: bytes = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=limit)
        return result
    raise RuntimeError(f'expected chunks compressed by zstd or lz4, got {compression!r}')


def _parse(opcode: int, data: bytes) -> Iterator[McapRecord]:
    """Yield the record with this content, nothing if it is damaged."""
    reader = _READERS.get(opcode)
    if reader is None:
        return
    try:
        yield reader(ReadDataStream(io.BytesIO(data)), len(data))
    except _DAMAGE:
        return
