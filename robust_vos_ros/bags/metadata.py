"""`metadata.yaml` of a bag, in version 9 of the format of rosbag2."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from mcap.reader import make_reader
from rosbags.rosbag2.errors import ReaderError
from rosbags.rosbag2.metadata import dump_qos_v9, parse_qos

from robust_vos_ros.bags.definitions import PACKAGE
from robust_vos_ros.bags.mcap_file import McapFile
from robust_vos_ros.files import replace_file

QOS_KEY, HASH_KEY = 'offered_qos_profiles', 'topic_type_hash'  # in the metadata of a channel
CUSTOM_DATA = PACKAGE  # name of the metadata record with the custom data
METADATA = 'metadata.yaml'
_VERSION = 9


@dataclasses.dataclass(frozen=True, slots=True)
class TopicSummary:
    """A topic of one file.

    Attributes:
        qos: Offered QoS profiles, as YAML.
        type_hash: Of the message definition, empty if unknown.
    """

    name: str
    msgtype: str
    encoding: str
    qos: str
    type_hash: str
    num_messages: int


@dataclasses.dataclass(frozen=True, slots=True)
class FileSummary:
    """One file of a bag in metadata.yaml."""

    name: str
    start_ns: int
    end_ns: int
    num_messages: int
    topics: tuple[TopicSummary, ...]

    @classmethod
    def of(cls, path: str | Path, file: McapFile) -> FileSummary:
        """Return the summary of a finished file."""
        topics = tuple(
            TopicSummary(
                name=item.channel.topic,
                msgtype='' if item.schema is None else item.schema.name,
                encoding=item.channel.message_encoding,
                qos=item.channel.metadata.get(QOS_KEY, ''),
                type_hash=item.channel.metadata.get(HASH_KEY, ''),
                num_messages=item.num_messages,
            )
            for item in file.channels()
        )
        return cls(Path(path).name, file.start_ns, file.end_ns, file.num_messages, topics)


def write_metadata(
    folder: Path, files: Sequence[FileSummary], custom_data: Mapping[str, str]
) -> None:
    """Write metadata.yaml.

    Args:
        folder: Folder of the bag.
        files: Its files, in order.
        custom_data: Key-value pairs about the whole bag.

    Raises:
        OSError: It cannot be written.
    """
    filled = [item for item in files if item.num_messages]
    start_ns = min((item.start_ns for item in filled), default=0)
    end_ns = max((item.end_ns for item in filled), default=0)
    content = {
        'version': _VERSION,
        'storage_identifier': 'mcap',
        'relative_file_paths': [item.name for item in files],
        'duration': {'nanoseconds': end_ns - start_ns},
        'starting_time': {'nanoseconds_since_epoch': start_ns},
        'message_count': sum(item.num_messages for item in files),
        'topics_with_message_count': _topics(files),
        'compression_format': '',
        'compression_mode': '',
        'files': [
            {
                'path': item.name,
                'starting_time': {'nanoseconds_since_epoch': item.start_ns},
                'duration': {'nanoseconds': item.end_ns - item.start_ns},
                'message_count': item.num_messages,
            }
            for item in files
        ],
        'custom_data': dict(custom_data) or None,
        'ros_distro': 'unknown',
    }
    text = yaml.safe_dump({'rosbag2_bagfile_information': content}, sort_keys=False)
    replace_file(folder / METADATA, lambda new: new.write_text(text, encoding='utf-8'))


def read_custom_data(bag: Path) -> dict[str, str]:
    """Return the custom data of a bag; empty if it cannot be read.

    Args:
        bag: A folder of rosbag2, or an MCAP file of this package.
    """
    try:
        values = _from_yaml(bag) if bag.is_dir() else _from_mcap(bag)
        return {str(key): str(value) for key, value in (values or {}).items()}
    except Exception:  # damaged files raise many types
        return {}


def _from_yaml(folder: Path) -> Any:
    content = yaml.safe_load((folder / METADATA).read_text('utf-8'))
    return content['rosbag2_bagfile_information']['custom_data']


def _from_mcap(path: Path) -> Any:
    with path.open('rb') as stream:
        records = make_reader(stream).iter_metadata()
        return {
            key: value
            for record in records
            if record.name == CUSTOM_DATA
            for key, value in record.metadata.items()
        }


def _topics(files: Sequence[FileSummary]) -> list[dict[str, Any]]:
    counts: Counter[str] = Counter()
    known = {}
    for file in files:
        for topic in file.topics:
            counts[topic.name] += topic.num_messages
            known[topic.name] = topic
    return [
        {
            'topic_metadata': {
                'name': name,
                'type': topic.msgtype,
                'serialization_format': topic.encoding,
                'offered_qos_profiles': _qos(topic.qos),
                'type_description_hash': topic.type_hash,
            },
            'message_count': counts[name],
        }
        for name, topic in known.items()
    ]


def _qos(text: str) -> list[Any]:
    """Return QoS profiles as a list, from any form that recorders write."""
    try:
        return list(dump_qos_v9(parse_qos(text)))
    except (ReaderError, LookupError, TypeError, ValueError):
        return []
