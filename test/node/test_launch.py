"""The launch file, where ROS 2 launch is installed (it is not among the wheels)."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip('launch.actions', reason='launch is part of a ROS 2 installation')
pytest.importorskip('launch_ros.actions', reason='launch_ros is part of a ROS 2 installation')
from launch import LaunchContext, LaunchDescription, LaunchService
from launch.actions import (
    EmitEvent,
    IncludeLaunchDescription,
    RegisterEventHandler,
    TimerAction,
)
from launch.event_handlers import OnProcessExit, OnProcessIO
from launch.events import Shutdown
from launch.launch_description_sources import PythonLaunchDescriptionSource

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
    assert names >= {'namespace', 'params_file', 'use_sim_time', 'autostart', 'use_respawn'}
    assert names >= {'log_level', 'image_topic', 'transport', 'record', 'bag_path'}
    for argument in arguments:
        assert '.' in argument.description, argument.name


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({}, '/image /robust_vos/objects /robust_vos/label_mask/compressed /robust_vos/events'),
        (
            {'namespace': 'robot', 'image_topic': 'camera/image_raw', 'bag_path': 'drive'},
            '-o drive /robot/camera/image_raw /robot/robust_vos/objects',
        ),
        (
            {'namespace': '/robot', 'image_topic': '/front/image', 'transport': 'compressed'},
            '/front/image/compressed /robot/robust_vos/objects',
        ),
        ({'use_sim_time': 'true'}, '--use-sim-time /image'),
    ],
)
def test_recorded_topics(module, values, expected):
    context = LaunchContext()
    context.launch_configurations.update(
        {
            'namespace': '',
            'image_topic': 'image',
            'transport': 'raw',
            'bag_path': '',
            'use_sim_time': 'false',
            **values,
        }
    )
    (action,) = module.record(context)
    command = ' '.join(part.perform(context) for (part,) in action.cmd)
    assert command.startswith('ros2 bag record -s mcap ')
    assert expected in command
    assert command.endswith(' /diagnostics')


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
            TimerAction(period=90.0, actions=[EmitEvent(event=Shutdown())]),
        ]
    )
    with helpers.reserved_domain() as domain:
        monkeypatch.setenv('ROS_DOMAIN_ID', str(domain))
        service = LaunchService()
        service.include_launch_description(description)
        service.run()
    assert done in ''.join(output)
    assert codes == [0]
