"""Start the node robust_vos, and record its results if asked to.

    ros2 launch robust_vos robust_vos.launch.py image_topic:=/camera/image_raw record:=true

Every argument is listed by `ros2 launch robust_vos robust_vos.launch.py --show-args`.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterFile, ParameterValue
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

BOOLEAN = ['true', 'false']
CANNOT_START = 1  # exit code of the node, see robust_vos_ros/node/program.py


def in_config(name: str) -> PathJoinSubstitution:
    """Return the path of an installed file of config/."""
    return PathJoinSubstitution([FindPackageShare('robust_vos'), 'config', name])


def declare_arguments() -> list[DeclareLaunchArgument]:
    """Return the arguments, named as those of nav2_bringup where it has the same."""
    return [
        DeclareLaunchArgument('namespace', default_value='', description='Namespace of the node.'),
        DeclareLaunchArgument(
            'params_file',
            default_value=in_config('robust_vos.yaml'),
            description='Parameter file; the default one explains every parameter. use_sim_time, '
            'autostart, bond, transport and state_file below override it.',
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
            'bond',
            default_value='false',
            choices=BOOLEAN,
            description="Publish the heartbeat that nav2's lifecycle manager waits for; needs the "
            'package bond. false = as in params_file.',
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
            description='Depth registered to the images, for positions in space, with its '
            'camera_info beside it; empty = as in params_file.',
        ),
        DeclareLaunchArgument(
            'points_topic',
            default_value='',
            description='Organised point cloud registered to the images, in place of depth_topic.',
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
            description='Record image, camera_info, results, tf and diagnostics as MCAP, with '
            'robust-vos bag record.',
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


def make_recorder(context: LaunchContext) -> list[ExecuteProcess]:
    """Return the recorder of the node's input and outputs."""
    values = context.launch_configurations
    command = [ExecutableInPackage('robust-vos', 'robust_vos'), 'bag', 'record']
    for option in ('image_topic', 'transport', 'namespace'):
        command += [f'--{option.replace("_", "-")}', values[option]]
    if values['bag_path']:
        command += ['--out', values['bag_path']]
    if values['use_sim_time'] == 'true':
        command.append('--use-sim-time')
    # SIGINT lets the recorder close its file; give it time before SIGTERM.
    return [ExecuteProcess(cmd=command, name='recorder', output='screen', sigterm_timeout='20')]


def make_node(context: LaunchContext) -> list[LifecycleNode]:
    """Return the node robust_vos."""
    values = context.launch_configurations
    image_topic = LaunchConfiguration('image_topic')
    overrides = {
        'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool),
        'autostart': ParameterValue(LaunchConfiguration('autostart'), value_type=bool),
        'input.transport': LaunchConfiguration('transport'),
    }
    if values['bond'] == 'true':
        overrides['bond'] = True
    if values['state_file']:
        overrides['state_file'] = ParameterValue(LaunchConfiguration('state_file'), value_type=str)
    depth = []
    if values['depth_topic']:
        overrides['spatial.enabled'] = True
        folder, slash, _ = values['depth_topic'].rpartition('/')
        depth = [('depth', values['depth_topic'])]
        depth += [('depth/camera_info', f'{folder}{slash}camera_info')]
    if values['points_topic']:
        overrides |= {'spatial.enabled': True, 'spatial.source': 'cloud'}
        depth = [('depth/points', values['points_topic'])]
    node = LifecycleNode(
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
        arguments=['-d', in_config('robust_vos.rviz')],
        condition=IfCondition(LaunchConfiguration('rviz')),
    )
    recorder = OpaqueFunction(
        function=make_recorder, condition=IfCondition(LaunchConfiguration('record'))
    )
    node = OpaqueFunction(function=make_node)
    return LaunchDescription([*declare_arguments(), node, rviz, recorder])
