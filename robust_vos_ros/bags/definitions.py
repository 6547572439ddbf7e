"""The message definitions that bags are written and read with where there is no ROS."""

from __future__ import annotations

from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from robust_vos_ros.core.errors import ConfigError

PACKAGE = 'robust_vos'


def message_typestore() -> Typestore:
    """Return the message types of ROS 2 and of robust_vos, for bags written or read without ROS.

    Raises:
        ConfigError: The installation lacks the definitions.
    """
    typestore = get_typestore(Stores.ROS2_JAZZY)
    types = {}
    for path in sorted(_message_dir().glob('*.msg')):
        types.update(get_types_from_msg(path.read_text('utf-8'), f'{PACKAGE}/msg/{path.stem}'))
    typestore.register(types)
    return typestore


def _message_dir() -> Path:
    """Return the folder `msg/` of the source tree, or of the installation around this file."""
    here = Path(__file__).resolve()
    candidates = [here.parents[2] / 'msg']
    candidates += [parent / 'share' / PACKAGE / 'msg' for parent in here.parents]
    for candidate in candidates:
        if (candidate / 'TrackedObject.msg').is_file():
            return candidate
    raise ConfigError(f'no message definitions next to or above {here}; install the package again')
