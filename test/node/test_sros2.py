"""The SROS 2 policies allow what the programs do, and nothing that they do not."""

import fnmatch
import importlib.util
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

pytest.importorskip('rclpy')
pytest.importorskip('aiohttp', reason='the extra console')
from rclpy.node import Node

from robust_vos_ros.bags.recording import Recording
from robust_vos_ros.live.recorder import Recorder, RecordOptions

pytestmark = pytest.mark.ros
ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'config' / 'sros2'
ACTIONS = ('publish', 'subscribe', 'reply', 'request')


@pytest.fixture(scope='module')
def script():
    path = ROOT / 'scripts' / 'make_sros2.py'
    spec = importlib.util.spec_from_file_location('make_sros2', path)
    module = sys.modules['make_sros2'] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules['make_sros2']


def allowed(name):
    """Return what a committed policy allows, by action."""
    root = ET.parse(FOLDER / f'{name}.xml').getroot()
    found = {action: set() for action in ACTIONS}
    for group in root.iter():
        for action in found.keys() & group.attrib.keys():
            assert group.attrib[action] == 'ALLOW'
            found[action] |= {item.text for item in group}
    return found


def used(node):
    """Return what a node has, by action."""
    return {
        'publish': {item.topic_name.lstrip('/') for item in node.publishers},
        'subscribe': {item.topic_name.lstrip('/') for item in node.subscriptions},
        'reply': {item.service_name.lstrip('/') for item in node.services},
        'request': {item.service_name.lstrip('/') for item in node.clients},
    }


def check(node, name):
    """Assert that a policy allows all that a node has."""
    may = allowed(name)
    for action, names in used(node).items():
        for item in names:
            assert any(fnmatch.fnmatch(item, pattern) for pattern in may[action]), (action, item)


def test_the_committed_policies_are_the_generated_ones(script):
    policies = script.make_policies()
    assert {path.stem for path in FOLDER.iterdir()} == {policy.node for policy in policies}
    for policy in policies:
        text = (FOLDER / f'{policy.node}.xml').read_text(encoding='utf-8')
        assert text == script.to_xml(policy), 'run scripts/make_sros2.py'


def test_other_image_topics(script):
    node, recorder, *_ = script.make_policies('/camera/image_raw')
    assert {'camera/image_raw', 'camera/image_raw_mouse_left', 'camera/camera_info'} <= (
        node.subscribe
    )
    assert 'camera/image_raw/compressed' in recorder.subscribe


def test_a_running_node_and_its_recorder(make_bench, tmp_path):
    bench = make_bench({'spatial.enabled': True})
    check(bench.robust_vos, 'robust_vos')
    assert allowed('robust_vos')['reply'] == used(bench.robust_vos)['reply']

    node = Node('robust_vos_recorder', context=bench.context, start_parameter_services=False)
    recording = Recording(tmp_path / 'bag')
    recorder = Recorder(node, RecordOptions(tmp_path), recording)
    try:
        bench.wait(lambda: recorder._discover() or len(list(node.subscriptions)) > 3, 'topics')
        check(node, 'robust_vos_recorder')
    finally:
        recorder.close()
        recording.stop()
        node.destroy_node()


def test_the_console(make_bench):
    from robust_vos_ros.console.camera import Camera, ImageTopic
    from robust_vos_ros.console.settings import ConsoleSettings

    bench = make_bench()
    camera = Camera(
        '/robust_vos', ConsoleSettings(), show=lambda *_: None, tell=lambda *_: None,
        domain_id=bench.domain,
    )  # fmt: skip
    try:
        camera.follow(ImageTopic('/image', compressed=False))
        node = camera._connection._node
        check(node, 'robust_vos_console')
        assert allowed('robust_vos_console')['request'] == used(node)['request']
    finally:
        camera.close()
