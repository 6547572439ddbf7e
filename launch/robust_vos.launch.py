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
CONSOLE_BUFFER_S = 20.0  # people need longer than programs to point at something
CANNOT_START = 1  # exit code of the node, see robust_vos_ros/node/program.py


def in_config(name: str) -> PathJoinSubstitution:
    """Return the path of an installed file of config/."""
    return PathJoinSubstitution([FindPackageShare('robust_vos'), 'config', name])


# Name, default, allowed values (None = any), description; named as in nav2_bringup, if it has the
# same argument.
ARGUMENTS = (
    ('namespace', '', None, 'Namespace of the node.'),
    (
        'params_file', in_config('robust_vos.yaml'), None,
        ('Parameter file; the default one explains every parameter. use_sim_time, autostart, '
         'bond, transport and state_file below override it.'),
    ),
    (
        'use_sim_time', 'false', BOOLEAN,
        'Take the time from /clock: for simulators and `ros2 bag play --clock`.',
    ),
    (
        'autostart', 'true', BOOLEAN,
        'Configure and activate the node; false leaves it to a lifecycle manager.',
    ),
    (
        'bond', 'false', BOOLEAN,
        ("Publish the heartbeat that nav2's lifecycle manager waits for; needs the package bond. "
         'false = as in params_file.'),
    ),
    (
        'use_respawn', 'false', BOOLEAN,
        ('Start the node again two seconds after it died, unless it cannot start with its '
         'parameters.'),
    ),
    (
        'log_level', 'info', ['debug', 'info', 'warn', 'error', 'fatal'],
        'Lowest severity of the messages that the node logs.',
    ),
    ('state_file', '', None, 'File that keeps the objects; empty = as in params_file.'),
    (
        'cameras', '', None,
        ('Names of several cameras in one node, separated by commas: front,left. The topics below '
         'then contain {camera}: image_topic:=/{camera}/image_raw. Empty = one camera.'),
    ),
    ('image_topic', 'image', None, 'Image topic, without /compressed.'),
    (
        'depth_topic', '', None,
        ('Depth registered to the images, for positions in space, with its camera_info beside it; '
         'empty = as in params_file.'),
    ),
    (
        'points_topic', '', None,
        'Organised point cloud registered to the images, in place of depth_topic.',
    ),
    (
        'detector_topic', '', None,
        ('Boxes of a detector (vision_msgs/Detection2DArray); detector.mode in params_file says '
         'what they do. Empty = ~/detector_boxes.'),
    ),
    (
        'transport', 'raw', ['raw', 'compressed'],
        'Subscribe to <image_topic>, or to <image_topic>/compressed.',
    ),
    (
        'record', 'false', BOOLEAN,
        'Record images, camera_info, results, tf and diagnostics by robust-vos bag record.',
    ),
    ('bag_path', '', None, 'Folder for the recording; empty = one named by the date.'),
    (
        'console', 'false', BOOLEAN,
        ('Serve a page on which people point at objects, at http://127.0.0.1:8080/; prompts may '
         'then point 20 s back (tracking.prompt_buffer_s).'),
    ),
    (
        'console_params_file', '', None,
        ('Parameter file of the console: for another port, or a host with a token; empty = its '
         'defaults.'),
    ),
    ('rviz', 'false', BOOLEAN, 'Show the results in RViz.'),
)  # fmt: skip


def declare_arguments() -> list[DeclareLaunchArgument]:
    """Return the arguments of this file."""
    return [
        DeclareLaunchArgument(name, default_value=default, choices=choices, description=text)
        for name, default, choices, text in ARGUMENTS
    ]


def list_cameras(values: dict[str, str]) -> list[str]:
    """Return the names of several cameras; [''] = one camera without a name."""
    return [name.strip() for name in values['cameras'].split(',') if name.strip()] or ['']


def topic_of(values: dict[str, str], argument: str, camera: str) -> str:
    """Return the topic of a camera, which an argument gives.

    Raises:
        RuntimeError: One topic is given for several cameras.
    """
    topic = values[argument]
    if not camera or not topic:
        return topic
    if argument == 'image_topic' and topic == 'image':  # the default
        return f'{camera}/image'
    if '{camera}' not in topic:
        raise RuntimeError(
            f'{argument}: expected {{camera}} in it, such as /{{camera}}/image_raw, because '
            f'cameras names several; got {topic}'
        )
    return topic.replace('{camera}', camera)


