"""docs/interfaces.md says what a running node has."""

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy

pytestmark = pytest.mark.ros
DOC = Path(__file__).parents[2] / 'docs' / 'interfaces.md'
# Of rclpy itself.
FOREIGN = ('/parameter_events', '/rosout', '/clock', '/robust_vos/transition_event')
# Only with other parameters, with objects or after a click in space.
ELSEWHERE = {
    'image/compressed', 'depth/points', '~/poses/<object_id>', 'bond', '/tf`, `/tf_static', '/tf',
}  # fmt: skip
# Of every node and lifecycle node.
COMMON = re.compile('state|transition|parameter|logger|type_description')


def read_table(title):
    """Rows of a table by their first column: the other columns."""
    section = DOC.read_text().split(f'## {title}\n')[1].split('\n## ')[0]
    rows = [line.strip('|').split('|') for line in section.splitlines() if line.startswith('| `')]
    cells = [[cell.strip().strip('`') for cell in row] for row in rows]
    return {row[0]: row[1:] for row in cells}


def resolve(topic):
    return topic.replace('~', '/robust_vos') if topic[0] in '~/' else f'/{topic}'


def expected(title):
    """Rows of what exists without the extras that are not installed."""
    rows = {}
    for topic, row in read_table(title).items():
        installed = importlib.util.find_spec(row[0].split('/')[0]) is not None
        if installed and topic not in ELSEWHERE:
            rows[resolve(topic)] = row
    return rows


@pytest.fixture(scope='module')
def spatial_bench(make_bench):
    return make_bench({'spatial.enabled': True})


def type_name(kind):
    return f'{kind.__module__.split(".")[0]}/{kind.__name__}'


@pytest.mark.parametrize('title', ['Subscriptions', 'Publishers'])
def test_topics(spatial_bench, title):
    node, rows = spatial_bench.robust_vos, expected(title)
    endpoints = node.subscriptions if title == 'Subscriptions' else node.publishers
    found = {item.topic_name: item for item in endpoints if item.topic_name not in FOREIGN}
    assert set(found) == set(rows)
    for topic, (kind, reliability, depth, notes) in rows.items():
        item = found[topic]
        qos = item.qos_profile
        assert type_name(item.msg_type) == kind, topic
        assert qos.depth == int(depth), topic
        wanted = ReliabilityPolicy[reliability.replace(' ', '_').upper()]
        assert qos.reliability == wanted, topic
        latched = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        assert latched == ('transient local' in notes), topic


def test_services(spatial_bench):
    rows = {resolve(name): row for name, row in read_table('Services').items()}
    found = {
        resolve(item.srv_name): type_name(item.srv_type)
        for item in spatial_bench.robust_vos.services
        if not COMMON.search(item.srv_name)
    }
    assert found == {name: kind for name, (kind,) in rows.items()}
