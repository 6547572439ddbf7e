"""Write the SROS 2 policies of node, recorder, player and console to config/sros2.

What the node has comes from docs/interfaces.md, which a test compares with a running node; what
the others use comes from their code. test/node/test_sros2.py compares the policies with what runs.
For a robot with other names: `scripts/make_sros2.py --image-topic /camera/image_raw --out FOLDER`.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

from robust_vos_ros.bags.results import ResultTopics
from robust_vos_ros.console.requests import SERVICES
from robust_vos_ros.live.recorder import RecordOptions

ROOT = Path(__file__).resolve().parents[1]
INTERFACES, OUT = ROOT / 'docs' / 'interfaces.md', ROOT / 'config' / 'sros2'
NODE = 'robust_vos'
_LIFECYCLE = (
    'change_state', 'get_state', 'get_available_states', 'get_available_transitions',
    'get_transition_graph',
)  # fmt: skip
_PARAMETERS = (
    'describe_parameters', 'get_parameter_types', 'get_parameters', 'list_parameters',
    'set_parameters', 'set_parameters_atomically', 'get_type_description',
)  # fmt: skip


@dataclasses.dataclass(slots=True)
class Policy:
    """What one program may do; full names without the leading slash."""

    node: str
    publish: set[str] = dataclasses.field(default_factory=set)
    subscribe: set[str] = dataclasses.field(default_factory=set)
    reply: set[str] = dataclasses.field(default_factory=set)
    request: set[str] = dataclasses.field(default_factory=set)


def read_table(title: str) -> list[str]:
    """Return the names in the first column of a table of docs/interfaces.md."""
    section = INTERFACES.read_text(encoding='utf-8').split(f'## {title}\n')[1].split('\n## ')[0]
    rows = (line.split('|')[1] for line in section.splitlines() if line.startswith('| `'))
    return [name for row in rows for name in re.findall(r'`([^`]+)`', row)]


def resolve(name: str, image_topic: str) -> str:
    """Return the full name of a topic of the table, without the leading slash."""
    image = image_topic.strip('/')
    beside = image.rpartition('/')[0]
    if name.startswith('image'):
        return name.replace('image', image, 1)
    if name == 'camera_info' and beside:
        return f'{beside}/camera_info'
    # An object's name is not known before; `*` allows all below.
    return name.replace('~', NODE).replace('<object_id>', '*').lstrip('/')


def make_policies(image_topic: str = '/image') -> list[Policy]:
    """Return the policies of all programs."""

    def names(title: str) -> set[str]:
        return {resolve(name, image_topic) for name in read_table(title)}

    services = {f'{NODE}/{name}' for name in (*_LIFECYCLE, *_PARAMETERS)}
    node = Policy(
        NODE,
        publish={*names('Publishers'), f'{NODE}/transition_event'},
        subscribe=names('Subscriptions'),
        reply=names('Services') | services,
    )
    options = [
        RecordOptions(ROOT, image_topic=image_topic, compressed=compressed)
        for compressed in (False, True)
    ]
    recorded = {topic.strip('/') for option in options for topic in option.all_topics()}
    recorder = Policy('robust_vos_recorder', subscribe=recorded)
    player = Policy('robust_vos_player', publish=set(recorded))
    results = ResultTopics(f'/{NODE}')
    images = {image_topic.strip('/'), f'{image_topic.strip("/")}/compressed'}
    shown = {results.objects, results.label_png, results.events, '/diagnostics'}
    console = Policy(
        'robust_vos_console',
        subscribe={*(topic.strip('/') for topic in shown), *images},
        request={f'{NODE}/{name}' for name in SERVICES},
        reply={f'robust_vos_console/{name}' for name in _PARAMETERS},
    )
    policies = [node, recorder, player, console]
    # Each connection of the console is a node with a name of its own.
    console.reply.add('robust_vos_client_*/get_type_description')
    for policy in policies:  # of every ROS 2 node
        policy.reply.add(f'{policy.node}/get_type_description')
        policy.publish |= {'rosout', 'parameter_events'}
        policy.subscribe |= {'clock', 'parameter_events'}
    return policies


def to_xml(policy: Policy) -> str:
    """Return a policy as sros2 reads it."""
    root = ET.Element('policy', version='0.2.0')
    enclave = ET.SubElement(ET.SubElement(root, 'enclaves'), 'enclave', path=f'/{policy.node}')
    profile = ET.SubElement(
        ET.SubElement(enclave, 'profiles'), 'profile', ns='/', node=policy.node
    )
    groups = (
        ('services', 'service', 'reply', policy.reply),
        ('services', 'service', 'request', policy.request),
        ('topics', 'topic', 'publish', policy.publish),
        ('topics', 'topic', 'subscribe', policy.subscribe),
    )
    for group, item, action, names in groups:
        if names:
            parent = ET.SubElement(profile, group, {action: 'ALLOW'})
            for name in sorted(names):
                ET.SubElement(parent, item).text = name
    ET.indent(root)
    comment = '<!-- Generated by scripts/make_sros2.py; docs/security.md says how to use it. -->'
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    return f'{head}\n{comment}\n{ET.tostring(root, encoding="unicode")}\n'


def main() -> int:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--image-topic', default='/image')
    parser.add_argument('--out', type=Path, default=OUT)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for policy in make_policies(arguments.image_topic):
        (arguments.out / f'{policy.node}.xml').write_text(to_xml(policy), encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