def make_recorder(context: LaunchContext) -> list[ExecuteProcess]:
    """Return the processes that record images and results, one per camera."""
    values = context.launch_configurations
    actions = []
    for camera in list_cameras(values):
        command = [ExecutableInPackage('robust-vos', 'robust_vos'), 'bag', 'record']
        command += ['--image-topic', topic_of(values, 'image_topic', camera)]
        for option in ('transport', 'namespace'):
            command += [f'--{option}', values[option]]
        ending = f'_{camera}' if camera else ''
        if camera:
            command += ['--camera', camera]
        if values['bag_path']:
            command += ['--out', f'{values["bag_path"]}{ending}']
        if values['use_sim_time'] == 'true':
            command.append('--use-sim-time')
        # SIGINT lets the recorder close its file; give it time before SIGTERM.
        actions.append(
            ExecuteProcess(
                cmd=command, name=f'recorder{ending}', output='screen', sigterm_timeout='20'
            )
        )
    return actions


def make_remappings(values: dict[str, str], camera: str) -> list[tuple[str, str]]:
    """Return the remappings of one camera; '' = the only one."""
    below = f'{camera}/' if camera else ''
    image = topic_of(values, 'image_topic', camera)
    pairs = [(f'{below}image', image), (f'{below}image/compressed', f'{image}/compressed')]
    points, depth = (topic_of(values, name, camera) for name in ('points_topic', 'depth_topic'))
    if points:
        pairs.append((f'{below}depth/points', points))
    elif depth:
        folder, slash, _ = depth.rpartition('/')
        pairs.append((f'{below}depth', depth))
        pairs.append((f'{below}depth/camera_info', f'{folder}{slash}camera_info'))
    if detector := topic_of(values, 'detector_topic', camera):
        pairs.append((f'~/{below}detector_boxes', detector))
    return pairs


def make_node(context: LaunchContext) -> list[LifecycleNode]:
    """Return the node robust_vos."""
    values = context.launch_configurations
    cameras = list_cameras(values)
    overrides = {
        'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool),
        'autostart': ParameterValue(LaunchConfiguration('autostart'), value_type=bool),
        'input.transport': LaunchConfiguration('transport'),
    }
    if values['bond'] == 'true':
        overrides['bond'] = True
    if values['state_file']:
        overrides['state_file'] = ParameterValue(LaunchConfiguration('state_file'), value_type=str)
    if values['console'] == 'true':
        overrides['tracking.prompt_buffer_s'] = CONSOLE_BUFFER_S
    if values['depth_topic']:
        overrides['spatial.enabled'] = True
    if values['points_topic']:
        overrides |= {'spatial.enabled': True, 'spatial.source': 'cloud'}
    if cameras != ['']:
        overrides['cameras'] = cameras
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
        remappings=[pair for camera in cameras for pair in make_remappings(values, camera)],
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
    )
    return [node]


def make_console(context: LaunchContext) -> list[Node]:
    """Return the console, which shows this node first."""
    values = context.launch_configurations
    parts = (values['namespace'].strip('/'), 'robust_vos', list_cameras(values)[0])
    name = '/'.join(part for part in parts if part)
    given = values['console_params_file']
    console = Node(
        package='robust_vos',
        executable='robust_vos_console',
        name='robust_vos_console',
        namespace=LaunchConfiguration('namespace'),
        output='screen',
        emulate_tty=True,
        parameters=[{'node': name}, *([ParameterFile(given, allow_substs=True)] if given else [])],
    )
    return [console]


def fail_if_refused(event: ProcessExited, context: LaunchContext) -> None:
    """End the launch with exit code 1 if the node cannot start with its parameters.

    If the node dies later, the launch goes on.
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
    console = OpaqueFunction(
        function=make_console, condition=IfCondition(LaunchConfiguration('console'))
    )
    node = OpaqueFunction(function=make_node)
    return LaunchDescription([*declare_arguments(), node, rviz, recorder, console])
