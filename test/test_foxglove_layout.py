"""config/foxglove_layout.json: every panel is placed, and shows what is really there."""

import json
import re
from pathlib import Path

from robust_vos_ros.bags.definitions import message_typestore
from robust_vos_ros.bags.results import ResultTopics

LAYOUT = json.loads(
    (Path(__file__).parents[1] / 'config' / 'foxglove_layout.json').read_text('utf-8')
)


def places(node):
    if isinstance(node, str):
        return [node]
    return places(node['first']) + places(node['second'])


def texts(node):
    if isinstance(node, dict):
        return [text for key, value in node.items() for text in [key, *texts(value)]]
    if isinstance(node, list):
        return [text for value in node for text in texts(value)]
    return [node] if isinstance(node, str) else []


def test_every_panel_has_a_place():
    assert sorted(places(LAYOUT['layout'])) == sorted(LAYOUT['configById'])


def test_topics_and_fields_exist():
    types = ResultTopics('/robust_vos').types
    types |= {'/camera/image_raw': '', '/diagnostics': ''}
    paths = {text for text in texts(LAYOUT['configById']) if text.startswith('/')}
    fields = message_typestore().fielddefs['robust_vos/msg/TrackedObject'][1]
    names = {name for name, _ in fields}
    assert {path.split('.')[0] for path in paths} <= set(types)
    assert '/robust_vos/annotations' in paths
    for path in paths:
        match = re.fullmatch(r'/robust_vos/objects\.objects\[[:\d]+\](\.(\w+))?', path)
        assert not path.startswith('/robust_vos/objects') or match, path
        assert not (match and match[2]) or match[2] in names, path
