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
    assert names >= {'namespace', 'params_file', 'use_sim_time', 'autostart', 'use_respawn'}
    assert names >= {'log_level', 'image_topic', 'transport', 'record', 'bag_path'}
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
        ({'depth_topic': '/camera/depth'}, {'spatial.enabled': True}),
        ({}, {}),  # what the parameter file says stays
    ],
)
def test_overrides(module, given, expected):
    context = LaunchContext()
    values = {'use_sim_time': 'false', 'autostart': 'true', 'use_respawn': 'false'}
    values |= {'transport': 'raw', 'params_file': str(FILE), 'state_file': ''}
    values |= {'image_topic': '/camera/image', 'depth_topic': ''}
    context.launch_configurations.update({**values, **given})
    (node,) = module.make_node(context)
    overrides = evaluate_parameters(context, node._Node__parameters[1:])[0]
    others = {'use_sim_time': False, 'autostart': True, 'input.transport': 'raw'}
    assert overrides == others | expected


@pytest.fixture
def recorder(module, monkeypatch):
    """Return a function from launch arguments to the command of the recorder."""

    def make(*, ros2_bag, **values):
        monkeypatch.setattr(module, 'has_ros2_bag', lambda: ros2_bag)
        context = LaunchContext()
        defaults = {'namespace': '', 'image_topic': 'image', 'transport': 'raw', 'bag_path': ''}
        config = str(FILE.parents[1] / 'config' / 'robust_vos.yaml')
        defaults |= {'use_sim_time': 'false', 'params_file': config}
        context.launch_configurations.update({**defaults, **values})
        (action,) = module.record(context)
        return [part.perform(context) for (part,) in action.cmd]

    return make


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        ({}, '/image /camera_info /robust_vos/objects /robust_vos/label_mask/compressed'),
        (
            {'namespace': 'robot', 'image_topic': 'camera/image_raw', 'bag_path': 'drive'},
            '-o drive /robot/camera/image_raw /robot/camera/camera_info /robot/robust_vos/objects',
        ),
        (
            {'namespace': '/robot', 'image_topic': '/front/image', 'transport': 'compressed'},
            '/front/image/compressed /front/camera_info /robot/robust_vos/objects',
        ),
        ({'use_sim_time': 'true'}, '--use-sim-time /image'),
    ],
)
def test_recorded_topics(recorder, values, expected):
    command = ' '.join(recorder(ros2_bag=True, **values))
    assert command.startswith('ros2 bag record -s mcap ')
    assert expected in command
    assert ' /tf /tf_static /diagnostics --custom-data robust_vos.version=' in command
    assert ' robust_vos.model=nano robust_vos.weights_sha256=' in command


def test_options_that_not_every_distribution_has(recorder, monkeypatch):
    monkeypatch.setenv('ROS_DISTRO', 'humble')
    assert recorder(ros2_bag=True)[-1] == '/diagnostics'  # no --custom-data
    monkeypatch.setenv('ROS_DISTRO', 'rolling')  # no topics by position
    assert '--topics /image' in ' '.join(recorder(ros2_bag=True))


def test_without_ros2_bag_the_own_recorder_runs(recorder):
    command = recorder(ros2_bag=False, namespace='robot', bag_path='drive', transport='compressed')
    assert command[0].endswith('lib/robust_vos/robust-vos')
    assert command[1:3] == ['bag', 'record']
    text = ' '.join(command)
    assert '--image-topic image --transport compressed --namespace robot --out drive' in text


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_both_recorders_record_the_same(module, transport):
    from robust_vos_ros.live.recorder import RecordOptions

    values = {'namespace': 'robot', 'image_topic': 'front/image', 'transport': transport}
    options = RecordOptions(
        FILE, image_topic='front/image', namespace='robot', compressed=transport == 'compressed'
    )
    assert module.topics(values) == options.all_topics()


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
