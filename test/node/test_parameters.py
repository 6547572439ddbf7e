"""ROS parameters: declared with descriptions, checked together, frozen where they must be."""

import uuid

import pytest

pytest.importorskip('rclpy')
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.node.parameters import NodeParameters, descriptor
from robust_vos_ros.node.settings import NodeSettings, leaves

pytestmark = pytest.mark.ros


@pytest.fixture
def make():
    context = Context()
    context.init()
    nodes = []

    def create(overrides=None, *, unconfigured=True):
        node = Node(
            f'n{uuid.uuid4().hex}',
            context=context,
            automatically_declare_parameters_from_overrides=True,
            parameter_overrides=[Parameter(k, value=v) for k, v in (overrides or {}).items()],
        )
        nodes.append(node)
        return node, NodeParameters(node, is_unconfigured=lambda: unconfigured)

    yield create
    for node in nodes:
        node.destroy_node()
    context.try_shutdown()


def test_defaults(make):
    node, parameters = make()
    assert parameters.settings == NodeSettings()
    for leaf in leaves():
        assert node.get_parameter(leaf.name).value == leaf.default, leaf.name


def test_descriptors(make):
    node, _ = make()
    for leaf in leaves():
        described = node.describe_parameter(leaf.name)
        assert described.description.startswith(leaf.description), leaf.name
        assert not described.dynamic_typing
        assert bool(described.floating_point_range) == (leaf.type is float), leaf.name
        assert bool(described.integer_range) == (leaf.type is int), leaf.name
    one = {leaf.name: descriptor(leaf) for leaf in leaves()}
    assert one['tracking.lost_after_s'].description.endswith(' Unit: s.')
    assert one['input.transport'].additional_constraints == (
        'one of raw, compressed; only while unconfigured'
    )


def test_overrides_are_used(make):
    node, parameters = make({'tracking.visible_on': 0.9, 'input.transport': 'compressed'})
    assert parameters.settings.tracking.visible_on == 0.9
    assert parameters.settings.input.transport == 'compressed'
    assert node.get_parameter('tracking.visible_on').value == 0.9


def test_integer_for_a_float_in_a_file(make):
    node, parameters = make({'tracking.lost_after_s': 3})
    assert parameters.settings.tracking.lost_after_s == 3.0
    assert isinstance(node.get_parameter('tracking.lost_after_s').value, float)


@pytest.mark.parametrize(
    ('overrides', 'words'),
    [
        ({'tracking.visible_on': 1.5}, 'tracking.visible_on.*1.5'),  # range
        ({'tracking.visible_off': 0.99}, 'visible_off must be at most visible_on'),  # pair
        ({'model.num_threads': 'many'}, "model.num_threads: expected int, got 'many'"),
        ({'model.num_threads': '2'}, "expected int, got '2'"),  # a quoted number
        ({'enabled': 'yes'}, "enabled: expected bool, got 'yes'"),
        ({'tracking.max_objects': True}, 'expected int, got True'),
        ({'model.name': 7}, 'model.name: expected str, got 7'),
        ({'tracking.lost_after': 3.0}, 'no parameter tracking.lost_after;.*tracking.lost_after_s'),
        ({'publish.nonsense': True}, 'no parameter publish.nonsense'),  # in a group of ours
        ({'autostrat': True}, 'did you mean autostart'),  # a typing mistake
    ],
)
def test_bad_overrides(make, overrides, words):
    with pytest.raises(ConfigError, match=words):
        make(overrides)


def test_parameters_of_other_nodes_are_tolerated(make):
    _, parameters = make({'robot.wheels': 4, 'use_sim_time': False})
    assert parameters.settings == NodeSettings()


def test_integer_for_a_float_at_run_time(make):
    """As `ros2 param set /robust_vos tracking.lost_after_s 4` sends it."""
    node, parameters = make(unconfigured=False)
    result = set_values(node, tracking__lost_after_s=4)
    assert result.successful, result.reason
    assert parameters.settings.tracking.lost_after_s == 4.0
    assert isinstance(node.get_parameter('tracking.lost_after_s').value, float)
    for wrong in ({'tracking__lost_after_s': True}, {'publish__png_level': 2.0}):
        assert not set_values(node, **wrong).successful


def set_values(node, **values):
    parameters = [Parameter(name.replace('__', '.'), value=v) for name, v in values.items()]
    return node.set_parameters_atomically(parameters)


def test_dynamic_change(make):
    node, parameters = make(unconfigured=False)
    assert set_values(node, tracking__visible_on=0.8, enabled=False).successful
    assert parameters.settings.tracking.visible_on == 0.8
    assert not parameters.settings.enabled


def test_a_pair_changes_together_or_not_at_all(make):
    node, parameters = make(unconfigured=False)
    limits = parameters.settings.tracking
    raised = (limits.visible_on + 1) / 2
    refused = set_values(node, tracking__visible_off=raised)
    assert not refused.successful
    assert 'visible_off must be at most visible_on' in refused.reason
    assert parameters.settings.tracking == limits
    assert set_values(node, tracking__visible_off=raised, tracking__visible_on=raised).successful
    assert parameters.settings.tracking.visible_off == raised


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'model__name': 'other'}, 'model.name can only change while the node is unconfigured'),
        ({'tracking__max_objects': 2}, 'tracking.max_objects can only change'),
        ({'on_time_jump': 'sometimes'}, 'on_time_jump'),
        ({'publish__png_level': 11}, 'range'),  # refused by rclpy, from our descriptor
        ({'tracking__lost_after_s': float('nan')}, ''),  # not a number
        ({'enabled': 'no'}, 'type'),
    ],
)
def test_refused_changes(make, values, words):
    node, parameters = make(unconfigured=False)
    result = set_values(node, **values)
    assert not result.successful
    assert words in result.reason
    assert parameters.settings == NodeSettings()


def test_structural_settings_change_while_unconfigured(make):
    node, parameters = make(unconfigured=True)
    assert set_values(node, model__name='other', tracking__max_objects=2).successful
    assert parameters.settings.model.name == 'other'
    assert parameters.settings.tracking.max_objects == 2


def test_setting_a_frozen_value_to_itself_is_no_change(make):
    node, parameters = make(unconfigured=False)
    assert set_values(node, model__name=parameters.settings.model.name).successful


def test_parameters_of_one_camera(make):
    node, parameters = make(
        {
            'cameras': ['front', 'left'],
            'left.tracking.visible_on': 0.9,
            'left.input.rectified': True,
        }
    )
    assert parameters.all.of('left').tracking.visible_on == 0.9
    assert parameters.all.of('front').tracking.visible_on == 0.8
    assert node.has_parameter('front.enabled')
    assert not node.has_parameter('front.tracking.visible_on')
    (result,) = node.set_parameters([Parameter('left.tracking.visible_on', value=0.7)])
    assert result.successful
    assert parameters.all.of('left').tracking.visible_on == 0.7
    (result,) = node.set_parameters([Parameter('cameras', value=['front'])])
    assert 'only be set when the node starts' in result.reason
    for name in ('left.tracking.visibel_on', 'left.model.name', 'left.nonsense'):
        with pytest.raises(ConfigError, match=f'there is no parameter {name}'):
            make({'cameras': ['left'], name: 0.9})
