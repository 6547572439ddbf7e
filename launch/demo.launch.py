"""Start the node and a camera that plays a clip: `ros2 launch robust_vos demo.launch.py`.

Then prompt an object, for example by `ros2 service call /robust_vos/add_objects ...`, and watch
/robust_vos/overlay. The arguments of robust_vos.launch.py may be used too.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

IMAGE_TOPIC = '/camera/image_raw'


def generate_launch_description() -> LaunchDescription:
    video = DeclareLaunchArgument(
        'video', default_value='', description='Video file to play; empty = a generated clip.'
    )
    rate = DeclareLaunchArgument('rate', default_value='15.0', description='Images per second.')
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution(
                [FindPackageShare('robust_vos'), 'launch', 'robust_vos.launch.py']
            )
        ),
        launch_arguments={'image_topic': IMAGE_TOPIC}.items(),
    )
    camera = Node(
        package='robust_vos',
        executable='robust_vos_camera',
        name='camera',
        output='screen',
        arguments=[
            '--autoplay',
            '--topic',
            IMAGE_TOPIC,
            '--video',
            LaunchConfiguration('video'),
            '--rate',
            LaunchConfiguration('rate'),
        ],
    )
    return LaunchDescription([video, rate, node, camera])
