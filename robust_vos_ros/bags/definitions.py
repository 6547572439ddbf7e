"""Message definitions for bags: of ROS 2, of this package, of vision_msgs and foxglove_msgs."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError
from rosbags.typesys.store import Typestore

from robust_vos_ros.core.errors import ConfigError
from robust_vos_ros.ros_types.annotations import ANNOTATIONS, LABEL_INFO

PACKAGE = 'robust_vos'

# The types of vision_msgs and foxglove_msgs that bags contain. A bag has its definitions inside,
# so that its readers need neither package. Field names and order are those of the packages.
_BORROWED = {
    'vision_msgs/msg/VisionClass': 'uint16 class_id\nstring class_name\n',
    LABEL_INFO: 'std_msgs/Header header\nVisionClass[] class_map\nfloat32 threshold\n',
    'foxglove_msgs/msg/Color': 'float64 r\nfloat64 g\nfloat64 b\nfloat64 a\n',
    'foxglove_msgs/msg/Point2': 'float64 x\nfloat64 y\n',
    'foxglove_msgs/msg/CircleAnnotation': (
        'builtin_interfaces/Time timestamp\nPoint2 position\nfloat64 diameter\n'
        'float64 thickness\nColor fill_color\nColor outline_color\n'
    ),
    'foxglove_msgs/msg/PointsAnnotation': (
        'builtin_interfaces/Time timestamp\nuint8 UNKNOWN=0\nuint8 POINTS=1\nuint8 LINE_LOOP=2\n'
        'uint8 LINE_STRIP=3\nuint8 LINE_LIST=4\nuint8 type\nPoint2[] points\n'
        'Color outline_color\nColor[] outline_colors\nColor fill_color\nfloat64 thickness\n'
    ),
    'foxglove_msgs/msg/TextAnnotation': (
        'builtin_interfaces/Time timestamp\nPoint2 position\nstring text\nfloat64 font_size\n'
        'Color text_color\nColor background_color\n'
    ),
    ANNOTATIONS: (
        'CircleAnnotation[] circles\nPointsAnnotation[] points\nTextAnnotation[] texts\n'
    ),
}


def message_typestore() -> Typestore:
    """Return the message types to write and read bags without ROS.

    Raises:
        ConfigError: The installation lacks the definitions of this package.
    """
    typestore = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for path in sorted(_message_dir().glob('*.msg')):
        types.update(get_types_from_msg(path.read_text('utf-8'), f'{PACKAGE}/msg/{path.stem}'))
    for name, text in _BORROWED.items():
        types.update(get_types_from_msg(text, name))
    typestore.register(types)
    return typestore


def add_installed_type(typestore: Typestore, msgtype: str) -> bool:
    """Add a type of a sourced ROS installation to a typestore, with the types of its fields.

    Args:
        typestore: Gets the types.
        msgtype: Such as `nav_msgs/msg/Odometry`.

    Returns:
        Whether the typestore knows the type now.
    """
    pending, found = [msgtype], {}
    while pending:
        name = pending.pop()
        if name in typestore.fielddefs or name in found:
            continue
        path = _find_definition(name)
        if path is None:
            return False
        try:
            types = get_types_from_msg(path.read_text('utf-8'), name)
        except (OSError, UnicodeDecodeError, TypesysError):
            return False
        found.update(types)
        pending += [field for _, fields in types.values() for field in _named_types(fields)]
    typestore.register(found)
    return True


def _named_types(fields: object) -> list[str]:
    """Return the names of the message types in the fields of a definition."""
    if isinstance(fields, str) and fields.count('/msg/') == 1:
        return [fields]
    if isinstance(fields, list | tuple):
        return [name for item in fields for name in _named_types(item)]
    return []


def _find_definition(msgtype: str) -> Path | None:
    package, _, name = msgtype.partition('/msg/')
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        path = Path(prefix, 'share', package, 'msg', f'{name}.msg')
        if prefix and name and path.is_file():
            return path
    return None


@functools.cache
def _message_dir() -> Path:
    """Return the folder `msg/` of the source tree, or of the installation of this file."""
    here = Path(__file__).resolve()
    candidates = [here.parents[2] / 'msg']
    candidates += [parent / 'share' / PACKAGE / 'msg' for parent in here.parents]
    for candidate in candidates:
        if (candidate / 'TrackedObject.msg').is_file():
            return candidate
    raise ConfigError(
        f'expected the message definitions of {PACKAGE} next to or above {here}, got none; '
        'install the package again'
    )
