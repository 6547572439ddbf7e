"""Start the node robust_vos, and record its results if asked to.

    ros2 launch robust_vos robust_vos.launch.py image_topic:=/camera/image_raw record:=true

Every argument is listed by `ros2 launch robust_vos robust_vos.launch.py --show-args`.
"""

import importlib.util
import os
import subprocess
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import FindPackagePrefix, FindPackageShare

# What is recorded besides the image and camera_info; robust_vos_ros/live/recorder.py has the same.
OUTPUTS = ('objects', 'label_mask/compressed', 'label_info', 'events', 'annotations')
COMMON = ('/tf', '/tf_static', '/diagnostics')
BOOLEAN = ['true', 'false']
CANNOT_START = 1  # exit code of the node, see robust_vos_ros/node/program.py


def declare_arguments() -> list[DeclareLaunchArgument]:
    """Return the arguments, named as those of nav2_bringup where it has the same."""
    default_params = PathJoinSubstitution([FindPackageShare('robust_vos'), 'config'])
    return [
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument(
            'params_file',
            default_value=PathJoinSubstitution([default_params, 'robust_vos.yaml']),
            description='Parameter file; the default one explains every parameter. use_sim_time, '
            'autostart, transport and state_file below override it.',
        ),
        DeclareLaunchArgument(
            'use_sim_time',
            default_value='false',
            choices=BOOLEAN,
            description='Take the time from /clock: for simulators and `ros2 bag play --clock`.',
        ),
        DeclareLaunchArgument(
            'autostart',
            default_value='true',
            choices=BOOLEAN,
            description='Configure and activate the node; false leaves it to a lifecycle manager.',
        ),
        DeclareLaunchArgument(
            'use_respawn',
            default_value='false',
            choices=BOOLEAN,
            description='Start the node again two seconds after it died, unless it cannot start '
            'with its parameters.',
        ),
        DeclareLaunchArgument(
            'log_level',
            default_value='info',
            choices=['debug', 'info', 'warn', 'error', 'fatal'],
            description='Messages of the node from this severity on.',
        ),
        DeclareLaunchArgument(
            'state_file',
            default_value='',
            description='File that keeps the objects; empty = as in params_file.',
        ),
        DeclareLaunchArgument(
            'image_topic',
            default_value='image',
            description='Image topic, without /compressed.',
        ),
        DeclareLaunchArgument(
            'depth_topic',
            default_value='',
            description='Depth registered to the images, for positions in space; empty = as in '
            'params_file.',
        ),
        DeclareLaunchArgument(
            'transport',
            default_value='raw',
            choices=['raw', 'compressed'],
            description='Subscribe to <image_topic>, or to <image_topic>/compressed.',
        ),
        DeclareLaunchArgument(
            'record',
            default_value='false',
            choices=BOOLEAN,
            description='Record image, camera_info, results, tf and diagnostics: with ros2 bag, '
            'or with robust-vos bag record where that is not installed.',
        ),
        DeclareLaunchArgument(
            'bag_path',
            default_value='',
            description='Folder for the recording; empty = one named by the date.',
        ),
        DeclareLaunchArgument(
            'rviz', default_value='false', choices=BOOLEAN, description='Show the result in RViz.'
        ),
    ]


def resolve(namespace: str, topic: str) -> str:
    """Return an absolute topic name: ros2 bag knows nothing of our namespace."""
    if topic.startswith('/'):
        return topic
    parts = [part.strip('/') for part in (namespace, topic)]
    return '/' + '/'.join(part for part in parts if part)


def sibling(image_topic: str) -> str:
    """Return the name of the camera_info that belongs to images."""
    folder, slash, _ = image_topic.rpartition('/')
    return f'{folder}{slash}camera_info'


def record(context: LaunchContext) -> list[ExecuteProcess]:
    """Return the recorder of the node's input and outputs: ros2 bag's, else our own."""
    command = ros2_bag(context) if has_ros2_bag() else own_recorder(context)
    # SIGINT lets the recorder close its file; give it time before SIGTERM.
    return [ExecuteProcess(cmd=command, output='screen', sigterm_timeout='20')]


def has_ros2_bag() -> bool:
    """Return whether `ros2 bag` is installed."""
    return importlib.util.find_spec('ros2bag') is not None


