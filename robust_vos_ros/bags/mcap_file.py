"""An MCAP file that can be read up to its last chunk while it is written (mcap.dev/spec)."""

from __future__ import annotations

import dataclasses
import zlib
from collections import defaultdict
from io import FileIO

import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    AttachmentIndex,
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    Header,
    McapRecord,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

MAGIC = b'\x89MCAP0\r\n'
PROFILE = 'ros2'
# A killed program loses at most the messages of one chunk.
_CHUNK_BYTES = 4 << 20
_ZSTD_LEVEL = 1  # higher levels hardly reduce the size of camera images


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelCount:
    """A channel and the number of its messages."""

    channel: Channel
    schema: Schema | None
    num_messages: int


class McapFile:
    """Write records in chunks, each followed by its index, and a summary at the end.

    If the program is killed, all finished chunks are in the file, and `bags.repair` can add the
    summary. Records are those of the package mcap, whose writer cannot end a chunk on request.

    Args:
        stream: An empty file, unbuffered, so that writes reach the system at once.
        library: Name of the writing program, for the header.
        compress: Whether chunks are compressed.
    """

    def __init__(self, stream: FileIO, *, library: str, compress: bool = True) -> None:
        self._stream = stream
        self._compress = compress
        self._end = 0  # bytes written
        self._whole = 0  # bytes up to the end of the last complete chunk or record
        self._pending = RecordBuilder()
        self._pending_index: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._counts: dict[int, int] = defaultdict(int)
        self._chunks: list[ChunkIndex] = []
        self._attachments: list[AttachmentIndex] = []
        self._metadata: list[MetadataIndex] = []
        self.start_ns = 0
        self.end_ns = 0
        self._put(MAGIC)
        self._write(Header(PROFILE, library))

    @property
    def num_messages(self) -> int:
        """Number of messages in the chunks written so far."""
        return sum(self._counts.values())

    def channels(self) -> list[ChannelCount]:
        """Return all channels in the order of their ids."""
        return [
            ChannelCount(item, self._schemas.get(item.schema_id), self._counts[key])
            for key, item in sorted(self._channels.items())
        ]

    def add_schema(self, schema: Schema) -> None:
        """Add a message definition; one with a known id is ignored."""
        if schema.id not in self._schemas:
            self._schemas[schema.id] = schema
            schema.write(self._pending)

    def add_channel(self, channel: Channel) -> None:
        """Add a topic; one with a known id is ignored."""
        if channel.id not in self._channels:
            self._channels[channel.id] = channel
            channel.write(self._pending)

    def add_message(self, message: Message) -> None:
        """Add a message of a known channel.

        Raises:
            OSError: The file cannot be written.
        """
        offset = self._pending.count
        self._pending_index[message.channel_id].append((message.log_time, offset))
        message.write(self._pending)
        if self._pending.count >= _CHUNK_BYTES:
            self.end_chunk()

    def add_metadata(self, name: str, values: dict[str, str]) -> None:
        """Write named key-value pairs at once.

        Raises:
            OSError: The file cannot be written.
        """
        offset, length = self._write(Metadata(name=name, metadata=values))
        self._metadata.append(MetadataIndex(offset=offset, length=length, name=name))
        self._whole = self._end

    def add_attachment(self, attachment: Attachment) -> None:
        """Write an attached file at once.

        Raises:
            OSError: The file cannot be written.
        """
        offset, length = self._write(attachment)
        index = AttachmentIndex(
            offset=offset, length=length, log_time=attachment.log_time,
            create_time=attachment.create_time, data_size=len(attachment.data),
            name=attachment.name, media_type=attachment.media_type,
        )  # fmt: skip
        self._attachments.append(index)
        self._whole = self._end

    def end_chunk(self) -> None:
        """Write the added records as a chunk.

        Raises:
            OSError: The file cannot be written.
        """
        if not self._pending.count:
            return
        index, self._pending_index = self._pending_index, defaultdict(list)
        records = self._pending.end()
        compression, data = '', records
        if self._compress:
            compression = 'zstd'
            data = zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(records)
        times = [time for entries in index.values() for time, _ in entries] or [self.end_ns]
        chunk = Chunk(
            compression=compression, data=data, message_start_time=min(times),
            message_end_time=max(times), uncompressed_crc=zlib.crc32(records),
            uncompressed_size=len(records),
        )  # fmt: skip
        chunk_offset, chunk_length = self._write(chunk)
        offsets, index_length = {}, 0
        for channel_id, entries in index.items():
            offset, length = self._write(MessageIndex(channel_id=channel_id, records=entries))
            offsets[channel_id] = offset
            index_length += length
        self._chunks.append(
            ChunkIndex(
                chunk_length=chunk_length, chunk_start_offset=chunk_offset,
                compression=chunk.compression, compressed_size=len(data),
                message_end_time=chunk.message_end_time, message_index_length=index_length,
                message_index_offsets=offsets, message_start_time=chunk.message_start_time,
                uncompressed_size=len(records),
            )
        )  # fmt: skip
        known = [self.start_ns, self.end_ns] if self._counts else times
        self.start_ns, self.end_ns = min(*known, *times), max(*known, *times)
        for channel_id, entries in index.items():
            self._counts[channel_id] += len(entries)
        self._whole = self._end

    def cut_back(self) -> None:
        """After an error, remove the incomplete record.

        This makes room on a full disk; messages that were not written are lost.

        Raises:
            OSError: The file cannot be changed.
        """
        self._pending, self._pending_index = RecordBuilder(), defaultdict(list)
        self._stream.seek(self._whole)
        self._stream.truncate()
        self._end = self._whole

    def finish(self) -> None:
        """Write the summary; the stream stays open.

        Raises:
            OSError: The file cannot be written.
        """
        self.end_chunk()
        self._write(DataEnd(data_section_crc=0))
        summary_start = self._end
        summary, offsets = RecordBuilder(), []
        groups: tuple[tuple[Opcode, list[McapRecord]], ...] = (
            (Opcode.SCHEMA, list(self._schemas.values())),
            (Opcode.CHANNEL, list(self._channels.values())),
            (Opcode.STATISTICS, [self._statistics()]),
            (Opcode.CHUNK_INDEX, list(self._chunks)),
            (Opcode.ATTACHMENT_INDEX, list(self._attachments)),
            (Opcode.METADATA_INDEX, list(self._metadata)),
        )
        for opcode, records in groups:
            start = summary.count
            for record in records:
                record.write(summary)
            if records:
                offset = SummaryOffset(
                    group_opcode=opcode,
                    group_start=summary_start + start,
                    group_length=summary.count - start,
                )
                offsets.append(offset)
        offset_start = summary_start + summary.count
        for item in offsets:
            item.write(summary)
        self._finish(summary.end(), summary_start, offset_start)

    def _finish(self, summary: bytes, summary_start: int, offset_start: int) -> None:
        footer = RecordBuilder()
        Footer(summary_start, offset_start, 0).write(footer)
        # The checksum covers the summary and the footer up to the checksum itself.
        head = footer.end()[:-4]
        checksum = zlib.crc32(head, zlib.crc32(summary))
        self._put(summary)
        self._write(Footer(summary_start, offset_start, checksum))
        self._put(MAGIC)

    def _statistics(self) -> Statistics:
        return Statistics(
            attachment_count=len(self._attachments),
            channel_count=len(self._channels),
            channel_message_counts=dict(self._counts),
            chunk_count=len(self._chunks),
            message_count=self.num_messages,
            message_end_time=self.end_ns,
            message_start_time=self.start_ns,
            metadata_count=len(self._metadata),
            schema_count=len(self._schemas),
        )

    def _write(self, record: McapRecord) -> tuple[int, int]:
        """Write a record; return its offset and length in the file."""
        builder = RecordBuilder()
        record.write(builder)
        offset, data = self._end, builder.end()
        self._put(data)
        return offset, len(data)

    def _put(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:  # a write may be partial, for example on a full disk
            rest = rest[self._stream.write(rest) :]
        self._end += len(data)
