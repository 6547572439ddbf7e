"""Settings, the table of them in docs/console.md, and what the graph tells."""

import re
from pathlib import Path

import pytest

from robust_vos_ros.console.settings import ConsoleSettings
from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.settings import parse_settings

DOC = Path(__file__).parents[2] / 'docs' / 'console.md'
TOKEN = 'not-a-secret-in-a-test'


@pytest.mark.parametrize('host', ['127.0.0.1', '::1', 'localhost', '127.8.0.1'])
def test_this_machine_needs_no_token(host):
    assert ConsoleSettings(host=host).is_loopback


@pytest.mark.parametrize('host', ['0.0.0.0', '::', '192.168.1.5', 'robot.local', '127.0.0.1.org'])
def test_others_need_a_token(host):
    with pytest.raises(ConfigError, match='which needs a token'):
        parse_settings(ConsoleSettings, {'host': host})
    assert not parse_settings(ConsoleSettings, {'host': host, 'token': TOKEN}).is_loopback


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'token': 'short'}, 'expected 16 to 256 characters, got 5'),  # can be guessed
        ({'token': 'x' * 257}, 'expected 16 to 256 characters'),
        ({'token': TOKEN + '#/ä'}, 'expected letters'),  # no fragment of an address
        ({'port': 70000}, 'port'),
        ({'picture_rate_hz': 0}, 'picture_rate_hz'),
        ({'colour': 'red'}, 'colour'),
    ],
)
def test_bad_settings_are_named_and_tokens_are_not(values, words):
    with pytest.raises(ConfigError, match=words) as caught:
        parse_settings(ConsoleSettings, values)
    assert len(values.get('token', '')) < 6 or values['token'] not in str(caught.value)


def test_the_table_of_the_docs_has_every_setting():
    rows = re.findall(r'^\| `(\w+)` \| `(.*?)` \| (.*?) \|$', DOC.read_text(), re.MULTILINE)
    expected = []
    for name, field in ConsoleSettings.model_fields.items():
        bounds = [getattr(item, 'ge', getattr(item, 'le', None)) for item in field.metadata]
        span = [f'{bound:g}' for bound in bounds if bound is not None]
        unit = field.json_schema_extra['unit']
        notes = f' [{" to ".join(span)}{unit and f" {unit}"}]' if span else ''
        default = f'{field.default:g}' if isinstance(field.default, float) else str(field.default)
        expected.append((name, default or '""', f'{field.description}{notes}'))
    assert rows == expected


@pytest.mark.ros
def test_nodes_and_images_are_found_by_type():
    pytest.importorskip('rclpy')
    from robust_vos_ros.console.graph import ImageTopic, find_image, find_nodes

    kind = 'robust_vos/srv/SegmentOnce'
    services = [
        ('/robust_vos/segment_once', [kind]),
        ('/left/eye/segment_once', [kind]),
        ('/other/segment_once', ['other/srv/Segment']),
        ('/robust_vos/reset', ['std_srvs/srv/Trigger']),
    ]
    assert find_nodes(services) == ['/left/eye', '/robust_vos']
    point, raw = ['geometry_msgs/msg/Point'], ['sensor_msgs/msg/Image']
    depth = [('/depth', raw), ('/clock', ['rosgraph_msgs/msg/Clock'])]
    jpeg = [('/c/image/compressed', ['sensor_msgs/msg/CompressedImage'])]
    clicks = [('/c/image_mouse_left', point)]
    for subscriptions, expected in (
        ([*depth, ('/c/image', raw), *clicks], ImageTopic('/c/image', compressed=False)),
        ([*depth, *jpeg, *clicks], ImageTopic('/c/image/compressed', compressed=True)),
        (depth, None),  # not active
        ([*clicks, ('/c/image', point)], None),  # of another type
    ):
        assert find_image(subscriptions) == expected