def ros2_bag(context: LaunchContext) -> list[str]:
    """Return the command of ros2 bag."""
    values = context.launch_configurations
    command = ['ros2', 'bag', 'record', '-s', 'mcap']
    if values['bag_path']:
        command += ['-o', values['bag_path']]
    if values['use_sim_time'] == 'true':
        command.append('--use-sim-time')
    # Topics come before --custom-data, which takes all that follows it. By position they are
    # understood from Humble to Kilted; the option --topics is new in Jazzy.
    distro = os.environ.get('ROS_DISTRO')
    command += ['--topics'] if distro in {'lyrical', 'rolling'} else []
    command += topics(values)
    command += ['--custom-data', *custom_data(context)] if distro != 'humble' else []
    return command


def own_recorder(context: LaunchContext) -> list[str]:
    """Return the command of `robust-vos bag record`, which records the same."""
    values = context.launch_configurations
    command = [program(context), 'bag', 'record', '--image-topic', values['image_topic']]
    command += ['--transport', values['transport'], '--namespace', values['namespace']]
    if values['bag_path']:
        command += ['--out', values['bag_path']]
    if values['use_sim_time'] == 'true':
        command.append('--use-sim-time')
    return command


def topics(values: dict[str, str]) -> list[str]:
    """Return the topics to record; those nobody publishes are waited for, and no harm."""
    namespace = values['namespace']
    image = resolve(namespace, values['image_topic'])
    camera_info = sibling(image)
    if values['transport'] == 'compressed':
        image += '/compressed'
    outputs = [resolve(namespace, f'robust_vos/{name}') for name in OUTPUTS]
    return [image, camera_info, *outputs, *COMMON]


def program(context: LaunchContext) -> str:
    """Return the command robust-vos of this package."""
    prefix = FindPackagePrefix('robust_vos').perform(context)
    return str(Path(prefix, 'lib', 'robust_vos', 'robust-vos'))


def custom_data(context: LaunchContext) -> list[str]:
    """Return what makes the masks as KEY=VALUE: version, model, weights, adapter."""
    params_file = context.launch_configurations['params_file']
    command = [program(context), 'weights', 'identify', '--params-file', params_file]
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if result.returncode:  # the node will say the same
        return ['robust_vos.model=unknown']
    return result.stdout.split()


def make_node(context: LaunchContext) -> list[Node]:
    """Return the node robust_vos."""
    image_topic = LaunchConfiguration('image_topic')
    overrides = {
        'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool),
        'autostart': ParameterValue(LaunchConfiguration('autostart'), value_type=bool),
        'input.transport': LaunchConfiguration('transport'),
    }
    if context.launch_configurations['state_file']:
        overrides['state_file'] = ParameterValue(LaunchConfiguration('state_file'), value_type=str)
    depth_topic = context.launch_configurations['depth_topic']
    depth = []
    if depth_topic:
        overrides['spatial.enabled'] = True
        depth = [('depth', depth_topic), ('depth/camera_info', sibling(depth_topic))]
    node = Node(
        package='robust_vos',
        executable='robust_vos_node',
        name='robust_vos',
        namespace=LaunchConfiguration('namespace'),
        output='screen',
        emulate_tty=True,
        respawn=LaunchConfiguration('use_respawn'),
        respawn_delay=2.0,
        on_exit=fail_if_refused,
        parameters=[
            ParameterFile(LaunchConfiguration('params_file'), allow_substs=True),
            overrides,
        ],
        remappings=[
            ('image', image_topic),
            ('image/compressed', [image_topic, '/compressed']),
            ('camera_info', sibling(context.launch_configurations['image_topic'])),
            *depth,
        ],
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
    )
    return [node]


def fail_if_refused(event: ProcessExited, context: LaunchContext) -> None:
    """End the launch, which then returns 1, if the node cannot start with its parameters.

    A node that dies later ends alone: a robot goes on without it.
    """
    if event.returncode == CANNOT_START and not context.is_shutdown:
        raise RuntimeError('robust_vos cannot start, its output says why')


def generate_launch_description() -> LaunchDescription:
    rviz = Node(
        package='rviz2',
        executable='rviz2',
        namespace=LaunchConfiguration('namespace'),
        arguments=[
            '-d',
            PathJoinSubstitution([FindPackageShare('robust_vos'), 'config', 'robust_vos.rviz']),
        ],
        condition=IfCondition(LaunchConfiguration('rviz')),
    )
    recorder = OpaqueFunction(
        function=record, condition=IfCondition(LaunchConfiguration('record'))
    )
    node = OpaqueFunction(function=make_node)
    return LaunchDescription([*declare_arguments(), node, rviz, recorder])
