"""One definition, from which the parameter file and the ROS parameters are made."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.core.settings import parse_settings
from robust_vos_ros.node.settings import NodeSettings, flatten, leaves, nest, to_yaml

FILE = Path(__file__).parents[2] / 'config' / 'robust_vos.yaml'


def test_committed_file_is_the_generated_one():
    command = [sys.executable, '-m', 'robust_vos_ros.node.settings']
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == to_yaml()
    assert FILE.read_text() == to_yaml(), f'run: {" ".join(command)} > config/robust_vos.yaml'


def test_file_holds_the_defaults():
    values = yaml.safe_load(to_yaml())['/**']['ros__parameters']
    assert parse_settings(NodeSettings, values) == NodeSettings()


def test_every_setting_is_explained():
    for leaf in leaves():
        assert leaf.description.endswith('.'), leaf.name
        assert leaf.type in {bool, int, float, str, list}, leaf.name
        numeric = leaf.type in {int, float}
        assert not numeric or None not in {leaf.lower, leaf.upper}, f'{leaf.name} needs a range'
        # Names that end in a unit and units that are stated must agree.
        for ending, unit in (('_s', 's'), ('_mb', 'MB')):
            assert leaf.name.endswith(ending) == (leaf.unit == unit), leaf.name


def test_every_key_of_the_file_follows_a_comment():
    lines = to_yaml().splitlines()
    names = {leaf.name.split('.')[-1] for leaf in leaves()}
    keys = [row for row, line in enumerate(lines) if line.strip().split(':')[0] in names]
    assert len(keys) == len(list(leaves()))
    assert all(lines[row - 1].strip().startswith('#') for row in keys)
    assert max(map(len, lines)) <= 99


def test_flatten_and_nest_are_inverse():
    flat = flatten(NodeSettings()) | {'tracking.visible_on': 0.9, 'enabled': False}
    settings = parse_settings(NodeSettings, nest(flat))
    assert settings.tracking.visible_on == 0.9
    assert not settings.enabled
    assert flatten(settings) == flat


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'publish': {'png_level': 10}}, 'publish.png_level'),  # above its range
        ({'on_time_jump': 'explode'}, 'on_time_jump'),  # no such choice
        ({'input': {'transport': 'theora'}}, 'input.transport'),  # no such choice, nested
        ({'tracking': {'visible_off': 0.9}}, 'visible_off must be at most visible_on'),  # pair
        ({'click_object_prefix': ''}, 'click_object_prefix'),  # names need a beginning
        ({'classes': ['cup', 'cup']}, 'each one once, got cup'),  # which value?
        ({'classes': [f'c{i}' for i in range(255)]}, 'at most 254'),  # more than pixel values
        ({'class_info': {'unknown_value': 0}}, 'unknown_value'),  # that is the background
        ({'trackin': {}}, 'trackin'),  # unknown group
    ],
)
def test_bad_values_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        parse_settings(NodeSettings, values)
