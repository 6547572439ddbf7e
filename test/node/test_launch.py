"""The launch file, where ROS 2 launch is installed (it is not among the wheels)."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip('launch.actions', reason='launch is part of a ROS 2 installation')
pytest.importorskip('launch_ros.actions', reason='launch_ros is part of a ROS 2 installation')
from launch import LaunchContext, LaunchDescription, LaunchService
from launch.actions import (
    EmitEvent,
    ExecuteProcess,
    IncludeLaunchDescription,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit, OnProcessIO
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.utilities import perform_substitutions
from launch_ros.actions import LifecycleNode
from launch_ros.utilities import evaluate_parameters

pytestmark = pytest.mark.ros

FILE = Path(__file__).parents[2] / 'launch' / 'robust_vos.launch.py'


@pytest.fixture(scope='module')
def module():
    spec = importlib.util.spec_from_file_location('robust_vos_launch', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_arguments_are_described(module):
    arguments = module.generate_launch_description().get_launch_arguments()
    names = {argument.name for argument in arguments}
    assert names >= {
        'namespace',
        'params_file',
        'use_sim_time',
        'autostart',
        'use_respawn',
        'bond',
    }
    assert names >= {'log_level', 'image_topic', 'transport', 'record', 'bag_path', 'console'}
    for argument in arguments:
        assert '.' in argument.description, argument.name


def test_wrong_values_are_refused(module):
    arguments = module.generate_launch_description().get_launch_arguments()
    (level,) = (argument for argument in arguments if argument.name == 'log_level')
    assert level.choices == ['debug', 'info', 'warn', 'error', 'fatal']


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({'state_file': '/var/lib/robot/tracks'}, {'state_file': '/var/lib/robot/tracks'}),
        ({}, {}),  # what the parameter file says stays
        ({'bond': 'true'}, {'bond': True}),
        ({'depth_topic': '/camera/depth'}, {'spatial.enabled': True}),
        ({'console': 'true'}, {'tracking.prompt_buffer_s': 20.0}),
        (
            {'cameras': 'front, left', 'image_topic': '/{camera}/image_raw'},
            {'cameras': ['front', 'left']},
        ),
        (
            {'points_topic': '/camera/depth/points'},
            {'spatial.enabled': True, 'spatial.source': 'cloud'},
        ),
    ],
)
def test_arguments_that_may_leave_a_parameter_as_it_is(module, given, expected):
    context = LaunchContext()
    values = {'use_sim_time': 'false', 'autostart': 'true', 'use_respawn': 'false'}
    values |= {'transport': 'raw', 'params_file': str(FILE), 'state_file': '', 'bond': 'false'}
    values |= {'depth_topic': '', 'points_topic': '', 'detector_topic': '', 'console': 'false'}
    values |= {'cameras': '', 'image_topic': 'image'}
    context.launch_configurations.update(values | given)
    (node,) = module.make_node(context)
    assert isinstance(node, LifecycleNode)
    overrides = evaluate_parameters(context, node._Node__parameters[1:])[0]
    others = {'use_sim_time': False, 'autostart': True, 'input.transport': 'raw'}
    assert overrides == others | expected


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        ({}, '--image-topic image --transport raw --namespace '),
        (
            {'namespace': 'robot', 'bag_path': 'drive', 'transport': 'compressed'},
            '--image-topic image --transport compressed --namespace robot --out drive',
        ),
        (
            {'use_sim_time': 'true', 'image_topic': '/camera/image_raw'},
            '--image-topic /camera/image_raw --transport raw --namespace  --use-sim-time',
        ),
    ],
)
def test_the_recorder_gets_the_arguments(module, monkeypatch, given, expected):
    for name in ('run', 'Popen', 'check_output'):  # launch must not wait for a program
        monkeypatch.delattr(f'subprocess.{name}')
    context = LaunchContext()
    values = {'namespace': '', 'image_topic': 'image', 'transport': 'raw', 'bag_path': ''}
    values['cameras'] = ''
    context.launch_configurations.update({**values, 'use_sim_time': 'false', **given})
    (action,) = module.make_recorder(context)
    command = [perform_substitutions(context, part) for part in action.cmd]
    assert command[0].endswith('lib/robust_vos/robust-vos')
    assert command[1:3] == ['bag', 'record']
    assert ' '.join(command[3:]) == expected


@pytest.mark.parametrize(
    ('namespace', 'file', 'expected'),
    [('', '', ('robust_vos', 1)), ('/robot', 'console.yaml', ('robot/robust_vos', 2))],
)
def test_the_console_shows_this_node(module, namespace, file, expected):
    context = LaunchContext()
    values = {'namespace': namespace, 'console_params_file': file, 'cameras': ''}
    context.launch_configurations.update(values)
    (console,) = module.make_console(context)
    parameters = console._Node__parameters
    (values,) = evaluate_parameters(context, parameters[:1])
    assert (values['node'], len(parameters)) == expected


def test_each_camera_gets_its_topics(module):
    values = {'cameras': 'front,left', 'image_topic': '/{camera}/image_raw', 'points_topic': ''}
    values |= {'depth_topic': '', 'detector_topic': '/{camera}/boxes'}
    assert module.list_cameras(values) == ['front', 'left']
    assert module.make_remappings(values, 'left') == [
        ('left/image', '/left/image_raw'),
        ('left/image/compressed', '/left/image_raw/compressed'),
        ('~/left/detector_boxes', '/left/boxes'),
    ]
    with pytest.raises(RuntimeError, match='depth_topic: expected'):
        module.make_remappings(values | {'depth_topic': '/depth'}, 'left')


def test_a_node_that_cannot_start_fails_the_launch(helpers, monkeypatch, tmp_path):
    params_file = tmp_path / 'params.yaml'
    params_file.write_text('/**: {ros__parameters: {tracking: {visible_on: 3.0}}}')
    arguments = {'params_file': str(params_file), 'use_respawn': 'true'}
    launch_file = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(FILE)), launch_arguments=arguments.items()
    )
    other = ExecuteProcess(cmd=['sleep', '600'])  # ends with the launch
    with helpers.reserved_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        service = LaunchService()
        service.include_launch_description(LaunchDescription([launch_file, other]))
        assert service.run() == 1


def test_the_node_starts_and_stops(helpers, monkeypatch):
    output, codes = [], []
    done = 'waiting for images on /robot/camera/image_raw/compressed'

    def on_output(event):
        output.append(event.text.decode())
        return EmitEvent(event=Shutdown()) if done in ''.join(output) else None

    arguments = {
        'namespace': 'robot',
        'image_topic': 'camera/image_raw',
        'transport': 'compressed',
    }
    description = LaunchDescription(
        [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(FILE)), launch_arguments=arguments.items()
            ),
            RegisterEventHandler(OnProcessIO(on_stdout=on_output, on_stderr=on_output)),
            RegisterEventHandler(
                OnProcessExit(on_exit=lambda event, _: codes.append(event.returncode))
            ),
            TimerAction(period=250.0, actions=[EmitEvent(event=Shutdown())]),
        ]
    )
    with helpers.reserved_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        service = LaunchService()
        service.include_launch_description(description)
        service.run()
    assert done in ''.join(output)
    assert codes == [0]


def test_the_demo_plays_to_the_node(helpers, monkeypatch):
    """Camera and node are installed programs, and find each other."""
    output = []

    def on_output(event):
        output.append(event.text.decode())
        return EmitEvent(event=Shutdown()) if 'played 150 images' in ''.join(output) else None

    demo = FILE.with_name('demo.launch.py')
    description = LaunchDescription(
        [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(demo)), launch_arguments=[('rate', '100')]
            ),
            RegisterEventHandler(OnProcessIO(on_stdout=on_output, on_stderr=on_output)),
            TimerAction(period=250.0, actions=[EmitEvent(event=Shutdown())]),
        ]
    )
    with helpers.reserved_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        service = LaunchService()
        service.include_launch_description(description)
        service.run()
    assert 'played 150 images' in ''.join(output)
