"""Rebuild the index and the metadata of a truncated bag from its intact records."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mcap.records import Attachment, Channel, McapRecord, Message, Metadata, Schema

from robust_vos_ros.bags.mcap_file import McapFile
from robust_vos_ros.bags.metadata import (
    CUSTOM_DATA,
    METADATA,
    FileSummary,
    read_custom_data,
    write_metadata,
)
from robust_vos_ros.bags.salvage import salvage
from robust_vos_ros.bags.writer import LIBRARY
from robust_vos_ros.core.errors import BagError
from robust_vos_ros.files import natural_key

_ROSBAG2 = 'rosbag2'  # metadata record of rosbag2, which is not copied


@dataclasses.dataclass(frozen=True, slots=True)
class Repaired:
    """Result of a repair.

    Attributes:
        num_unknown: Number of messages left out because the definition of their topic is lost.
        custom_data: Of the recording.
    """

    num_messages: int
    duration_s: float
    num_topics: int
    num_unknown: int
    custom_data: dict[str, str]


def repair_bag(bag: Path, out: Path) -> Repaired:
    """Write a bag with all intact records of another one.

    The bag itself is not changed, unless it is also the output: then its files are replaced at the
    end, one by one, and other files beside them are kept.

    Args:
        bag: A folder of rosbag2 with MCAP files, or one MCAP file.
        out: The new bag, of the same kind.

    Raises:
        BagError: There is nothing to repair, `out` exists, or it cannot be written.
    """
    files = _files(bag)
    if out.exists() and not out.samefile(bag):
        raise BagError(f'{out} exists already; remove it or choose another name')
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.repair_', dir=out.parent) as folder:
            target = Path(folder, 'bag')
            target.mkdir()
            result = _repair_files(files, target, bag)
            _move(target if bag.is_dir() else target / bag.name, out)
    except OSError as error:
        raise BagError(
            f'cannot repair {bag} to {out}: {error.strerror}; each file is whole or as it was'
        ) from error
    return result


def _files(bag: Path) -> list[Path]:
    if bag.is_file():
        return [bag]
    files = sorted(bag.glob('*.mcap'), key=lambda path: natural_key(path.name))
    if not files:
        what = 'got a folder without one' if bag.is_dir() else 'but it does not exist'
        raise BagError(f'expected an MCAP file or a folder with MCAP files: {bag}, {what}')
    return files


def _move(new: Path, out: Path) -> None:
    """Move a file or folder to the place of another one; each file is replaced in one step."""
    if not out.is_dir():
        new.replace(out)
        return
    for path in sorted(new.glob('*.mcap')):
        path.replace(out / path.name)
    (new / METADATA).replace(out / METADATA)


def _repair_files(files: list[Path], target: Path, bag: Path) -> Repaired:
    custom_data = read_custom_data(bag)
    summaries, num_unknown = [], 0
    for path in files:
        # A recorder that was killed at a split leaves an empty file.
        records = salvage(path) if len(files) == 1 or path.stat().st_size else iter(())
        summary, unknown = _repair_file(records, target / path.name, custom_data)
        summaries.append(summary)
        num_unknown += unknown
    filled = [item for item in summaries if item.num_messages]
    if not filled:
        raise BagError(f'no message is whole in {bag}; nothing was written')
    if bag.is_dir():
        write_metadata(target, summaries, custom_data)
    span_ns = max(item.end_ns for item in filled) - min(item.start_ns for item in filled)
    topics = {topic.name for item in summaries for topic in item.topics}
    return Repaired(
        num_messages=sum(item.num_messages for item in filled),
        duration_s=span_ns / 1e9,
        num_topics=len(topics),
        num_unknown=num_unknown,
        custom_data=custom_data,
    )


def _repair_file(
    records: Iterator[McapRecord], out: Path, custom_data: dict[str, str]
) -> tuple[FileSummary, int]:
    """Write the intact records of one file.

    Returns:
        The summary of the new file, and the number of messages without a known topic.
    """
    num_unknown, channels = 0, set()
    with out.open('wb', buffering=0) as stream:
        file = McapFile(stream, library=LIBRARY)
        for record in records:
            if isinstance(record, Message):
                if record.channel_id in channels:
                    file.add_message(record)
                else:
                    num_unknown += 1
            elif isinstance(record, Schema):
                file.add_schema(record)
            elif isinstance(record, Channel):
                file.add_channel(record)
                channels.add(record.id)
            elif isinstance(record, Metadata) and record.name != _ROSBAG2:
                file.add_metadata(record.name, record.metadata)
                custom_data.update(record.metadata if record.name == CUSTOM_DATA else {})
            elif isinstance(record, Attachment):
                file.add_attachment(record)
        file.finish()
        os.fsync(stream.fileno())  # before it may replace the original
        return FileSummary.of(out, file), num_unknown
